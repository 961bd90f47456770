//! The length of an iteration and its statistics.

use rekindle_core::settings;
use rekindle_core::settings::{at_least_one, finite_and_not_negative, if_set};

settings! {
    /// Minimum length of an iteration, and the window of its episode statistics.
    ///
    /// An iteration repeats collecting and learning until all minima are reached: once, if there is none.
    pub struct ReportingConfig {
        /// Number of most recent episodes, over all runners, in the mean, minimum and maximum of
        /// returns and lengths. (RLlib gives each runner a share of the window, rounded up. Here
        /// one window covers all runners, so no episode is missing when a runner finishes fewer
        /// than the others.)
        set metrics_num_episodes_for_smoothing: usize = 100, at_least_one;
        /// Minimum duration of an iteration in seconds. How much is learned in it then depends on
        /// the speed of the machine.
        into min_time_s_per_iteration: Option<f64> = None, if_set(finite_and_not_negative);
        /// Minimum number of environment steps that an iteration learns from.
        set min_train_timesteps_per_iteration: usize = 0;
        /// Minimum number of environment steps that an iteration collects; `None` takes the algorithm's default:
        /// 1000 for DQN, as in RLlib, whose training step is a few steps long, and 0 for algorithms that collect
        /// batches.
        into min_sample_timesteps_per_iteration: Option<usize> = None;
    }
}

impl ReportingConfig {
    /// Whether an iteration has reached all minima after `seconds`, `sampled` and `trained` steps.
    #[must_use]
    pub fn is_met(&self, seconds: f64, sampled: usize, trained: usize) -> bool {
        self.min_time_s_per_iteration.is_none_or(|min| seconds >= min)
            && sampled >= self.min_sample_timesteps_per_iteration.unwrap_or_default()
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
