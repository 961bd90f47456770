//! What an iteration is, and what its result is about.

use serde::{Deserialize, Serialize};

use super::sections::at_least_one;
use crate::{AlgorithmError, Result};

/// How long an iteration is at least, and how many episodes its statistics are about.
///
/// An iteration repeats collecting and learning until all minima are reached; once, if none is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportingConfig {
    /// Episodes that the mean, smallest and largest return and length are about: the latest of all
    /// runners together. (RLlib gives each runner its share, rounded up, so that they add up to
    /// this; here the results themselves have the window, and no episode is missing when one runner
    /// finishes fewer than the others.)
    pub metrics_num_episodes_for_smoothing: usize,
    /// Seconds that an iteration takes at least. How much is learned in it depends on the speed of
    /// the machine then.
    pub min_time_s_per_iteration: Option<f64>,
    /// Environment steps that an iteration learns from at least.
    pub min_train_timesteps_per_iteration: usize,
    /// Environment steps that an iteration collects at least.
    pub min_sample_timesteps_per_iteration: usize,
}

impl Default for ReportingConfig {
    fn default() -> Self {
        Self {
            metrics_num_episodes_for_smoothing: 100,
            min_time_s_per_iteration: None,
            min_train_timesteps_per_iteration: 0,
            min_sample_timesteps_per_iteration: 0,
        }
    }
}

impl ReportingConfig {
    /// Sets the episodes that statistics are about.
    #[must_use]
    pub fn metrics_num_episodes_for_smoothing(mut self, episodes: usize) -> Self {
        self.metrics_num_episodes_for_smoothing = episodes;
        self
    }

    /// Sets the seconds that an iteration takes at least.
    #[must_use]
    pub fn min_time_s_per_iteration(mut self, seconds: f64) -> Self {
        self.min_time_s_per_iteration = Some(seconds);
        self
    }

    /// Sets the environment steps that an iteration learns from at least.
    #[must_use]
    pub fn min_train_timesteps_per_iteration(mut self, steps: usize) -> Self {
        self.min_train_timesteps_per_iteration = steps;
        self
    }

    /// Sets the environment steps that an iteration collects at least.
    #[must_use]
    pub fn min_sample_timesteps_per_iteration(mut self, steps: usize) -> Self {
        self.min_sample_timesteps_per_iteration = steps;
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        at_least_one(
            "metrics_num_episodes_for_smoothing",
            self.metrics_num_episodes_for_smoothing,
        )?;
        match self.min_time_s_per_iteration {
            Some(seconds) if !(seconds >= 0.0 && seconds.is_finite()) => {
                Err(AlgorithmError::InvalidConfig {
                    field: "min_time_s_per_iteration",
                    value: seconds.to_string(),
                    constraint: "it must be a number of seconds, finite and not negative".into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether an iteration of so many seconds and environment steps is long enough.
    pub(crate) fn is_met(&self, seconds: f64, sampled: usize, trained: usize) -> bool {
        self.min_time_s_per_iteration.is_none_or(|min| seconds >= min)
            && sampled >= self.min_sample_timesteps_per_iteration
            && trained >= self.min_train_timesteps_per_iteration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_is_long_enough_when_all_minima_are_reached() {
        assert!(ReportingConfig::default().is_met(0.0, 0, 0));
        let config = ReportingConfig::default()
            .min_time_s_per_iteration(2.0)
            .min_sample_timesteps_per_iteration(10)
            .min_train_timesteps_per_iteration(20);
        assert!(config.is_met(2.0, 10, 20));
        for (seconds, sampled, trained) in [(1.9, 10, 20), (2.0, 9, 20), (2.0, 10, 19)] {
            assert!(!config.is_met(seconds, sampled, trained));
        }
    }
}
