//! The context of an exploration pass: the time, and random numbers.

mod epsilon_greedy;
mod held_noise;

use std::collections::BTreeMap;

use rekindle_core::Generator;
use rekindle_core::rng::{Purpose, stream};

use crate::error::{ModuleError, Result};

pub use epsilon_greedy::{epsilon_greedy, greedy};
pub use held_noise::ExplorationStream;

/// What a module knows while it explores: the environment steps so far, and a random stream for each row
/// of the batch.
///
/// The streams belong to environments, or to agents of environments, not to positions in a batch. The
/// numbers of a row therefore do not depend on the number of rows or on which other rows there are.
/// Checkpoints save them. A stream is created when it is first drawn from, so modules that do not draw pay
/// nothing.
///
/// ```
/// use burn::prelude::*;
/// use rekindle_core::{Batch, Columns};
/// use rekindle_rl_module::{ExplorationContext, Result, epsilon_greedy};
///
/// /// Takes a random action with probability ε, which falls from 1 to 0.05 in 10 000 steps, and records a
/// /// random number for each row.
/// fn explore(q: &Tensor<2>, cx: &mut ExplorationContext) -> Result<Batch> {
///     let epsilon = (1.0 - cx.env_steps() as f64 / 10_000.0).max(0.05);
///     let actions = epsilon_greedy(q, epsilon, cx)?;
///     let drawn = (0..q.dims()[0]).map(|row| Ok(cx.rng(row)?.random() as f32));
///     let drawn = drawn.collect::<Result<Vec<f32>>>()?;
///     let drawn = Tensor::<1>::from_floats(drawn.as_slice(), &q.device());
///     Ok(Batch::new().with(Columns::ACTIONS, actions).with("drawn", drawn))
/// }
///
/// let q = Tensor::<2>::zeros([3, 2], &Device::flex());
/// let mut cx = ExplorationContext::from_seed(7).with_env_steps(5_000);
/// assert_eq!(explore(&q, &mut cx)?.rows(), 3);
/// # Ok::<(), rekindle_rl_module::ModuleError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExplorationContext {
    env_steps: u64,
    /// Seed and runner, the key of the streams.
    key: [u64; 2],
    streams: BTreeMap<usize, ExplorationStream>,
    rows: Rows,
}

/// The streams of the rows of a batch.
#[derive(Debug, Clone, Default)]
enum Rows {
    /// Row `i` has stream `i`.
    #[default]
    All,
    /// Row `i` has stream `slots[i]`.
    Slots(Vec<usize>),
    /// There are none: the pass does not explore.
    None,
}

