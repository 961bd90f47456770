//! Random observations from any space.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::buffer::{Row, RowMut};
use crate::env::{Env, ResetOptions, Step, invalid_action, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::np_random::Generator;
use crate::spaces::Space;

/// Random observations and rewards, regardless of the actions: RLlib's `RandomEnv`.
///
/// It serves tests and benchmarks in which spaces matter and learning does not. Actions must be
/// elements of their space.
///
/// ```
/// use rekindle_env::diagnostic::RandomEnv;
/// use rekindle_env::{EnvConfig, EnvSpec, Space, register};
///
/// register(EnvSpec::new("Test/Pictures-v0", |_: &EnvConfig| {
///     RandomEnv::new(Space::image(&[84, 84, 3])?, Space::discrete(6)?).with_p_terminated(0.01)
/// }))?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RandomEnv {
    observation_space: Space,
    action_space: Space,
    rewards: (f64, f64),
    p_terminated: f64,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
}

impl RandomEnv {
    /// Creates an environment with these spaces. Rewards are uniform in `[-1, 1)`, and each step
    /// ends its episode with probability 0.1.
    #[must_use]
    pub fn new(observation_space: Space, action_space: Space) -> Self {
        Self {
            observation_space,
            action_space,
            rewards: (-1.0, 1.0),
            p_terminated: 0.1,
            state: State { rng: Generator::from_entropy() },
        }
    }

    /// Draws rewards uniformly from `[low, high)`. Equal bounds give a constant reward.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if a bound is not finite, or if `low` is above `high`.
    pub fn with_rewards(mut self, low: f64, high: f64) -> Result<Self> {
        if !(low <= high && low.is_finite() && high.is_finite()) {
            return Err(EnvError::InvalidOption {
                option: "rewards".to_owned(),
                expected: "two finite bounds, the lower one first".to_owned(),
                found: format!("[{low}, {high})"),
            });
        }
        self.rewards = (low, high);
        Ok(self)
    }

    /// Sets the probability with which each step ends its episode.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] if it is not between 0 and 1.
    pub fn with_p_terminated(mut self, p_terminated: f64) -> Result<Self> {
        self.p_terminated = crate::options::probability("p_terminated", p_terminated)?;
        Ok(self)
    }
}

impl Env for RandomEnv {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        options.deny_unknown(self.name(), &[])?;
        self.state.rng.reseed(options.seed);
        self.observation_space.sample_into(&mut self.state.rng, observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        if !self.action_space.contains_row(action) {
            return Err(invalid_action(&self.action_space, action));
        }
        let rng = &mut self.state.rng;
        self.observation_space.sample_into(rng, observation)?;
        let reward = rng.uniform(self.rewards.0, self.rewards.1);
        Ok(Step { reward, terminated: rng.random() < self.p_terminated, truncated: false })
    }

    fn state(&self) -> Result<Option<Json>> {
        save_state(&self.state)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_state(self.name(), state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        "RandomEnv"
    }
}
