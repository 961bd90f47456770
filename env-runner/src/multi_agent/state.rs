//! The saved state of the multi-agent runner.

use std::collections::BTreeMap;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{Generator, ModuleId};
use rekindle_env::MultiAgentVectorStep;
use rekindle_rl_module::ExplorationStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Lane, MultiAgentConfig, MultiAgentEnvRunner, Player, Stream, lanes};
use crate::env_runner::NewEpisodes;
use crate::env_runner::base::SavedBase;
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
    multi_agent: MultiAgentConfig,
    step: MultiAgentVectorStep,
    streams: Vec<Option<Stream>>,
    players: Vec<Option<Player>>,
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
    /// For each module: the learned states of its connectors, their memories of episodes, and the
    /// learned states of its action connectors.
    connectors: BTreeMap<ModuleId, [Value; 3]>,
}

impl Checkpointable for MultiAgentEnvRunner {
    type Error = RunnerError;

    fn get_state(&self) -> Result<State> {
        let connectors = self.lanes.iter().map(|(id, lane)| {
            let pipeline = &lane.env_to_module;
            let actions = lane.module_to_env.get_state()?;
            Ok((id.clone(), [pipeline.get_state()?, pipeline.get_memory()?, actions]))
        });
        let base = &self.base;
        Ok(State::from_data(&RunnerState {
            env: if base.seeded { self.env.state()? } else { None },
            multi_agent: self.multi_agent.clone(),
            step: self.step.clone(),
            streams: self.streams.clone(),
            players: self.players.clone(),
            episodes: base.episodes.clone(),
            next_episode: base.next_episode,
            action_rngs: base.action_rngs.clone(),
            exploration_rngs: base.exploration.streams().clone(),
            seeds: base.seeds.clone(),
            restarts: base.restarts.clone(),
            needs_reset: base.needs_reset,
            seeded: base.seeded,
            connectors: connectors.collect::<Result<_>>()?,
        })?)
    }

    /// Continues from a saved state. The continuation is exact if the number of environments is the
    /// same.
    ///
    /// With another number of environments, or if an environment could not be saved, new episodes
    /// begin on the saved random streams. The learned states of connectors are kept.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] for other agents or connectors, or the error of an environment
    /// that rejects its state. The runner is then unchanged.
    fn set_state(&mut self, state: &State) -> Result<()> {
        if let Some(reason) = self.restore_state(state)? {
            reason.warn(&self.base.config);
        }
        Ok(())
    }
}

impl MultiAgentEnvRunner {
    /// Continues from a saved state. Returns why if episodes do not.
    pub(super) fn restore_state(&mut self, state: &State) -> Result<Option<NewEpisodes>> {
        let state: RunnerState = state.data_as()?;
        let saved_envs = state.episodes.len();
        self.check(&state)?;
        let continues = state.env.as_ref().filter(|_| saved_envs == self.base.num_envs());
        let mut lanes = lanes(&state.multi_agent, &self.agents, &self.base.config)?;
        for (slot, stream) in state.streams.iter().enumerate().filter(|_| continues.is_some()) {
            // An agent may still act with a module that had lost its policy.
            let agent = self.agents.get(slot % self.agents.len());
            let (Some(stream), Some(agent)) = (stream, agent) else { continue };
            if lanes.contains_key(&stream.module) {
                continue;
            }
            let spaces = (&agent.observation_space, &agent.action_space);
            let config = &self.base.config;
            let mut lane = Lane::new(&stream.module, spaces.0, spaces.1, &self.agents, config)?;
            lane.retired = true;
            lanes.insert(stream.module.clone(), lane);
        }
        for (id, [learned, memory, actions]) in &state.connectors {
            if let Some(lane) = lanes.get_mut(id) {
                lane.env_to_module.set_state(learned)?;
                if continues.is_some() {
                    lane.env_to_module.set_memory(memory)?;
                }
                lane.module_to_env.set_state(actions)?;
            }
        }
        for stream in state.streams.iter().flatten().filter(|_| continues.is_some()) {
            let fits = lanes.get(&stream.module).is_some_and(|lane| {
                stream.is_consistent(lane.env_to_module.output_space(), &lane.action_space)
            });
            if !fits {
                return Err(invalid(format!(
                    "an agent acts with `{}`, whose recorded steps do not fit this runner",
                    stream.module
                )));
            }
        }
        if let Some(saved) = continues {
            let before = self.env.state().unwrap_or_default();
            self.base.restore_envs(saved, before, |state| self.env.set_state(state))?;
        }
        // From here on nothing fails.
        for (id, lane) in &mut lanes {
            // A module that now acts in other spaces is checked when it is set again.
            let old = self.lanes.get_mut(id);
            if let Some(old) = old.filter(|old| old.spaces() == lane.spaces()) {
                (lane.module, lane.initial_state) = (old.module.take(), old.initial_state.take());
            }
        }
        self.lanes = lanes;
        self.multi_agent = state.multi_agent.clone();
        self.base.config.multi_agent = Some(state.multi_agent);
        let mut reason = None;
        if continues.is_some() {
            self.step = state.step;
            self.streams = state.streams;
            self.players = state.players;
            (self.base.needs_reset, self.base.seeded) = (state.needs_reset, state.seeded);
        } else {
            reason = state.seeded.then(|| self.base.new_episodes(saved_envs));
            self.streams.fill_with(|| None);
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
        let slots = n * self.agents.len();
        let whole = state.step.num_envs() == n
            && state.streams.len() == slots
            && state.players.len() == slots
            && state.action_rngs.len() == slots
            && state.step.current().iter().all(|step| step.check(&self.agents).is_ok());
        if whole { Ok(()) } else { Err(invalid("it was saved with other agents".into())) }
    }
}

fn invalid(reason: String) -> RunnerError {
    RunnerError::InvalidState { component: "multi-agent env runner", reason }
}
