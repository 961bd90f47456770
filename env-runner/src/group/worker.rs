//! One runner of a group and its health.

use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use serde::{Deserialize, Serialize};

use crate::env_runner::{EnvRunner, EnvRunnerConfig};
use crate::error::Result;
use crate::multi_agent::MultiAgentEnvRunner;
use crate::single_agent::SingleAgentEnvRunner;
use crate::tensor_env::OnDeviceEnvRunner;

/// A runner with its health.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) status: Status,
    pub(super) health: Health,
}

/// The status of a runner.
#[derive(Debug)]
pub(super) enum Status {
    /// Available.
    Available(Box<dyn EnvRunner>),
    /// Running, possibly for an earlier call that did not wait for it.
    Running,
    /// Failed for good.
    Failed,
}

/// The health of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// Whether its last call succeeded.
    pub(super) healthy: bool,
    /// Failures since it last delivered a step.
    pub(super) failures: u64,
    /// Number of times it was recreated.
    pub(super) restarts: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { healthy: true, failures: 0, restarts: 0 }
    }
}

impl Worker {
    pub(super) fn new(runner: Box<dyn EnvRunner>) -> Self {
        Self { status: Status::Available(runner), health: Health::default() }
    }

    /// Returns the runner, if it is available.
    pub(super) fn runner(&self) -> Option<&dyn EnvRunner> {
        match &self.status {
            Status::Available(runner) => Some(&**runner),
            Status::Running | Status::Failed => None,
        }
    }

    /// Returns the runner, if it is available.
    pub(super) fn runner_mut(&mut self) -> Option<&mut Box<dyn EnvRunner>> {
        match &mut self.status {
            Status::Available(runner) => Some(runner),
            Status::Running | Status::Failed => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.status, Status::Running)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health.healthy && self.runner().is_some()
    }

    /// Takes the runner out, if it is available.
    pub(super) fn take(&mut self) -> Option<Box<dyn EnvRunner>> {
        match std::mem::replace(&mut self.status, Status::Running) {
            Status::Available(runner) => Some(runner),
            other => {
                self.status = other;
                None
            }
        }
    }
}

/// Builds runner `index`. Each restart gets new random streams.
///
/// # Errors
/// The error of the runner's `new`.
pub(super) fn build(
    config: &EnvRunnerConfig,
    index: usize,
    restarts: u64,
    device: &Device,
) -> Result<Box<dyn EnvRunner>> {
    let mut config = config.clone();
    if restarts > 0 {
        let (seed, runner) = (config.seed, index as u64);
        config.seed = stream(seed, runner, restarts, Purpose::RunnerRestart).next_u64();
    }
    if config.on_device {
        return Ok(Box::new(OnDeviceEnvRunner::new(config, index, device)?));
    }
    Ok(match config.multi_agent {
        Some(_) => Box::new(MultiAgentEnvRunner::new(config, index, device)?),
        None => Box::new(SingleAgentEnvRunner::new(config, index, device)?),
    })
}
