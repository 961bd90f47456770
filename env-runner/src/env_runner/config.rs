//! The settings of a runner.

use rekindle_core::{ConfigError, settings};
use rekindle_env::EnvConfig;
use rekindle_env::video::VideoRecorder;

use super::FaultToleranceConfig;
use crate::callbacks::SharedCallbacks;
use crate::connectors::ConnectorConfig;
use crate::error::Result;
use crate::multi_agent::MultiAgentConfig;
use crate::recorder::SharedRecorder;

settings! {
    /// The environment, connectors and seed of a runner.
    ///
    /// ```
    /// use rekindle_env_runner::EnvRunnerConfig;
    ///
    /// let config = EnvRunnerConfig::new("CartPole-v1").num_envs(4).seed(7);
    /// config.validate()?;
    /// # Ok::<(), rekindle_env_runner::RunnerError>(())
    /// ```
    pub struct EnvRunnerConfig {
        /// The id of a registered environment.
        into env: String = String::new();
        /// Settings of the environment.
        set env_config: EnvConfig = EnvConfig::new();
        /// Number of environments that the runner steps as one vector.
        set num_envs: usize = 1;
        /// Seed shared by all runners of a group. Each runner keys its random streams by its own index.
        set seed: u64 = 0;
        /// Connectors between the environments and the module.
        into env_to_module: Vec<ConnectorConfig> = Vec::new();
        /// Connectors between the sampled actions and the environments. Scaling and clipping follow
        /// them.
        into module_to_env: Vec<ConnectorConfig> = Vec::new();
        /// Whether the module acts in [−1, 1]. Bounded continuous actions are then scaled to their
        /// space.
        set normalize_actions: bool = true;
        /// Whether continuous actions are clipped to the bounds of their space.
        set clip_actions: bool = false;
        /// Whether running statistics of connectors are updated with the runner's observations and
        /// rewards.
        set update_connectors: bool = true;
        /// The policies of a multi-agent environment; `None` for a single agent.
        into multi_agent: Option<MultiAgentConfig> = None;
        /// Handling of failed environments and runners.
        set fault_tolerance: FaultToleranceConfig = FaultToleranceConfig::default();
        /// Number of the most recent episodes that the reported means, minima and maxima of returns and
        /// lengths cover; `None` for all episodes since the last report.
        into metrics_num_episodes_for_smoothing: Option<usize> = Some(100);
        /// Whether environments are tensor programs
        /// ([`register_tensor_env`](crate::tensor_env::register_tensor_env)) that are stepped on the
        /// runner's device.
        set on_device: bool = false;
        /// Whether the CPU runs plain tensor operations instead of fused ones
        /// ([`rekindle_kernels::eager`]), for debugging.
        set eager: bool = false;
        /// Whether the runner evaluates. Events report this to callbacks.
        set in_evaluation: bool = false;
        /// Chooses the episodes that are recorded as videos. Not serialized.
        #[serde(skip)]
        into video: Option<VideoRecorder> = None;
        /// Hooks. Not serialized, because they are code.
        #[serde(skip)]
        set callbacks: SharedCallbacks = SharedCallbacks::default();
        /// A recorder of the experience of training. Not serialized, because it is code.
        #[serde(skip)]
        set recorder: SharedRecorder = SharedRecorder::default();
    }
}

impl EnvRunnerConfig {
    /// Creates settings for one environment with RLlib's defaults: actions are normalized, not
    /// clipped.
    #[must_use]
    pub fn new(env: impl Into<String>) -> Self {
        Self::default().env(env)
    }

    /// Checks each field on its own.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        if self.num_envs == 0 {
            return Err(ConfigError::new(
                "num_envs_per_env_runner",
                "0",
                "a runner needs at least one environment",
            )
            .into());
        }
        if self.metrics_num_episodes_for_smoothing == Some(0) {
            return Err(ConfigError::new(
                "metrics_num_episodes_for_smoothing",
                "0",
                "means need at least one episode; use `None` for all since the last report",
            )
            .into());
        }
        self.fault_tolerance.validate()
    }

    /// Checks that connectors name only modules that act.
    ///
    /// # Errors
    /// The error of a connector for an unknown module.
    pub(crate) fn check_connectors(&self, modules: &[&str]) -> Result<()> {
        let mut connectors = self.env_to_module.iter().chain(&self.module_to_env);
        connectors.try_for_each(|connector| connector.check_modules(modules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_no_episodes_is_refused() {
        let mut config = EnvRunnerConfig::new("CartPole-v1");
        for (window, valid) in [(None, true), (Some(1), true), (Some(0), false)] {
            config.metrics_num_episodes_for_smoothing = window;
            assert_eq!(config.validate().is_ok(), valid, "{window:?}");
        }
    }
}
