//! The saved state of the single-agent runner.

use std::collections::BTreeMap;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::Generator;
use rekindle_env::{Buffer, VectorStep};
use rekindle_rl_module::ExplorationStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SingleAgentEnvRunner;
use crate::env_runner::NewEpisodes;
use crate::env_runner::base::SavedBase;
use crate::env_runner::memory::Memory;
use crate::env_runner::restarts::Restarts;
use crate::env_runner::tracking::EpisodeTracker;
use crate::error::{Result, RunnerError};

/// The serialized form: everything that determines the next steps of the runner, except the
/// weights, which belong to the learner.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunnerState {
    /// `None` if an environment cannot be saved. The runner then begins new episodes.
    env: Option<Value>,
    step: VectorStep,
    observations: Buffer,
    /// The states of a stateful module.
    #[serde(default)]
    memory: Option<Memory>,
    episodes: Vec<EpisodeTracker>,
    next_episode: u64,
    action_rngs: Vec<Generator>,
    /// The streams that exploration passes drew from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    exploration_rngs: BTreeMap<usize, ExplorationStream>,
    seeds: Generator,
    restarts: Restarts,
    needs_reset: bool,
    seeded: bool,
    env_to_module: Value,
    module_to_env: Value,
    /// The connectors' memories of the running episodes.
    #[serde(default)]
    connector_memory: Value,
}

impl Checkpointable for SingleAgentEnvRunner {
    type Error = RunnerError;

    fn get_state(&self) -> Result<State> {
        let base = &self.base;
        let state = RunnerState {
            env: if base.seeded { self.env.state()? } else { None },
            step: self.step.clone(),
            observations: self.seen().clone(),
            memory: self.memory.clone(),
            episodes: base.episodes.clone(),
            next_episode: base.next_episode,
            action_rngs: base.action_rngs.clone(),
            exploration_rngs: base.exploration.streams().clone(),
            seeds: base.seeds.clone(),
            restarts: base.restarts.clone(),
            needs_reset: base.needs_reset,
            seeded: base.seeded,
            env_to_module: self.env_to_module.get_state()?,
            module_to_env: self.module_to_env.get_state()?,
            connector_memory: self.env_to_module.get_memory()?,
        };
        Ok(State::from_data(&state)?)
    }

    /// Continues from a saved state. The continuation is exact if the number of environments is the
    /// same.
    ///
    /// With another number of environments, or if an environment could not be saved, new episodes
    /// begin on the saved random streams. The learned states of connectors are kept.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] for another observation space or other connectors, or the error
    /// of an environment that rejects its state. The runner is then unchanged.
    fn set_state(&mut self, state: &State) -> Result<()> {
        if let Some(reason) = self.restore_state(state)? {
            reason.warn(&self.base.config);
        }
        Ok(())
    }
}

impl SingleAgentEnvRunner {
    /// Continues from a saved state. Returns why if episodes do not.
    pub(super) fn restore_state(&mut self, state: &State) -> Result<Option<NewEpisodes>> {
        let state: RunnerState = state.data_as()?;
        let saved_envs = state.episodes.len();
        self.check(&state)?;
        let continues = state.env.as_ref().filter(|_| saved_envs == self.base.num_envs());
        let connectors = self.connector_snapshot()?;
        let restored = self
            .restore_connectors([
                &state.env_to_module,
                &state.module_to_env,
                if continues.is_some() { &state.connector_memory } else { &Value::Null },
            ])
            .and_then(|()| match continues {
                Some(saved) => {
                    let before = self.env.state().unwrap_or_default();
                    self.base.restore_envs(saved, before, |state| self.env.set_state(state))
                }
                None => Ok(()),
            });
        if let Err(error) = restored {
            self.restore_connectors([&connectors[0], &connectors[1], &connectors[2]])?;
            return Err(error);
        }
        let mut reason = None;
        if continues.is_some() {
            self.memory = match (state.memory, &self.module) {
                // Weights come later: `set_module` checks whether they fit.
                (Some(saved), None) => Some(saved),
                (Some(saved), Some(_)) if self.memory.as_ref().is_some_and(|m| m.fits(&saved)) => {
                    Some(saved)
                }
                _ => self.memory.take(),
            };
            self.step = state.step;
            self.observations = state.observations;
            (self.base.needs_reset, self.base.seeded) = (state.needs_reset, state.seeded);
        } else {
            reason = state.seeded.then(|| self.base.new_episodes(saved_envs));
            self.base.envs_replaced();
        }
        self.base.restore(SavedBase {
            episodes: state.episodes,
            next_episode: state.next_episode,
            action_rngs: state.action_rngs,
            exploration_rngs: state.exploration_rngs,
            seeds: state.seeds,
            restarts: state.restarts,
        });
        Ok(reason)
    }

    /// Checks that a state fits this runner, for any number of environments.
    fn check(&self, state: &RunnerState) -> Result<()> {
        let n = state.episodes.len();
        let whole = state.action_rngs.len() == n
            && state.step.num_envs() == n
            && state.observations.rows() == n
            && state.memory.as_ref().is_none_or(|memory| memory.rows() == n);
        let reason = match state.observations.is_compatible(self.observation_space()) {
            true if whole => return Ok(()),
            true => format!("its parts are for different numbers of environments, not {n} each"),
            false => "it was saved with another observation space".into(),
        };
        Err(RunnerError::InvalidState { component: "env runner", reason })
    }

    fn connector_snapshot(&self) -> Result<[Value; 3]> {
        let (seen, done) = (&self.env_to_module, &self.module_to_env);
        Ok([seen.get_state()?, done.get_state()?, seen.get_memory()?])
    }

    fn restore_connectors(&mut self, [seen, done, memory]: [&Value; 3]) -> Result<()> {
        self.env_to_module.set_state(seen)?;
        self.module_to_env.set_state(done)?;
        self.env_to_module.set_memory(memory)
    }
}
