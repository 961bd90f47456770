//! The settings of a run.

use rekindle_core::settings;
use rekindle_core::settings::{at_least_one, finite, if_set, seconds};
use rekindle_metrics::{Metrics, ScalarNames};
use serde::{Deserialize, Serialize};

use crate::{Algorithm, Result};

settings! {
    /// The limits of a run, and the contents of its [folder](crate::RunFolder).
    ///
    /// A run ends when the first of its limits is reached.
    pub struct RunConfig {
        /// Environment steps after which the run ends, rounded up to whole iterations.
        into max_env_steps: Option<u64> = None, if_set(at_least_one);
        /// Iterations after which the run ends.
        into max_iterations: Option<u64> = None, if_set(at_least_one);
        /// Seconds of training and evaluation after which the run ends. A resumed run continues to count.
        into max_seconds: Option<f64> = None, if_set(seconds);
        /// Value of `stop_metric` from which the run ends.
        into stop_value: Option<f64> = None, if_set(finite);
        /// Metric that is compared with `stop_value`.
        into stop_metric: String = "env_runners/episode_return_mean".to_owned();
        /// Iterations between two checkpoints; `None` saves only at the end.
        into checkpoint_interval: Option<usize> = None, if_set(at_least_one);
        /// Number of checkpoints that are kept: the latest ones, and in addition the best one.
        set keep_checkpoints: usize = 2, at_least_one;
        /// Whether the state is saved when an evaluation is better than all before.
        set keep_best: bool = true;
        /// Names of the scalars for TensorBoard; `None` writes no event file.
        into tensorboard: Option<ScalarNames> = Some(ScalarNames::Rllib);
    }
}

/// The reason why a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stop {
    /// The metric has reached `stop_value`.
    Value,
    /// `max_env_steps` are sampled.
    EnvSteps,
    /// `max_iterations` are done.
    Iterations,
    /// `max_seconds` have passed.
    Seconds,
}

impl RunConfig {
    /// Checks all settings.
    ///
    /// # Errors
    /// The first setting out of range.
    pub fn validate(&self) -> Result<()> {
        Ok(self.check_fields().map_err(|error| error.within("run"))?)
    }

    /// Returns whether the run has a limit that does not depend on its results.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_env_steps.is_some() || self.max_iterations.is_some() || self.max_seconds.is_some()
    }

    /// Returns why the run ends after an iteration with this result, or `None` if it continues.
    #[must_use]
    pub fn is_over(&self, algorithm: &Algorithm, result: &Metrics) -> Option<Stop> {
        let value = |key: &str| result.get(key);
        self.stop(algorithm.env_steps(), algorithm.iteration(), value)
    }

    fn stop(
        &self,
        env_steps: u64,
        iteration: u64,
        value: impl Fn(&str) -> Option<f64>,
    ) -> Option<Stop> {
        let is_reached = |limit: Option<f64>, key: &str| {
            limit.zip(value(key)).is_some_and(|(limit, value)| value >= limit)
        };
        let stops = [
            (is_reached(self.stop_value, &self.stop_metric), Stop::Value),
            (self.max_env_steps.is_some_and(|max| env_steps >= max), Stop::EnvSteps),
            (self.max_iterations.is_some_and(|max| iteration >= max), Stop::Iterations),
            (is_reached(self.max_seconds, "time_total_s"), Stop::Seconds),
        ];
        stops.into_iter().find_map(|(is_over, stop)| is_over.then_some(stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_ends_a_run() {
        let config = RunConfig::default();
        assert!(!config.is_limited());
        let nothing = |_: &str| None;
        assert_eq!(config.stop(u64::MAX, u64::MAX, nothing), None);
        let config = config.max_env_steps(100).max_iterations(10).max_seconds(5.0).stop_value(7.0);
        assert!(config.is_limited());
        assert_eq!(config.stop(99, 9, nothing), None);
        assert_eq!(config.stop(100, 9, nothing), Some(Stop::EnvSteps));
        assert_eq!(config.stop(99, 10, nothing), Some(Stop::Iterations));
        let seconds = |key: &str| (key == "time_total_s").then_some(5.0);
        assert_eq!(config.stop(99, 9, seconds), Some(Stop::Seconds));
        let returns = |value: f64| {
            move |key: &str| (key == "env_runners/episode_return_mean").then_some(value)
        };
        assert_eq!(config.stop(100, 9, returns(7.0)), Some(Stop::Value));
        assert_eq!(config.stop(99, 9, returns(f64::NAN)), None);
    }
}
