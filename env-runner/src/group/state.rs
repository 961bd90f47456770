//! The saved state of a group: the states and the health of its runners.

use std::mem;

use rekindle_checkpoint::{Checkpointable, State};
use serde::{Deserialize, Serialize};

use super::EnvRunnerGroup;
use super::worker::{Health, Status, build};
use crate::env_runner::{EnvRunner, NewEpisodes};
use crate::error::{Result, RunnerError};
use crate::multi_agent::MultiAgentConfig;

/// The plain part. Runners are components.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupState {
    runners: Vec<Health>,
    /// Runners that were late or had failed for good. They are not saved and are recreated.
    missing: Vec<usize>,
    num_late: u64,
    multi_agent: Option<MultiAgentConfig>,
}

impl EnvRunnerGroup {
    /// Returns the indices of the runners that are not available.
    fn missing(&self) -> Vec<usize> {
        let workers = self.workers.iter().enumerate();
        workers.filter(|(_, worker)| worker.runner().is_none()).map(|(index, _)| index).collect()
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
            if let Some(runner) = worker.runner() {
                state.insert_component(component(index), runner.get_state()?);
            }
        }
        Ok(state)
    }

    /// Continues from a saved state. The continuation is exact if the numbers of runners and
    /// environments are the same.
    ///
    /// A group with fewer runners drops the surplus ones. In a group with more, the additional
    /// runners begin new episodes on their own streams, with the connector states of the first one.
    /// For other numbers of environments see the runners' `set_state`.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if a state does not fit a runner, or an error if a runner that was
    /// not saved cannot be recreated. All runners are then as before, except that one whose environments
    /// cannot be saved begins new episodes.
    fn set_state(&mut self, state: &State) -> Result<()> {
        let saved: GroupState = state.data_as()?;
        if saved.multi_agent.is_some() != self.config.multi_agent.is_some() {
            let kind = if saved.multi_agent.is_some() { "multi" } else { "single" };
            let reason = format!("it was saved with {kind}-agent runners");
            return Err(RunnerError::InvalidState { component: "env runner group", reason });
        }
        self.wait_for_all()?;
        let before =
            self.workers.iter().map(|worker| worker.runner().map(|runner| runner.get_state()));
        let before: Vec<_> = before.collect();
        let multi_agent = mem::replace(&mut self.config.multi_agent, saved.multi_agent.clone());
        let mut changed = Vec::new();
        let mut new_episodes = Vec::new();
        let restored = self.restore_runners(state, &saved, &mut changed, &mut new_episodes);
        let fresh = match restored.and_then(|()| self.recreate_missing(&saved)) {
            Ok(fresh) => fresh,
            Err(error) => {
                self.config.multi_agent = multi_agent;
                for (index, worker) in self.workers.iter_mut().enumerate() {
                    match (worker.runner_mut(), &before[index]) {
                        (Some(runner), Some(Ok(before))) if changed.contains(&index) => {
                            runner.set_state(before)?;
                        }
                        (Some(runner), Some(Err(_))) if changed.contains(&index) => {
                            runner.reset_episodes();
                        }
                        // The runner was built for this state only.
                        (Some(_), None) => worker.status = Status::Failed,
                        _ => {}
                    }
                }
                return Err(error);
            }
        };
        self.late.clear();
        self.finished.clear();
        self.deltas.clear();
        self.merged_connectors = None;
        self.num_late = saved.num_late;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.health = saved.runners.get(index).copied().unwrap_or_default();
        }
        for (index, runner) in fresh {
            self.keep_metrics(index);
            let worker = &mut self.workers[index];
            worker.health.restarts += 1;
            worker.status = Status::Available(runner);
            self.recreated.push(index);
        }
        if !self.workers.is_empty() {
            self.spaces = self.first()?.module_spaces();
        }
        new_episodes.into_iter().for_each(|reason| reason.warn(&self.config));
        Ok(())
    }
}

impl EnvRunnerGroup {
    /// Builds the runners that were not saved, with the connector states of the first healthy one that
    /// was.
    fn recreate_missing(&self, saved: &GroupState) -> Result<Vec<(usize, Box<dyn EnvRunner>)>> {
        let present = |index: &usize| !saved.missing.contains(index);
        let healthy = |index: &usize| saved.runners.get(*index).is_none_or(|h| h.healthy);
        let mut sources = (0..self.workers.len()).filter(present).filter(healthy);
        let source = sources.find_map(|index| self.workers[index].runner());
        let states = source.map(EnvRunner::connector_states).transpose()?;
        let missing = saved.missing.iter().filter(|index| **index < self.workers.len());
        let recreate = |&index: &usize| {
            let restarts = saved.runners.get(index).map_or(0, |health| health.restarts);
            Ok((index, self.fresh(index, restarts + 1, states.as_ref())?))
        };
        missing.map(recreate).collect()
    }

    /// Passes the saved states to the runners, and notes which have changed and why some begin new episodes.
    fn restore_runners(
        &mut self,
        state: &State,
        saved: &GroupState,
        changed: &mut Vec<usize>,
        new_episodes: &mut Vec<NewEpisodes>,
    ) -> Result<()> {
        let present = |index: &usize| !saved.missing.contains(index);
        let connectors = (0..saved.runners.len()).find(present);
        if saved.runners.len() != self.workers.len() {
            tracing::warn!(
                saved = saved.runners.len(),
                runners = self.workers.len(),
                "another number of runners was saved"
            );
        }
        for index in (0..self.workers.len()).filter(present) {
            let health = saved.runners.get(index);
            let worker = &mut self.workers[index];
            if worker.runner().is_none() {
                let restarts = health.map_or(0, |health| health.restarts);
                let runner = build(&self.config, index, restarts, &self.device)?;
                worker.status = Status::Available(runner);
            }
            let Some(runner) = worker.runner_mut() else { continue };
            if health.is_some() {
                let reason = runner.restore(state.component(&component(index))?)?;
                new_episodes.extend(reason.filter(|reason| !new_episodes.contains(reason)));
                changed.push(index);
                continue;
            }
            changed.push(index);
            runner.reset_episodes();
            if let Some(multi_agent) = &saved.multi_agent {
                runner.set_multi_agent(multi_agent.clone())?;
            }
            let source = connectors.filter(|first| *first < index);
            if let Some(source) = source.and_then(|source| self.workers[source].runner()) {
                let states = source.connector_states()?;
                if let Some(runner) = self.workers[index].runner_mut() {
                    runner.set_connector_states(&states)?;
                    runner.take_connector_deltas()?;
                }
            }
        }
        Ok(())
    }
}
