//! Episodes of limited length.

use serde_json::Value as Json;

use super::{at_least_one_step, load_nested, save_nested};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, Info, ResetOptions, Step};
use crate::error::Result;
use crate::render::Frame;
use crate::spaces::Space;

/// Truncates each episode that reaches `max_episode_steps` steps.
#[derive(Clone, Debug)]
pub struct TimeLimit<E> {
    env: E,
    max_episode_steps: usize,
    elapsed_steps: usize,
}

impl<E: Env> TimeLimit<E> {
    /// Wraps `env` and limits its episodes to `max_episode_steps` steps.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`](crate::EnvError::InvalidOption) for a limit of 0 steps.
    pub fn new(env: E, max_episode_steps: usize) -> Result<Self> {
        at_least_one_step(max_episode_steps)?;
        Ok(Self { env, max_episode_steps, elapsed_steps: 0 })
    }

    /// Returns the maximum length of an episode in steps.
    #[must_use]
    pub fn max_episode_steps(&self) -> usize {
        self.max_episode_steps
    }
}

impl<E: Env> Env for TimeLimit<E> {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.elapsed_steps = 0;
        self.env.reset(options, observation)
    }

    #[inline]
    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let mut step = self.env.step(action, observation)?;
        self.elapsed_steps += 1;
        step.truncated |= self.elapsed_steps >= self.max_episode_steps;
        Ok(step)
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        save_nested(&self.elapsed_steps, &self.env)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.elapsed_steps = load_nested(&mut self.env, state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
