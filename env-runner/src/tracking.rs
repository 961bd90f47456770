//! What every runner does with its module, episodes and time.

use std::time::Duration;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_metrics::MetricsLogger;
use rekindle_rl_module::AnyRLModule;
use serde::{Deserialize, Serialize};

use crate::{EpisodeSummary, Result};

/// A module as runners act with it: without gradients, on the runner's device.
pub(crate) fn acting(module: &AnyRLModule, device: &Device) -> AnyRLModule {
    let module = module.valid();
    let moves = module.devices().iter().any(|other| other != device);
    if moves { module.to_device(device) } else { module }
}

/// The episode an environment is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpisodeTracker {
    pub(crate) id: u64,
    /// Steps so far.
    pub(crate) t: usize,
    /// Sum of the rewards of all agents so far.
    pub(crate) episode_return: f64,
}

impl EpisodeTracker {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    pub(crate) fn summary(&self) -> EpisodeSummary {
        EpisodeSummary { episode_return: self.episode_return, len: self.t }
    }
}

/// Where the time of a call went.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) reset: Duration,
    pub(crate) env: Duration,
    pub(crate) inference: Duration,
    pub(crate) env_to_module: Duration,
    pub(crate) module_to_env: Duration,
}

impl Timers {
    pub(crate) fn log(&self, metrics: &mut MetricsLogger) -> Result<()> {
        for (key, time) in [
            ("env_reset_timer", self.reset),
            ("env_step_timer", self.env),
            ("rlmodule_inference_timer", self.inference),
            ("env_to_module_connector_timer", self.env_to_module),
            ("module_to_env_connector_timer", self.module_to_env),
        ] {
            metrics.log_time(key, time)?;
        }
        Ok(())
    }
}
