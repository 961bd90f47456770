//! Environments of PettingZoo, with several agents.
//!
//! The worker presents such an environment as a single-agent one. Its observations are a Dict that holds
//! the observation and the status of each agent. Its actions are a Dict that holds, for each agent,
//! whether it acts and its action.

use std::sync::Arc;

use rekindle_env::render::Frame;
use rekindle_env::{
    AgentSpec, Buffer, EnvConfig, EnvError, Generator, Info, MultiAgentActions, MultiAgentEnv,
    MultiAgentStep, ResetOptions, Space, VectorEnv, VectorStep,
};

use crate::env::of_one;
use crate::error::GymnasiumError;
use crate::vector::GymnasiumVectorEnv;

/// An environment of PettingZoo in a worker process of its own.
#[derive(Debug)]
pub struct PettingZooEnv {
    id: Arc<str>,
    env: GymnasiumVectorEnv,
    agents: Vec<AgentSpec>,
    /// The key of each agent in observations and actions.
    keys: Vec<String>,
    /// Which agents were observed in this episode and are not done.
    alive: Vec<bool>,
    action: Buffer,
    out: VectorStep,
}

impl PettingZooEnv {
    /// Starts a worker with the environment `id`, as in `pettingzoo:classic.rps_v2`.
    ///
    /// # Errors
    /// As for [`GymnasiumVectorEnv::new`].
    pub fn new(id: &str, config: &EnvConfig) -> Result<Self, EnvError> {
        let id: Arc<str> = id.into();
        let env = GymnasiumVectorEnv::with_autoreset(&id, 1, config, false)?;
        let out = VectorStep::new(env.observation_space(), 1);
        let mut action = Buffer::zeros(env.action_space(), 1);
        // The actions of agents that do not act are ignored, but must be elements of their spaces.
        env.action_space().sample_into(&mut Generator::from_seed(0), action.row_mut(0))?;
        let (mut agents, mut keys) = (Vec::new(), Vec::new());
        for (key, part) in env.observation_space().as_dict()?.iter() {
            let unnamed = || GymnasiumError::protocol(format!("`{key}` is no agent"));
            let (_, name) = key.split_once(' ').ok_or_else(unnamed)?;
            let of = |space: &Space, part| space.as_dict()?.get(part).cloned();
            let actions = of(env.action_space(), key)?;
            agents.push(AgentSpec::new(name, of(part, "observation")?, of(&actions, "action")?));
            keys.push(key.to_owned());
        }
        let alive = vec![false; agents.len()];
        Ok(Self { id, env, agents, keys, alive, action, out })
    }

    /// Passes on what the worker reported.
    fn report(&mut self, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        let row = self.out.observations.row(0);
        for (agent, key) in self.keys.iter().enumerate() {
            let part = row.get(key)?;
            let &[observed, terminated, truncated, reward] = part.get("status")?.as_i64()? else {
                return Err(GymnasiumError::protocol("the status of an agent is malformed").into());
            };
            if observed != 0 {
                out.observe(agent)?.copy_from(part.get("observation")?)?;
                self.alive[agent] = true;
            }
            // Rewards travel as the bits of a double, so that none is rounded.
            out.add_reward(agent, f64::from_bits(reward.cast_unsigned()))?;
            if terminated != 0 {
                out.terminate(agent)?;
            }
            if truncated != 0 {
                out.truncate(agent)?;
            }
            self.alive[agent] &= terminated == 0 && truncated == 0;
        }
        // Usually, every agent has ended on its own.
        if self.out.is_done(0) && self.alive.contains(&true) {
            out.terminate_all();
        }
        Ok(())
    }
}

impl MultiAgentEnv for PettingZooEnv {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<(), EnvError> {
        self.alive.fill(false);
        self.env.reset_with(&[options.seed], &options.options, &mut self.out).map_err(of_one)?;
        self.report(out)
    }

    fn step(
        &mut self,
        actions: &MultiAgentActions,
        out: &mut MultiAgentStep,
    ) -> Result<(), EnvError> {
        for (agent, key) in self.keys.iter().enumerate() {
            let mut row = self.action.row_mut(0);
            let mut part = row.get_mut(key)?;
            let action = actions.action(agent);
            part.get_mut("acts")?.write_discrete(i64::from(action.is_some()))?;
            if let Some(action) = action {
                part.get_mut("action")?.copy_from(action)?;
            }
        }
        self.env.step(&self.action, &mut self.out).map_err(of_one)?;
        self.report(out)
    }

    fn info(&self) -> Info {
        self.env.info(0)
    }

    fn render(&mut self) -> Result<Frame, EnvError> {
        self.env.render(0).map_err(of_one)
    }

    fn name(&self) -> &str {
        &self.id
    }
}
