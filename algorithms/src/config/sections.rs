//! The sections of a configuration that all algorithms share.

use rekindle_core::device::DeviceSpec;
use rekindle_env::EnvConfig;
use rekindle_env_runner::connectors::ConnectorConfig;
use serde::{Deserialize, Serialize};

use crate::{AlgorithmError, Result};

pub(super) fn at_least_one(field: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    let constraint = "it must be at least 1".into();
    Err(AlgorithmError::InvalidConfig { field, value: "0".into(), constraint })
}

/// Which environment, and what it receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// The id of a registered environment.
    pub env: Option<String>,
    /// Settings of the environment by name.
    pub env_config: EnvConfig,
    /// Whether the module acts in [−1, 1] and bounded continuous actions are scaled from there.
    pub normalize_actions: bool,
    /// Whether continuous actions are clipped to the bounds of their space.
    pub clip_actions: bool,
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            env: None,
            env_config: EnvConfig::new(),
            normalize_actions: true,
            clip_actions: false,
        }
    }
}

/// How long the parts of episodes are that a runner returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RolloutFragmentLength {
    /// `"auto"`: the batch size divided by the number of environments, rounded up.
    Auto(Auto),
    /// Steps per environment.
    Steps(usize),
}

/// The word `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// Chosen from the other settings.
    Auto,
}

/// Whether runners cut episodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchMode {
    /// A batch is a number of steps; episodes go on in the next one.
    #[default]
    TruncateEpisodes,
    /// A batch is whole episodes, at least as many steps as the batch size.
    CompleteEpisodes,
}

/// How experience is collected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvRunnersConfig {
    /// Independent runners, each with environments and random streams of its own.
    pub num_env_runners: usize,
    /// Environments that a runner steps as one vector.
    pub num_envs_per_env_runner: usize,
    /// Runners that work at a time; `None` uses all cores. Changes speed only, not results.
    pub num_threads: Option<usize>,
    /// Steps per environment and sample.
    pub rollout_fragment_length: RolloutFragmentLength,
    /// Whether episodes are cut.
    pub batch_mode: BatchMode,
    /// Whether actions are sampled during training.
    pub explore: bool,
    /// Connectors between the environments and the module.
    pub env_to_module_connector: Vec<ConnectorConfig>,
    /// Connectors between the sampled actions and the environments.
    pub module_to_env_connector: Vec<ConnectorConfig>,
    /// Where modules act; `None` is the device that the algorithm is built on.
    pub device: Option<DeviceSpec>,
}

impl Default for EnvRunnersConfig {
    fn default() -> Self {
        Self {
            num_env_runners: 1,
            num_envs_per_env_runner: 1,
            num_threads: None,
            rollout_fragment_length: RolloutFragmentLength::Auto(Auto::Auto),
            batch_mode: BatchMode::TruncateEpisodes,
            explore: true,
            env_to_module_connector: Vec::new(),
            module_to_env_connector: Vec::new(),
            device: None,
        }
    }
}

impl EnvRunnersConfig {
    /// Sets the number of runners.
    #[must_use]
    pub fn num_env_runners(mut self, n: usize) -> Self {
        self.num_env_runners = n;
        self
    }

    /// Sets the number of environments of each runner.
    #[must_use]
    pub fn num_envs_per_env_runner(mut self, n: usize) -> Self {
        self.num_envs_per_env_runner = n;
        self
    }

    /// Sets how many runners work at a time.
    #[must_use]
    pub fn num_threads(mut self, n: usize) -> Self {
        self.num_threads = Some(n);
        self
    }

    /// Sets the steps per environment and sample.
    #[must_use]
    pub fn rollout_fragment_length(mut self, steps: usize) -> Self {
        self.rollout_fragment_length = RolloutFragmentLength::Steps(steps);
        self
    }

    /// Sets whether episodes are cut.
    #[must_use]
    pub fn batch_mode(mut self, mode: BatchMode) -> Self {
        self.batch_mode = mode;
        self
    }

    /// Adds a connector between the sampled actions and the environments.
    #[must_use]
    pub fn module_to_env_connector(mut self, connector: ConnectorConfig) -> Self {
        self.module_to_env_connector.push(connector);
        self
    }

    /// Adds a connector between the environments and the module.
    #[must_use]
    pub fn env_to_module_connector(mut self, connector: ConnectorConfig) -> Self {
        self.env_to_module_connector.push(connector);
        self
    }

    /// Sets where modules act: [`DeviceSpec::Cpu`] while the learner has an accelerator.
    #[must_use]
    pub fn device(mut self, device: impl Into<Option<DeviceSpec>>) -> Self {
        self.device = device.into();
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("num_env_runners", self.num_env_runners)?;
        at_least_one("num_envs_per_env_runner", self.num_envs_per_env_runner)?;
        at_least_one("num_threads", self.num_threads.unwrap_or(1))?;
        if let RolloutFragmentLength::Steps(steps) = self.rollout_fragment_length {
            at_least_one("rollout_fragment_length", steps)?;
        }
        Ok(())
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.num_threads.unwrap_or_else(cores)
    }
}

/// How the learner works.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnersConfig {
    /// Where modules learn; `None` is the device that the algorithm is built on.
    pub device: Option<DeviceSpec>,
}

impl LearnersConfig {
    /// Sets where modules learn: an accelerator while the runners act on the CPU.
    #[must_use]
    pub fn device(mut self, device: impl Into<Option<DeviceSpec>>) -> Self {
        self.device = device.into();
        self
    }
}

/// Steps per environment that a runner collects for a batch of so many steps over `runners` runners
/// of `envs` environments: the first runners do one more where it does not divide (RLlib's
/// `get_rollout_fragment_length`).
pub(crate) fn fragment_length(batch: usize, envs: usize, runners: usize, runner: usize) -> usize {
    let all = (envs * runners).max(1);
    batch / all + usize::from(runner * envs < batch % all)
}

/// Reproducibility.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebuggingConfig {
    /// Seeds environments, actions, parameters and minibatches; `None` draws a seed, which the
    /// checkpoint records.
    pub seed: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a54_fragment_lengths_equal_rllibs() {
        for (batch, envs, runners, expected) in [
            (2000, 2, 2, vec![500, 500]),
            (2500, 3, 4, vec![209, 209, 208, 208]),
            (4000, 2, 3, vec![667, 667, 666]),
            (1342, 1, 12, [vec![112; 10], vec![111; 2]].concat()),
            (512, 20, 2, vec![13, 13]),
        ] {
            let found: Vec<_> =
                (0..runners).map(|i| fragment_length(batch, envs, runners, i)).collect();
            assert_eq!(found, expected);
            assert!(found.iter().sum::<usize>() * envs >= batch);
        }
    }
}
