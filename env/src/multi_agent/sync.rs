//! Vectors of multi-agent environments on one thread.

use std::mem;

use serde_json::{Map, Value as Json};

use super::{
    AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentVectorEnv, MultiAgentVectorStep,
};
use crate::env::{Info, ResetOptions, load_state};
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::vector::{FinalFrames, check_len, no_env};

/// A vector of multi-agent environments that are stepped one after the other on the calling thread.
///
/// [`make_multi_agent_vec`](crate::make_multi_agent_vec) builds vectors whose environments are
/// wrapped in [`MultiAgentChecker`](super::MultiAgentChecker). Wrap the environments that you pass
/// to [`new`](Self::new) as well.
#[derive(Debug)]
pub struct SyncMultiAgentVectorEnv<E = Box<dyn MultiAgentEnv>> {
    envs: Vec<E>,
    agents: Vec<AgentSpec>,
    /// The info of each environment's last step of an episode, taken before its reset.
    final_infos: Vec<Info>,
    final_frames: FinalFrames,
}

impl<E: MultiAgentEnv> SyncMultiAgentVectorEnv<E> {
    /// Creates a vector of one or more environments with the same agents.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] without environments, [`EnvError::InvalidSpace`] if their agents
    /// or the agents' spaces differ.
    pub fn new(envs: Vec<E>) -> Result<Self> {
        let Some(first) = envs.first() else {
            return Err(EnvError::length("environments in a vector", 1, 0));
        };
        let agents = first.possible_agents().to_vec();
        for (index, env) in envs.iter().enumerate() {
            if env.possible_agents() != agents {
                let ids = |agents: &[AgentSpec]| {
                    agents.iter().map(|agent| agent.id.clone()).collect::<Vec<_>>()
                };
                let reason = format!(
                    "environment {index} of a vector has the agents {:?}, environment 0 has {:?}, \
                     or their spaces differ",
                    ids(env.possible_agents()),
                    ids(&agents)
                );
                return Err(EnvError::invalid_space(reason));
            }
        }
        let final_infos = vec![Info::new(); envs.len()];
        Ok(Self { envs, agents, final_infos, final_frames: FinalFrames::default() })
    }

    /// Returns the environments.
    #[must_use]
    pub fn envs(&self) -> &[E] {
        &self.envs
    }
}

impl<E: MultiAgentEnv> MultiAgentVectorEnv for SyncMultiAgentVectorEnv<E> {
    fn num_envs(&self) -> usize {
        self.envs.len()
    }

    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        check_len("seeds", self.envs.len(), seeds.len())?;
        out.check(self.envs.len())?;
        let mut options = ResetOptions { seed: None, options: options.clone() };
        let mut failures = Vec::new();
        for (i, (env, step)) in self.envs.iter_mut().zip(&mut out.current).enumerate() {
            options.seed = seeds.get(i).copied().flatten();
            step.clear();
            if let Err(error) = env.reset(&options, step) {
                step.clear();
                failures.push(EnvError::at(i)(error));
            }
        }
        out.done.fill(false);
        EnvError::check_failures(failures)
    }

    fn reset_one(
        &mut self,
        index: usize,
        seed: Option<u64>,
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        let num_envs = self.envs.len();
        out.check(num_envs)?;
        let env = self.envs.get_mut(index).ok_or_else(|| no_env(index, num_envs))?;
        let step = &mut out.current[index];
        out.done[index] = false;
        step.clear();
        env.reset(&ResetOptions { seed, ..ResetOptions::new() }, step).map_err(|error| {
            step.clear();
            EnvError::at(index)(error)
        })
    }

    fn step(
        &mut self,
        actions: &[MultiAgentActions],
        out: &mut MultiAgentVectorStep,
    ) -> Result<()> {
        check_len("environments in `actions`", self.envs.len(), actions.len())?;
        out.check(self.envs.len())?;
        // Allocates nothing until an environment fails.
        let mut failures = Vec::new();
        let steps = out.current.iter_mut().zip(&mut out.ended).zip(&mut out.done);
        for (i, ((env, actions), ((current, ended), done))) in
            self.envs.iter_mut().zip(actions).zip(steps).enumerate()
        {
            current.clear();
            let stepped = env.step(actions, current);
            *done = stepped.is_ok() && current.is_done();
            let failed = if *done {
                self.final_infos[i] = env.info();
                self.final_frames.ended(i, || env.render());
                mem::swap(current, ended);
                current.clear();
                env.reset(&ResetOptions::new(), current)
            } else {
                stepped
            };
            if let Err(error) = failed {
                current.clear();
                failures.push(EnvError::at(i)(error));
            }
        }
        EnvError::check_failures(failures)
    }

    fn info(&self, index: usize) -> Info {
        self.envs.get(index).map(MultiAgentEnv::info).unwrap_or_default()
    }

    fn final_info(&self, index: usize) -> Info {
        self.final_infos.get(index).cloned().unwrap_or_default()
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        let num_envs = self.envs.len();
        let env = self.envs.get_mut(index).ok_or_else(|| no_env(index, num_envs))?;
        env.render().map_err(EnvError::at(index))
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        self.final_frames.keep(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.final_frames.take(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        let states = self.envs.iter().map(|env| env.state().transpose());
        Ok(states.collect::<Option<Result<_>>>().transpose()?.map(Json::Array))
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let name = self.envs.first().map_or("SyncMultiAgentVectorEnv", |env| env.name());
        let states: Vec<Json> = load_state(name, state)?;
        check_len("states", self.envs.len(), states.len())?;
        for (i, (env, state)) in self.envs.iter_mut().zip(&states).enumerate() {
            env.set_state(state).map_err(EnvError::at(i))?;
        }
        Ok(())
    }
}
