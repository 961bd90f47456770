//! Multi-agent episodes of limited length.

use serde_json::Value as Json;

use super::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::env::{Info, ResetOptions, load_state, save_state};
use crate::error::Result;
use crate::render::Frame;
use crate::wrappers::{Nested, at_least_one_step};

/// Truncates each episode for all of its agents when it reaches `max_episode_steps` steps of the
/// environment, regardless of the number of agents that acted in them.
///
/// The last observation of an agent that waits for its turn then counts as its final one.
#[derive(Clone, Debug)]
pub struct MultiAgentTimeLimit<E> {
    env: E,
    max_episode_steps: usize,
    elapsed_steps: usize,
}

impl<E: MultiAgentEnv> MultiAgentTimeLimit<E> {
    /// Wraps `env` and limits its episodes to `max_episode_steps` steps.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`](crate::EnvError::InvalidOption) for a limit of 0 steps.
    pub fn new(env: E, max_episode_steps: usize) -> Result<Self> {
        at_least_one_step(max_episode_steps)?;
        Ok(Self { env, max_episode_steps, elapsed_steps: 0 })
    }

    /// Returns the maximum length of an episode in steps of the environment.
    #[must_use]
    pub fn max_episode_steps(&self) -> usize {
        self.max_episode_steps
    }
}

impl<E: MultiAgentEnv> MultiAgentEnv for MultiAgentTimeLimit<E> {
    fn possible_agents(&self) -> &[AgentSpec] {
        self.env.possible_agents()
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        self.elapsed_steps = 0;
        self.env.reset(options, out)
    }

    #[inline]
    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        self.env.step(actions, out)?;
        self.elapsed_steps += 1;
        if self.elapsed_steps >= self.max_episode_steps {
            out.truncate_all();
        }
        Ok(())
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        match self.env.state()? {
            Some(env) => save_state(&Nested { wrapper: self.elapsed_steps, env }),
            None => Ok(None),
        }
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let Nested { wrapper, env } = load_state(self.name(), state)?;
        self.env.set_state(&env)?;
        self.elapsed_steps = wrapper;
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
