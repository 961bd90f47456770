//! One runner of a group and how it is doing.

use burn::prelude::Device;
use rekindle_core::rng::{Purpose, stream};
use serde::{Deserialize, Serialize};

use crate::{EnvRunner, EnvRunnerConfig, MultiAgentEnvRunner, Result, SingleAgentEnvRunner};

/// A runner, wherever it is.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) place: Place,
    pub(super) health: Health,
}

/// Where a runner is.
#[derive(Debug)]
pub(super) enum Place {
    /// Ready to work.
    Here(Box<dyn EnvRunner>),
    /// At work for a call that did not wait for it.
    Away,
    /// It failed for good.
    Gone,
}

/// How a runner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// Whether it did what it was asked for last.
    pub(super) healthy: bool,
    /// Failures since it last did.
    pub(super) failures: u64,
    /// How often it was built anew.
    pub(super) restarts: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self { healthy: true, failures: 0, restarts: 0 }
    }
}

impl Worker {
    pub(super) fn new(runner: Box<dyn EnvRunner>) -> Self {
        Self { place: Place::Here(runner), health: Health::default() }
    }

    /// The runner, if it is ready to work.
    pub(super) fn here(&self) -> Option<&dyn EnvRunner> {
        match &self.place {
            Place::Here(runner) => Some(&**runner),
            Place::Away | Place::Gone => None,
        }
    }

    /// The runner, if it is ready to work.
    pub(super) fn here_mut(&mut self) -> Option<&mut Box<dyn EnvRunner>> {
        match &mut self.place {
            Place::Here(runner) => Some(runner),
            Place::Away | Place::Gone => None,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self.place, Place::Away)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.health.healthy && self.here().is_some()
    }

    /// Takes the runner, if it is ready; it counts as away then.
    pub(super) fn take(&mut self) -> Option<Box<dyn EnvRunner>> {
        match std::mem::replace(&mut self.place, Place::Away) {
            Place::Here(runner) => Some(runner),
            other => {
                self.place = other;
                None
            }
        }
    }
}

/// The runner of an index after so many restarts, each of which has random streams of its own.
///
/// # Errors
/// As the runner's `new`.
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
    Ok(match config.multi_agent {
        Some(_) => Box::new(MultiAgentEnvRunner::new(config, index, device)?),
        None => Box::new(SingleAgentEnvRunner::new(config, index, device)?),
    })
}
