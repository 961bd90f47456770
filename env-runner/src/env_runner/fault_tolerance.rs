//! Handling of failed environments and runners.

use std::time::Duration;

use rekindle_core::settings::{if_set, seconds};
use rekindle_core::{ConfigError, settings};

use crate::error::Result;

settings! {
    /// Handling of failed environments and runners, with the names and defaults of RLlib's
    /// `fault_tolerance()`.
    ///
    /// Only breakdowns are tolerated: environments that crash ([`EnvError::is_recoverable`]) and panics.
    /// A mistake in a program, such as an action outside its space or a reward that is not a number, is
    /// always returned as an error.
    ///
    /// RLlib's delays between restarts, and its timeouts for probing and restoring workers, are
    /// unknown settings here: within one process, a failed runner is detected and replaced immediately.
    ///
    /// [`EnvError::is_recoverable`]: rekindle_env::EnvError::is_recoverable
    pub struct FaultToleranceConfig {
        /// Whether an environment of a vector that fails is reset alone, with a fresh seed. The steps of
        /// its episode in the current call are dropped; all other environments continue unchanged.
        set restart_failed_sub_environments: bool = false;
        /// Whether a failed runner is recreated, with the weights and connectors of the other runners
        /// and fresh random streams. Its experience of the current call is lost, and the new runner
        /// collects the amount again.
        set restart_failed_env_runners: bool = true;
        /// Whether a failed runner is skipped in the current call and used again in the next one.
        /// Requires `restart_failed_env_runners = false`.
        set ignore_env_runner_failures: bool = false;
        /// Maximum number of times that each runner is recreated.
        set max_num_env_runner_restarts: u64 = 1000;
        /// Number of consecutive failures of a runner that are tolerated. The next failure is returned
        /// as an error or, if failures are ignored, excludes the runner for good.
        ///
        /// The count restarts when the runner delivers a step. A call whose steps were all lost to
        /// restarts of environments does not reset it. This is also the number of consecutive calls in
        /// which every runner may be late.
        ///
        /// Environments that never began an episode are probably mistaken: the fourth failure is then an error
        /// ([`RunnerError::EnvNeverBegan`](crate::RunnerError::EnvNeverBegan)), whatever this number allows.
        set num_consecutive_env_runner_failures_tolerance: u64 = 100;
        /// Seconds that a call waits for its runners. `None` waits for all of them, which
        /// makes runs repeatable.
        ///
        /// A late runner keeps running, and a later call delivers its experience. (RLlib's default is
        /// 60 s, and it drops this experience.) Results then depend on the speed of the machine.
        /// Checkpoints do not hold late runners, which are recreated on restore.
        into sample_timeout_s: Option<f64> = None;
    }
}

impl FaultToleranceConfig {
    /// Checks the settings, alone and in combination.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        let invalid = |field, value: String, constraint: &'static str| {
            Err(ConfigError::new(field, value, constraint).into())
        };
        if self.ignore_env_runner_failures && self.restart_failed_env_runners {
            return invalid(
                "ignore_env_runner_failures",
                "true".into(),
                "a runner that is recreated is not ignored; set `restart_failed_env_runners` to false, or leave this out",
            );
        }
        Ok(if_set(seconds)("sample_timeout_s", &self.sample_timeout_s)?)
    }

    /// Returns how long a call waits for its runners; `None` for no limit.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.sample_timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused() {
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
