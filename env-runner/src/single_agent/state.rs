//! The state of a runner: everything that decides what it does next.

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::Generator;
use rekindle_env::{Buffer, VectorStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EpisodeTracker, SingleAgentEnvRunner};
use crate::memory::Memory;
use crate::restarts::Restarts;
use crate::{Result, RunnerError};

/// The serialised form. The weights belong to the learner and are not part of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunnerState {
    /// `None` if an environment cannot be saved: the runner starts new episodes then.
    env: Option<Value>,
    step: VectorStep,
    observations: Buffer,
    /// The state of a stateful module.
    #[serde(default)]
    memory: Option<Memory>,
    episodes: Vec<EpisodeTracker>,
    next_episode: u64,
    action_rngs: Vec<Generator>,
    seeds: Generator,
    restarts: Restarts,
    needs_reset: bool,
    seeded: bool,
    env_to_module: Value,
    module_to_env: Value,
    /// What connectors remember of the running episodes.
    #[serde(default)]
    connector_memory: Value,
}

impl Checkpointable for SingleAgentEnvRunner {
    type Error = RunnerError;

    fn get_state(&self) -> Result<State> {
        let state = RunnerState {
            env: if self.seeded { self.env.0.state()? } else { None },
            step: self.step.clone(),
            observations: self.observations.clone(),
            memory: self.memory.clone(),
            episodes: self.episodes.clone(),
            next_episode: self.next_episode,
            action_rngs: self.action_rngs.clone(),
            seeds: self.seeds.clone(),
            restarts: self.restarts.clone(),
            needs_reset: self.needs_reset,
            seeded: self.seeded,
            env_to_module: self.env_to_module.get_state()?,
            module_to_env: self.module_to_env.get_state()?,
            connector_memory: self.env_to_module.get_memory()?,
        };
        Ok(State::from_data(&state)?)
    }

    /// Environments that could not be saved start new episodes, on fresh seeds of the same stream.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let state: RunnerState = state.data_as()?;
        let n = self.config.num_envs;
        let fits = state.episodes.len() == n
            && state.action_rngs.len() == n
            && state.restarts.num_envs() == n
            && state.step.num_envs() == n
            && state.observations.rows() == n
            && state.memory.as_ref().is_none_or(|memory| memory.rows() == n)
            && state.observations.is_compatible(self.env_to_module.output_space());
        if !fits {
            return Err(RunnerError::InvalidState {
                component: "env runner",
                reason: format!(
                    "it was saved with {} environments or another observation space; this runner has {n}",
                    state.episodes.len()
                ),
            });
        }
        match &state.env {
            Some(env) => {
                self.env.0.set_state(env)?;
                self.needs_reset = state.needs_reset;
                self.seeded = state.seeded;
            }
            None => {
                if state.seeded {
                    tracing::warn!(
                        env = self.config.env,
                        "the environment cannot be saved: episodes start anew"
                    );
                }
                self.needs_reset = true;
                self.seeded = false;
            }
        }
        self.env_to_module.set_state(&state.env_to_module)?;
        self.module_to_env.set_state(&state.module_to_env)?;
        self.env_to_module.set_memory(&state.connector_memory)?;
        self.memory = match (state.memory, &self.module) {
            // Weights come later: `set_module` checks whether they go with it.
            (Some(saved), None) => Some(saved),
            (Some(saved), Some(_)) if self.memory.as_ref().is_some_and(|m| m.fits(&saved)) => {
                Some(saved)
            }
            _ => self.memory.take(),
        };
        self.step = state.step;
        self.observations = state.observations;
        self.episodes = state.episodes;
        self.next_episode = state.next_episode;
        self.action_rngs = state.action_rngs;
        self.seeds = state.seeds;
        self.restarts = state.restarts;
        Ok(())
    }
}
