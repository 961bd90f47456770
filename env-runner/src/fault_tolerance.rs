//! What to do when environments or runners fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Result, RunnerError};

/// What to do when environments or runners fail; names and defaults of RLlib's `fault_tolerance()`.
///
/// Only breakdowns are tolerated: environments that crash ([`EnvError::is_recoverable`]) and panics.
/// A mistake in a program, such as an action outside its space, is always returned as an error.
///
/// RLlib's delays between restarts and its time-outs for probing and restoring workers have no place
/// in one process, where a runner that failed is known and replaced at once; they are unknown
/// settings here.
///
/// [`EnvError::is_recoverable`]: rekindle_env::EnvError::is_recoverable
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultToleranceConfig {
    /// Whether an environment of a vector that fails is reset alone, on a fresh seed. The episode it
    /// was in is dropped from the fragment under way; all other environments go on untouched.
    pub restart_failed_sub_environments: bool,
    /// Whether a runner that fails is built anew, with the weights and connectors of the others and
    /// random streams that it has not used before. What it collected in that call is lost, and it
    /// collects again.
    pub restart_failed_env_runners: bool,
    /// Whether a runner that fails is left out of that call and asked again in the next one. Only
    /// without `restart_failed_env_runners`.
    pub ignore_env_runner_failures: bool,
    /// How often each runner is built anew.
    pub max_num_env_runner_restarts: u64,
    /// How often a runner may fail in a row: after that a restart is not tried again and the error
    /// is returned; a runner whose failures are ignored is not asked again. Also the number of calls
    /// in a row in which every runner is late.
    pub num_consecutive_env_runner_failures_tolerance: u64,
    /// Seconds that a call waits for its runners; `None`, the default, waits for all of them, which
    /// makes runs repeatable.
    ///
    /// A runner that is late works on, and what it brings is delivered by the call that finds it
    /// done (RLlib, whose default is 60 s, throws it away). A run then depends on the speed of the
    /// machine, and a checkpoint does not hold the runners that are late: they start anew.
    pub sample_timeout_s: Option<f64>,
}

impl Default for FaultToleranceConfig {
    fn default() -> Self {
        Self {
            restart_failed_sub_environments: false,
            restart_failed_env_runners: true,
            ignore_env_runner_failures: false,
            max_num_env_runner_restarts: 1000,
            num_consecutive_env_runner_failures_tolerance: 100,
            sample_timeout_s: None,
        }
    }
}

impl FaultToleranceConfig {
    /// Sets whether an environment that fails is reset alone.
    #[must_use]
    pub fn restart_failed_sub_environments(mut self, restart: bool) -> Self {
        self.restart_failed_sub_environments = restart;
        self
    }

    /// Sets whether a runner that fails is built anew.
    #[must_use]
    pub fn restart_failed_env_runners(mut self, restart: bool) -> Self {
        self.restart_failed_env_runners = restart;
        self
    }

    /// Sets whether training goes on without a runner that fails.
    #[must_use]
    pub fn ignore_env_runner_failures(mut self, ignore: bool) -> Self {
        self.ignore_env_runner_failures = ignore;
        self
    }

    /// Sets how often each runner is built anew.
    #[must_use]
    pub fn max_num_env_runner_restarts(mut self, restarts: u64) -> Self {
        self.max_num_env_runner_restarts = restarts;
        self
    }

    /// Sets how often a runner may fail in a row.
    #[must_use]
    pub fn num_consecutive_env_runner_failures_tolerance(mut self, failures: u64) -> Self {
        self.num_consecutive_env_runner_failures_tolerance = failures;
        self
    }

    /// Sets the seconds that a call waits for its runners.
    #[must_use]
    pub fn sample_timeout_s(mut self, seconds: f64) -> Self {
        self.sample_timeout_s = Some(seconds);
        self
    }

    /// Checks all settings, each and together.
    ///
    /// # Errors
    /// [`RunnerError::InvalidConfig`] with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        let invalid = |field, value: String, constraint: &str| {
            Err(RunnerError::InvalidConfig { field, value, constraint: constraint.into() })
        };
        if self.ignore_env_runner_failures && self.restart_failed_env_runners {
            return invalid(
                "ignore_env_runner_failures",
                "true".into(),
                "a runner that is restarted is not ignored; set `restart_failed_env_runners` to false, or leave this out",
            );
        }
        match self.sample_timeout_s {
            Some(seconds) if !(seconds > 0.0 && seconds <= 1e9) => invalid(
                "sample_timeout_s",
                seconds.to_string(),
                "it must be a positive number of seconds; leave it out to wait for all runners",
            ),
            _ => Ok(()),
        }
    }

    /// How long a call waits, if not for all runners.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.sample_timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_refused() {
        FaultToleranceConfig::default().validate().unwrap();
        let message = |config: FaultToleranceConfig| config.validate().unwrap_err().to_string();
        let both = FaultToleranceConfig::default().ignore_env_runner_failures(true);
        assert!(message(both.clone()).contains("set `restart_failed_env_runners` to false"));
        both.restart_failed_env_runners(false).validate().unwrap();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config = FaultToleranceConfig::default().sample_timeout_s(seconds);
            assert!(message(config).contains("`sample_timeout_s`"), "{seconds}");
        }
    }

    #[test]
    fn settings_of_rllib_without_a_meaning_here_are_refused() {
        let json = r#"{"delay_between_env_runner_restarts_s": 60.0}"#;
        assert!(serde_json::from_str::<FaultToleranceConfig>(json).is_err());
    }
}
