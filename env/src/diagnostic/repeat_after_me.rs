//! A test of memory.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, discrete_action, invalid_state, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::np_random::Generator;
use crate::options::EnvConfig;
use crate::render::{Canvas, Frame, colors};
use crate::spaces::Space;

/// Observations that a picture shows.
const SHOWN: usize = 5;

/// `RepeatAfterMe-v0`: repeat an observation some steps later. RLlib's environment of the same
/// name.
///
/// - Observation: a random 0 or 1 in each step.
/// - Action: the observation `repeat_delay` steps before the current one. It counts as 0 if it
///   would be before the start of the episode.
/// - Reward: 1 if right, -1 if wrong.
/// - Truncates after `episode_len` steps.
/// - Options: `repeat_delay` (1), where 0 is the current observation, and `episode_len` (100).
///
/// With a delay, the mean return is about 0 without a memory, and `episode_len` with one.
#[derive(Clone, Debug)]
pub struct RepeatAfterMe {
    space: Space,
    repeat_delay: usize,
    episode_len: usize,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    /// The last `repeat_delay + 1` observations, oldest first.
    history: VecDeque<i64>,
    steps: usize,
}

impl RepeatAfterMe {
    /// Creates the environment. Options: `repeat_delay` (1), `episode_len` (100).
    ///
    /// # Errors
    ///
    /// [`EnvError`] for an unknown option, or one that is not an integer in its range.
    pub fn new(config: &EnvConfig) -> Result<Self> {
        config.deny_unknown("RepeatAfterMe", &["repeat_delay", "episode_len"])?;
        let count = |option: &str, default: i64, least: i64| {
            let number = config.get_i64(option)?.unwrap_or(default);
            if (least..=1_000_000).contains(&number) {
                return Ok(number as usize);
            }
            Err(EnvError::InvalidOption {
                option: option.to_owned(),
                expected: format!("between {least} and 1000000"),
                found: number.to_string(),
            })
        };
        let repeat_delay = count("repeat_delay", 1, 0)?;
        let history = VecDeque::from(vec![0; repeat_delay + 1]);
        Ok(Self {
            space: Space::discrete(2)?,
            repeat_delay,
            episode_len: count("episode_len", 100, 1)?,
            state: State { rng: Generator::from_entropy(), history, steps: 0 },
        })
    }

    fn observe(&mut self, mut observation: RowMut<'_>) -> Result<()> {
        let token = self.state.rng.integers(0, 2);
        self.state.history.pop_front();
        self.state.history.push_back(token);
        observation.write_discrete(token)
    }
}

impl Env for RepeatAfterMe {
    fn observation_space(&self) -> &Space {
        &self.space
    }

    fn action_space(&self) -> &Space {
        &self.space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        self.state.rng.reseed(options.seed);
        self.state.history.iter_mut().for_each(|token| *token = 0);
        self.state.steps = 0;
        self.observe(observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let said = discrete_action(&self.space, action)?;
        let right = self.state.history.front() == Some(&said);
        self.state.steps += 1;
        self.observe(observation)?;
        Ok(Step {
            reward: if right { 1.0 } else { -1.0 },
            terminated: false,
            truncated: self.state.steps >= self.episode_len,
        })
    }

    fn render(&mut self) -> Result<Frame> {
        let mut canvas = Canvas::new(100, 100 * SHOWN, [0.0, SHOWN as f64], 0.0);
        // The newest observation is on the right, and the one to repeat has a frame.
        let history = &self.state.history;
        for (age, &token) in history.iter().rev().take(SHOWN).enumerate() {
            let left = (SHOWN - 1 - age) as f64;
            if age + 1 == history.len() {
                canvas.rectangle([left, 0.0], [left + 1.0, 1.0], colors::YELLOW);
            }
            let color = if token == 0 { colors::GRAY } else { colors::BLUE };
            canvas.rectangle([left + 0.1, 0.1], [left + 0.9, 0.9], color);
        }
        Ok(canvas.into_frame()?.with_fps(5.0))
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let state: State = load_state(self.name(), state)?;
        let (expected, found) = (self.repeat_delay + 1, state.history.len());
        if found != expected {
            let reason = format!("it remembers {found} observations instead of {expected}");
            return Err(invalid_state(self.name(), reason));
        }
        self.state = state;
        Ok(())
    }

    fn name(&self) -> &str {
        "RepeatAfterMe"
    }
}
