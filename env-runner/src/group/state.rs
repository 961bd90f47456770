//! The state of a group: that of its runners, and how they are doing.

use rekindle_checkpoint::{Checkpointable, State};
use serde::{Deserialize, Serialize};

use super::EnvRunnerGroup;
use super::worker::{Health, Place, build};
use crate::{MultiAgentConfig, Result, RunnerError};

/// The plain part; runners are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupState {
    runners: Vec<Health>,
    /// Runners that are away or gone, which are not saved: they start anew.
    missing: Vec<usize>,
    num_late: u64,
    multi_agent: Option<MultiAgentConfig>,
}

impl EnvRunnerGroup {
    /// The runners that are not here.
    fn missing(&self) -> Vec<usize> {
        let workers = self.workers.iter().enumerate();
        workers.filter(|(_, worker)| worker.here().is_none()).map(|(index, _)| index).collect()
    }
}

fn component(index: usize) -> String {
    format!("runner_{index}")
}

impl Checkpointable for EnvRunnerGroup {
    type Error = RunnerError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::from_data(&GroupState {
            runners: self.workers.iter().map(|worker| worker.health).collect(),
            missing: self.missing(),
            num_late: self.num_late,
            multi_agent: self.config.multi_agent.clone(),
        })?;
        for (index, worker) in self.workers.iter().enumerate() {
            if let Some(runner) = worker.here() {
                state.insert_component(component(index), runner.get_state()?);
            }
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let saved: GroupState = state.data_as()?;
        if saved.runners.len() != self.workers.len() {
            return Err(RunnerError::InvalidState {
                component: "env runner group",
                reason: format!(
                    "it was saved with {} runners, there are {}",
                    saved.runners.len(),
                    self.workers.len()
                ),
            });
        }
        self.wait_for_all()?;
        self.late.clear();
        self.deltas.clear();
        self.merged_connectors = None;
        self.config.multi_agent = saved.multi_agent;
        self.num_late = saved.num_late;
        for (index, health) in saved.runners.into_iter().enumerate() {
            let worker = &mut self.workers[index];
            worker.health = health;
            if saved.missing.contains(&index) {
                worker.place = Place::Gone;
                continue;
            }
            let saved = state.component(&component(index))?;
            if worker.here().is_none() {
                let runner = build(&self.config, index, health.restarts, &self.device)?;
                worker.place = Place::Here(runner);
            }
            if let Some(runner) = worker.here_mut() {
                runner.set_state(saved)?;
            }
        }
        self.missing().into_iter().try_for_each(|index| self.rebuild(index))?;
        self.spaces = self.first()?.module_spaces();
        Ok(())
    }
}
