//! Recovery of failed or late runners.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;
use serde_json::Value;

use super::EnvRunnerGroup;
use super::worker::{Status, build};
use crate::env_runner::EnvRunner;
use crate::error::{Result, RunnerError};

/// Number of times that a runner is recreated whose environments never began an episode.
const FIRST_FAILURES: u64 = 3;

impl EnvRunnerGroup {
    /// Handles the failure of a runner: recreates the runner (returning `None`), or ignores the
    /// failure (returning it).
    ///
    /// # Errors
    /// The failure, if it is not tolerated, or [`RunnerError::RunnerKeepsFailing`].
    pub(super) fn tolerate(
        &mut self,
        index: usize,
        mut error: RunnerError,
    ) -> Result<Option<RunnerError>> {
        let settings = self.config.fault_tolerance.clone();
        let tolerated = settings.num_consecutive_env_runner_failures_tolerance;
        loop {
            let worker = &mut self.workers[index];
            worker.health.failures += 1;
            if !error.is_recoverable() {
                return Err(error);
            }
            if !settings.restart_failed_env_runners {
                break;
            }
            let failures = worker.health.failures;
            // A runner that still works may have begun.
            self.has_begun |= worker.runner().is_none_or(|runner| runner.has_begun());
            if !self.has_begun && failures > FIRST_FAILURES {
                let (env, failure) = (self.config.env.clone(), error.reason());
                return Err(RunnerError::EnvNeverBegan { env, failures, failure });
            }
            let limits = [
                (
                    "num_consecutive_env_runner_failures_tolerance",
                    worker.health.failures - 1,
                    tolerated,
                ),
                (
                    "max_num_env_runner_restarts",
                    worker.health.restarts,
                    settings.max_num_env_runner_restarts,
                ),
            ];
            for (setting, failures, limit) in limits {
                if failures >= limit {
                    let source = Box::new(error);
                    return Err(RunnerError::RunnerKeepsFailing {
                        runner: index,
                        failures,
                        setting,
                        source,
                    });
                }
            }
            tracing::warn!(runner = index, %error, "a runner failed and is recreated");
            match self.rebuild(index) {
                Ok(()) => return Ok(None),
                Err(again) => error = again,
            }
        }
        if !settings.ignore_env_runner_failures {
            return Err(error);
        }
        let worker = &mut self.workers[index];
        tracing::warn!(runner = index, %error, "a runner failed and is ignored");
        let broken = matches!(error, RunnerError::Panicked { .. });
        if broken || worker.health.failures > tolerated {
            worker.status = Status::Failed;
        }
        Ok(Some(error))
    }

    /// Replaces a runner by a new one with fresh environments and random streams, and the modules and
    /// connector states of the others.
    pub(super) fn rebuild(&mut self, index: usize) -> Result<()> {
        self.workers[index].health.restarts += 1;
        let restarts = self.workers[index].health.restarts;
        // Without another healthy runner, the connector states of the old one are still valid.
        let mut healthy = self.workers.iter().filter(|worker| worker.is_healthy());
        let source = healthy.next().unwrap_or(&self.workers[index]);
        let states = match source.runner() {
            Some(source) => Some(source.connector_states()?),
            None => self.merged_connectors.clone(),
        };
        let runner = self.fresh(index, restarts, states.as_ref())?;
        self.keep_metrics(index);
        self.workers[index].status = Status::Available(runner);
        self.recreated.push(index);
        Ok(())
    }

    /// Keeps the metrics of a runner that is replaced.
    pub(super) fn keep_metrics(&mut self, index: usize) {
        let Some(old) = self.workers[index].runner_mut() else { return };
        if let Err(error) = old.read_device() {
            tracing::warn!(runner = index, %error, "episodes of a runner that is replaced are lost");
        }
        self.metrics.push(old.take_metrics());
    }

    /// Builds runner `index` with the modules of the group and the connector states of other runners.
    pub(super) fn fresh(
        &self,
        index: usize,
        restarts: u64,
        states: Option<&BTreeMap<ModuleId, Value>>,
    ) -> Result<Box<dyn EnvRunner>> {
        let mut runner = build(&self.config, index, restarts, &self.device)?;
        if let Some(states) = states {
            runner.set_connector_states(states)?;
            // The other runners report their own changes since the last merge.
            runner.take_connector_deltas()?;
        }
        if let Some((modules, at)) = &self.modules {
            runner.set_modules(modules, *at)?;
        }
        Ok(runner)
    }

    /// Updates a late runner with the current weights and with the connector states of the other
    /// runners. The changes of its own connectors join the next merge.
    pub(super) fn catch_up(&mut self, index: usize) -> Result<()> {
        let Some(runner) = self.workers[index].runner_mut() else { return Ok(()) };
        if let Some(states) = &self.merged_connectors {
            self.deltas.push(runner.take_connector_deltas()?);
            runner.set_connector_states(states)?;
        }
        match &self.modules {
            Some((modules, at)) => runner.set_modules(modules, *at),
            None => Ok(()),
        }
    }
}