impl ExplorationContext {
    /// Creates a context at the start of training, with the streams of a seed. Row `i` draws from stream
    /// `i`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self::for_runner(seed, 0)
    }

    /// Creates the context of a runner, whose streams depend on its index.
    #[must_use]
    pub fn for_runner(seed: u64, runner: u64) -> Self {
        Self { key: [seed, runner], ..Self::default() }
    }

    /// The context of an inference pass that falls back on the exploration pass: it has no streams.
    pub(crate) fn of_inference() -> Self {
        Self { rows: Rows::None, ..Self::default() }
    }

    /// Whether the pass is one of inference, which does not explore.
    pub(crate) fn is_inference(&self) -> bool {
        matches!(self.rows, Rows::None)
    }

    /// Sets the environment steps.
    #[must_use]
    pub fn with_env_steps(mut self, env_steps: u64) -> Self {
        self.env_steps = env_steps;
        self
    }

    /// Returns the environment steps sampled since the start of training by all runners together, as of
    /// the last time that weights were published to this runner.
    #[must_use]
    pub fn env_steps(&self) -> u64 {
        self.env_steps
    }

    /// Returns the random stream of a row of the batch.
    ///
    /// # Errors
    /// [`ModuleError::NoRandomStream`] for a row that the batch does not have, and in an inference pass
    /// that falls back on the exploration pass.
    pub fn rng(&mut self, row: usize) -> Result<&mut Generator> {
        Ok(&mut self.stream(row)?.rng)
    }

    fn stream(&mut self, row: usize) -> Result<&mut ExplorationStream> {
        let slot = match &self.rows {
            Rows::All => row,
            Rows::Slots(slots) => *slots.get(row).ok_or_else(|| {
                let rows = slots.len();
                let reason =
                    format!("the batch has no row {row}, only {rows} rows; draw for these");
                ModuleError::NoRandomStream { reason }
            })?,
            Rows::None => {
                let reason =
                    "`forward_inference` falls back on `forward_exploration`, which draws \
                              random numbers; implement `forward_inference` without them"
                        .into();
                return Err(ModuleError::NoRandomStream { reason });
            }
        };
        let [seed, runner] = self.key;
        let new =
            || ExplorationStream::new(stream(seed, runner, slot as u64, Purpose::Exploration));
        Ok(self.streams.entry(slot).or_insert_with(new))
    }

    /// Sets the environment steps, for runners that receive new weights.
    pub fn set_env_steps(&mut self, env_steps: u64) {
        self.env_steps = env_steps;
    }

    /// Sets the streams of the rows of the next batch, for runners: row `i` draws from stream `slots[i]`.
    pub fn set_slots(&mut self, slots: &[usize]) {
        match &mut self.rows {
            Rows::Slots(kept) => {
                kept.clear();
                kept.extend_from_slice(slots);
            }
            rows => *rows = Rows::Slots(slots.to_vec()),
        }
    }

    /// Returns the streams that were drawn from, for checkpoints.
    #[must_use]
    pub fn streams(&self) -> &BTreeMap<usize, ExplorationStream> {
        &self.streams
    }

    /// Replaces the streams by saved ones. The others begin anew.
    pub fn set_streams(&mut self, streams: BTreeMap<usize, ExplorationStream>) {
        self.streams = streams;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(cx: &mut ExplorationContext, slots: &[usize]) -> Vec<u64> {
        cx.set_slots(slots);
        (0..slots.len()).map(|row| cx.rng(row).unwrap().next_u64()).collect()
    }

    #[test]
    fn a_row_draws_the_same_numbers_whichever_other_rows_there_are() {
        let mut all = ExplorationContext::for_runner(3, 1);
        let (first, second) = (draws(&mut all, &[0, 1, 2]), draws(&mut all, &[0, 1, 2]));
        let mut alone = ExplorationContext::for_runner(3, 1);
        assert_eq!(draws(&mut alone, &[2]), [first[2]]);
        assert_eq!(draws(&mut alone, &[2, 0]), [second[2], first[0]]);
        assert_ne!(draws(&mut ExplorationContext::for_runner(3, 0), &[2]), [first[2]]);
        assert_ne!(draws(&mut ExplorationContext::for_runner(4, 1), &[2]), [first[2]]);
    }

    #[test]
    fn saved_streams_continue_exactly_and_the_others_begin() {
        let mut cx = ExplorationContext::from_seed(1);
        assert!(cx.streams().is_empty());
        draws(&mut cx, &[5]);
        let json = serde_json::to_string(cx.streams()).unwrap();
        let mut restored = ExplorationContext::from_seed(1);
        restored.set_streams(serde_json::from_str(&json).unwrap());
        assert_eq!(draws(&mut restored, &[0, 5]), draws(&mut cx, &[0, 5]));
    }

    #[test]
    fn rows_beyond_the_batch_and_inference_passes_have_no_stream() {
        let mut cx = ExplorationContext::from_seed(0);
        cx.set_slots(&[4, 7]);
        let message = cx.rng(2).unwrap_err().to_string();
        assert!(message.contains("no row 2, only 2 rows"), "{message}");
        let message = ExplorationContext::of_inference().rng(0).unwrap_err().to_string();
        assert!(message.contains("implement `forward_inference`"), "{message}");
    }
}
