//! A policy in the environment of one agent.

use rekindle::env::render::Frame;
use rekindle::env::{Buffer, Env, ResetOptions};
use rekindle::env_runner::PolicyBundle;

use super::game::{Game, Outcome, of_env};
use crate::error::Result;

pub(super) struct SingleAgentGame {
    policy: PolicyBundle,
    env: Box<dyn Env>,
    observation: Buffer,
}

impl SingleAgentGame {
    pub(super) fn new(mut policy: PolicyBundle, env: Box<dyn Env>, seed: u64) -> Self {
        policy.set_seed(seed);
        let observation = Buffer::zeros(env.observation_space(), 1);
        Self { policy, env, observation }
    }
}

impl Game for SingleAgentGame {
    fn reset(&mut self, seed: Option<u64>) -> Result<()> {
        self.policy.reset();
        let options = seed.map_or_else(ResetOptions::default, ResetOptions::seed);
        self.env.reset(&options, self.observation.row_mut(0)).map_err(of_env)
    }

    fn step(&mut self, explore: bool) -> Result<Outcome> {
        let actions = self.policy.compute_actions(&self.observation, explore)?;
        let step = self.env.step(actions.row(0), self.observation.row_mut(0)).map_err(of_env)?;
        self.policy.set_rewards(&[step.reward]);
        Ok(Outcome { reward: step.reward, is_over: step.is_done() })
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render().map_err(of_env)
    }
}
