//! The running episodes and the time that a call takes.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_metrics::MetricsLogger;
use rekindle_rl_module::AnyRLModule;
use serde::{Deserialize, Serialize};

use super::SampleOptions;
use crate::error::Result;
use crate::experience::EpisodeSummary;

/// Returns a module prepared for acting: without gradients, on the runner's device.
pub(crate) fn acting(module: &AnyRLModule, device: &Device) -> AnyRLModule {
    let module = module.valid();
    let moves = module.devices().iter().any(|other| other != device);
    if moves { module.to_device(device) } else { module }
}

/// The running episode of an environment.
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

/// The end of a call that has a time limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn of(options: SampleOptions) -> Self {
        // Without a limit if the end is later than the clock can represent.
        Self(options.time_limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// Whether the time limit has passed. The clock is read only if there is a limit.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The time that the parts of a call took.
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
