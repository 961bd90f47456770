//! Noise that stays the same for several passes.

use rekindle_core::Generator;
use serde::{Deserialize, Serialize};

use super::ExplorationContext;
use crate::error::Result;

/// The random stream of a row, and the noise that it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplorationStream {
    #[serde(flatten)]
    pub(super) rng: Generator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<HeldNoise>,
}

/// Standard normal numbers that were drawn once. They are saved as the state of the stream before the draw.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldNoise {
    before: Generator,
    len: usize,
    /// The environment steps at the draw.
    env_steps: u64,
    /// The passes that had the numbers.
    passes: u64,
    /// Empty after a restore, until they are needed.
    #[serde(skip)]
    numbers: Vec<f32>,
}

impl HeldNoise {
    /// Draws the numbers from the stream as it was before the draw. Returns the stream after it.
    fn draw(&mut self) -> Generator {
        let mut rng = self.before.clone();
        self.numbers = (0..self.len).map(|_| rng.standard_normal() as f32).collect();
        rng
    }
}

impl ExplorationStream {
    pub(super) fn new(rng: Generator) -> Self {
        Self { rng, held: None }
    }
}

impl ExplorationContext {
    /// Returns standard normal numbers of a row of the batch that stay the same for `passes` calls: for noise that
    /// lasts for several steps, such as that of gSDE. With `None`, they stay the same until
    /// [`env_steps`](Self::env_steps) changes, that is, until new weights are published to the runner.
    ///
    /// The numbers are drawn from the [stream of the row](Self::rng), and anew if `len` differs from the last call.
    /// Checkpoints save them.
    ///
    /// # Shapes
    /// Result `[len]`.
    ///
    /// # Errors
    /// The errors of [`rng`](Self::rng).
    pub fn held_noise(&mut self, row: usize, len: usize, passes: Option<u64>) -> Result<&[f32]> {
        let env_steps = self.env_steps;
        let ExplorationStream { rng, held } = self.stream(row)?;
        let is_current = |held: &HeldNoise| {
            let lasts = match passes {
                Some(passes) => held.passes < passes,
                None => held.env_steps == env_steps,
            };
            lasts && held.len == len
        };
        let held = match held.take().filter(is_current) {
            Some(current) => held.insert(current),
            None => {
                let (before, numbers) = (rng.clone(), Vec::new());
                let new = HeldNoise { before, len, env_steps, passes: 0, numbers };
                let held = held.insert(new);
                *rng = held.draw();
                held
            }
        };
        if held.numbers.len() != len {
            held.draw();
        }
        held.passes += 1;
        Ok(&held.numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The noise of a row in each of some passes.
    fn passes(cx: &mut ExplorationContext, row: usize, count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|_| cx.held_noise(row, 3, Some(2)).unwrap().to_vec()).collect()
    }

    #[test]
    fn noise_lasts_for_the_passes_of_its_own_row() {
        let mut cx = ExplorationContext::from_seed(4);
        let first = passes(&mut cx, 1, 1);
        let of_other_row = passes(&mut cx, 0, 3);
        let later = passes(&mut cx, 1, 2);
        assert_eq!(first[0], later[0]);
        assert_ne!(later[0], later[1]);
        assert_ne!(first[0], of_other_row[0]);
        assert_eq!(cx.held_noise(1, 5, Some(2)).unwrap().len(), 5);
    }

    #[test]
    fn without_a_number_of_passes_noise_lasts_until_the_steps_of_the_published_weights_change() {
        let mut cx = ExplorationContext::from_seed(4).with_env_steps(10);
        let mut draw = |env_steps| {
            cx.set_env_steps(env_steps);
            cx.held_noise(0, 2, None).unwrap().to_vec()
        };
        let (first, second, third) = (draw(10), draw(10), draw(12));
        assert_eq!(first, second);
        assert_ne!(second, third);
    }

    #[test]
    fn saved_noise_and_the_numbers_after_it_continue_exactly() {
        let mut cx = ExplorationContext::from_seed(4);
        passes(&mut cx, 0, 3);
        let json = serde_json::to_string(cx.streams()).unwrap();
        let mut restored = ExplorationContext::from_seed(4);
        restored.set_streams(serde_json::from_str(&json).unwrap());
        assert_eq!(passes(&mut restored, 0, 4), passes(&mut cx, 0, 4));
        assert_eq!(restored.rng(0).unwrap().next_u64(), cx.rng(0).unwrap().next_u64());
    }

    #[test]
    fn a_stream_without_noise_is_saved_as_a_generator() {
        let mut cx = ExplorationContext::from_seed(4);
        cx.rng(0).unwrap().next_u64();
        let saved = serde_json::to_value(&cx.streams()[&0]).unwrap();
        assert_eq!(saved, serde_json::to_value(&cx.streams()[&0].rng).unwrap());
    }
}
