//! How old the weights are that act.

use rekindle_env_runner::Experience;
use rekindle_metrics::{MetricsLogger, Reducer};

use crate::Result;

/// How many updates older the weights that acted were than those that the runners could have had.
#[derive(Debug, Default)]
pub(super) struct Lag {
    sum: u64,
    rollouts: u64,
}

impl Lag {
    pub(super) fn add(&mut self, experience: &Experience, newest: u64) {
        for rollout in experience.rollouts.values().flatten() {
            self.sum += newest.saturating_sub(rollout.weights_seq_no);
            self.rollouts += 1;
        }
    }

    pub(super) fn log(&self, metrics: &mut MetricsLogger) -> Result<()> {
        if self.rollouts > 0 {
            let mean = self.sum as f64 / self.rollouts as f64;
            metrics.log_value("learners/weights_lag_mean", mean, Reducer::Item)?;
        }
        Ok(())
    }
}
