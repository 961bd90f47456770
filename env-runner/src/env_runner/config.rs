//! The settings of a runner.

use rekindle_core::ConfigError;
use rekindle_env::EnvConfig;
use serde::{Deserialize, Serialize};

use super::FaultToleranceConfig;
use super::metrics::SMOOTHING;
use crate::callbacks::SharedCallbacks;
use crate::connectors::ConnectorConfig;
use crate::error::Result;
use crate::multi_agent::MultiAgentConfig;

/// The environment, connectors and seed of a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvRunnerConfig {
    /// The id of a registered environment.
    pub env: String,
    /// Settings of the environment.
    pub env_config: EnvConfig,
    /// Number of environments that the runner steps as one vector.
    pub num_envs: usize,
    /// Seed shared by all runners of a group. Each runner keys its random streams by its own index.
    pub seed: u64,
    /// Connectors between the environments and the module.
    pub env_to_module: Vec<ConnectorConfig>,
    /// Connectors between the sampled actions and the environments. Scaling and clipping follow
    /// them.
    #[serde(default)]
    pub module_to_env: Vec<ConnectorConfig>,
    /// Whether the module acts in [−1, 1]. Bounded continuous actions are then scaled to their
    /// space.
    pub normalize_actions: bool,
    /// Whether continuous actions are clipped to the bounds of their space.
    pub clip_actions: bool,
    /// Whether running statistics of connectors are updated with the runner's observations and
    /// rewards.
    pub update_connectors: bool,
    /// The policies of a multi-agent environment; `None` for a single agent.
    #[serde(default)]
    pub multi_agent: Option<MultiAgentConfig>,
    /// Handling of failed environments and runners.
    #[serde(default)]
    pub fault_tolerance: FaultToleranceConfig,
    /// Number of the most recent episodes that the reported means, minima and maxima of returns and
    /// lengths cover; `None` for all episodes since the last report.
    #[serde(default)]
    pub metrics_num_episodes_for_smoothing: Option<usize>,
    /// Whether environments are tensor programs
    /// ([`register_tensor_env`](crate::tensor_env::register_tensor_env)) that are stepped on the runner's
    /// device.
    #[serde(default)]
    pub on_device: bool,
    /// Whether plain tensor operations take the place of the fused ones of the CPU
    /// ([`rekindle_kernels::eager`]), for debugging.
    #[serde(default)]
    pub eager: bool,
    /// Whether the runner evaluates. Events report this to callbacks.
    #[serde(default)]
    pub in_evaluation: bool,
    /// Hooks. Not serialized, because they are code.
    #[serde(skip)]
    pub callbacks: SharedCallbacks,
}

impl EnvRunnerConfig {
    /// Creates settings for one environment with RLlib's defaults: actions are normalized, not
    /// clipped.
    #[must_use]
    pub fn new(env: impl Into<String>) -> Self {
        Self {
            env: env.into(),
            env_config: EnvConfig::new(),
            num_envs: 1,
            seed: 0,
            env_to_module: Vec::new(),
            module_to_env: Vec::new(),
            normalize_actions: true,
            clip_actions: false,
            update_connectors: true,
            multi_agent: None,
            fault_tolerance: FaultToleranceConfig::default(),
            metrics_num_episodes_for_smoothing: Some(SMOOTHING),
            on_device: false,
            eager: false,
            in_evaluation: false,
            callbacks: SharedCallbacks::default(),
        }
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
