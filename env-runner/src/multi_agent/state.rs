//! The state of a runner: everything that decides what it does next.

use std::collections::BTreeMap;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::{Generator, ModuleId};
use rekindle_env::MultiAgentVectorStep;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stream::Stream;
use super::{EpisodeTracker, MultiAgentEnvRunner};
use crate::restarts::Restarts;
use crate::{MultiAgentConfig, Result, RunnerError};

/// The serialised form. The weights belong to the learner and are not part of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunnerState {
    /// `None` if an environment cannot be saved: the runner starts new episodes then.
    env: Option<Value>,
    multi_agent: MultiAgentConfig,
    step: MultiAgentVectorStep,
    streams: Vec<Option<Stream>>,
    episodes: Vec<EpisodeTracker>,
    next_episode: u64,
    action_rngs: Vec<Generator>,
    seeds: Generator,
    restarts: Restarts,
    needs_reset: bool,
    seeded: bool,
    /// What the connectors of each module have learnt, and what they remember of episodes; what
    /// those of its actions have learnt.
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
        Ok(State::from_data(&RunnerState {
            env: if self.seeded { self.env.state()? } else { None },
            multi_agent: self.multi_agent.clone(),
            step: self.step.clone(),
            streams: self.streams.clone(),
            episodes: self.episodes.clone(),
            next_episode: self.next_episode,
            action_rngs: self.action_rngs.clone(),
            seeds: self.seeds.clone(),
            restarts: self.restarts.clone(),
            needs_reset: self.needs_reset,
            seeded: self.seeded,
            connectors: connectors.collect::<Result<_>>()?,
        })?)
    }

    /// Environments that could not be saved start new episodes, on fresh seeds of the same stream.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let state: RunnerState = state.data_as()?;
        let n = self.config.num_envs;
        let slots = n * self.agents.len();
        let fits = state.episodes.len() == n
            && state.restarts.num_envs() == n
            && state.step.num_envs() == n
            && state.streams.len() == slots
            && state.action_rngs.len() == slots
            && state.step.current().iter().all(|step| step.check(&self.agents).is_ok());
        if !fits {
            return Err(RunnerError::InvalidState {
                component: "multi-agent env runner",
                reason: format!(
                    "it was saved with {} environments or other agents; this runner has {n}",
                    state.episodes.len()
                ),
            });
        }
        self.set_multi_agent(state.multi_agent)?;
        match &state.env {
            Some(env) => {
                self.env.set_state(env)?;
                self.needs_reset = state.needs_reset;
                self.seeded = state.seeded;
            }
            None => {
                self.needs_reset = true;
                self.seeded = false;
            }
        }
        for (id, [learnt, memory, actions]) in &state.connectors {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.env_to_module.set_state(learnt)?;
                lane.env_to_module.set_memory(memory)?;
                lane.module_to_env.set_state(actions)?;
            }
        }
        self.step = state.step;
        self.streams = state.streams;
        self.players.fill_with(|| None);
        self.episodes = state.episodes;
        self.next_episode = state.next_episode;
        self.action_rngs = state.action_rngs;
        self.seeds = state.seeds;
        self.restarts = state.restarts;
        Ok(())
    }
}
