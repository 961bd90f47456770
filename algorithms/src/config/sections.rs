//! The sections of a configuration that all algorithms share.

use std::fmt;
use std::path::PathBuf;

use rekindle_core::device::DeviceSpec;
use rekindle_core::settings::{at_least_one, if_set};
use rekindle_core::{ConfigError, settings};
use rekindle_env::EnvConfig;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_learner::ops::VTraceConfig;
use rekindle_learner::{
    GradClipBy, LearnerConnectorConfig, OptimizerConfig, OptimizerGroup, Schedule,
};
use rekindle_offline::{OutputFormat, ParquetRecorder};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

settings! {
    /// The environment, and the actions it receives.
    #[serde(expecting = "an object such as {\"env\": \"CartPole-v1\"}")]
    pub struct EnvironmentConfig {
        /// Id of a registered environment.
        field env: Option<String> = None;
        /// Settings of the environment by name, as its constructor takes them.
        set env_config: EnvConfig = EnvConfig::new();
        /// Whether the module acts in [−1, 1]. Bounded continuous actions are then scaled to their
        /// space.
        set normalize_actions: bool = true;
        /// Whether continuous actions are clipped to the bounds of their space.
        set clip_actions: bool = false;
    }
}

/// Length of the episode fragments that a runner returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RolloutFragmentLength {
    /// `"auto"`: the batch size divided by the number of environments, rounded up.
    #[default]
    Auto,
    /// Steps per environment.
    Steps(usize),
}

impl From<usize> for RolloutFragmentLength {
    fn from(steps: usize) -> Self {
        Self::Steps(steps)
    }
}

impl Serialize for RolloutFragmentLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Steps(steps) => serializer.serialize_u64(*steps as u64),
        }
    }
}

impl<'de> Deserialize<'de> for RolloutFragmentLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = RolloutFragmentLength;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a number of steps")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "auto" => Ok(RolloutFragmentLength::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_u64<E: serde::de::Error>(self, steps: u64) -> Result<Self::Value, E> {
                match usize::try_from(steps) {
                    Ok(steps) => Ok(RolloutFragmentLength::Steps(steps)),
                    Err(_) => Err(E::invalid_value(serde::de::Unexpected::Unsigned(steps), &self)),
                }
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// Whether runners cut episodes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchMode {
    /// A batch has a fixed number of steps. Episodes continue in the next batch.
    #[default]
    TruncateEpisodes,
    /// A batch consists of complete episodes and has at least the batch size in steps.
    CompleteEpisodes,
}

settings! {
    /// Collection of experience.
    pub struct EnvRunnersConfig {
        /// Number of independent runners, each with its own environments and random streams.
        set num_env_runners: usize = 1, at_least_one;
        /// Environments that each runner steps as one vector.
        set num_envs_per_env_runner: usize = 1, at_least_one;
        /// Number of threads that the runners share; `None` uses all cores. It affects speed, not
        /// results.
        into num_threads: Option<usize> = None, if_set(at_least_one);
        /// Steps per environment and sample.
        into rollout_fragment_length: RolloutFragmentLength = RolloutFragmentLength::Auto,
            |field, length: &RolloutFragmentLength| match length {
                RolloutFragmentLength::Auto => Ok(()),
                RolloutFragmentLength::Steps(steps) => at_least_one(field, steps),
            };
        /// Whether runners cut episodes off.
        set batch_mode: BatchMode = BatchMode::TruncateEpisodes;
        /// Whether actions are sampled during training.
        set explore: bool = true;
        /// Connectors between the environments and the module.
        field env_to_module_connector: Vec<ConnectorConfig> = Vec::new();
        /// Connectors between the sampled actions and the environments.
        field module_to_env_connector: Vec<ConnectorConfig> = Vec::new();
        /// Whether the environment is a tensor program
        /// ([`register_tensor_env`](rekindle_env_runner::tensor_env::register_tensor_env)) whose copies are
        /// stepped on the device where modules act, as in Brax. Experience then stays on that device from
        /// the environment to the optimizer. `"CartPole-v1"` and `"Pendulum-v1"` are built in.
        ///
        /// One runner steps all `num_envs_per_env_runner` copies. Evaluation steps the environment that is
        /// registered on the host under the same id. Connectors, recurrent modules, several agents,
        /// complete episodes and hooks of runners need the host, and durations of episodes are not measured.
        set on_device: bool = false;
        /// Directory where whole episodes of training are recorded in the format `output_format`; `None` records
        /// nothing. Observations are those that modules see, after the connectors.
        field output: Option<PathBuf> = None;
        /// Format of recordings: Parquet files with all recorded columns
        /// ([`ParquetRecorder`](rekindle_offline::ParquetRecorder)), or a dataset of Minari
        /// ([`MinariRecorder`](rekindle_offline::MinariRecorder)).
        set output_format: OutputFormat = OutputFormat::Parquet;
        /// Bytes of a recorded file, about.
        set output_max_file_size: usize = ParquetRecorder::DEFAULT_FILE_SIZE, at_least_one;
        /// Device where modules act; `None` is the device that the algorithm is built on.
        /// [`DeviceSpec::Cpu`] suits small modules while the learner has an accelerator.
        into device: Option<DeviceSpec> = None;
    }
}

impl EnvRunnersConfig {
    /// Sets the directory where whole episodes of training are recorded.
    #[must_use]
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.output = Some(folder.into());
        self
    }

    /// Appends a connector between the environments and the module.
    #[must_use]
    pub fn env_to_module_connector(mut self, connector: ConnectorConfig) -> Self {
        self.env_to_module_connector.push(connector);
        self
    }

    /// Appends a connector between the sampled actions and the environments.
    #[must_use]
    pub fn module_to_env_connector(mut self, connector: ConnectorConfig) -> Self {
        self.module_to_env_connector.push(connector);
        self
    }

    /// Checks that actions are sampled, for algorithms that learn from their probabilities.
    ///
    /// # Errors
    /// [`ConfigError`] if `explore` is false.
    pub fn check_explores(&self, algorithm: &str) -> Result<(), ConfigError> {
        if self.explore {
            return Ok(());
        }
        let constraint = format!(
            "{algorithm} learns from sampled actions and their probabilities; set it to true, and `evaluation_config.explore` for evaluation"
        );
        Err(ConfigError::new("env_runners.explore", false, constraint))
    }

    /// Checks that runners complete episodes, for algorithms without a critic.
    ///
    /// # Errors
    /// [`ConfigError`] if `batch_mode` cuts episodes off.
    pub fn check_completes_episodes(&self) -> Result<(), ConfigError> {
        if self.batch_mode == BatchMode::CompleteEpisodes {
            return Ok(());
        }
        let constraint = "episodes that `batch_mode` cuts off need the value of their last observation; set `batch_mode` to `complete_episodes`, or use a critic";
        Err(ConfigError::new("use_critic", false, constraint))
    }

    /// Checks that runners hand over fragments, for algorithms and execution plans whose runners do not wait and
    /// that have a fragment length of their own. `of` names the algorithm or plan in the message.
    ///
    /// # Errors
    /// [`ConfigError`] if `batch_mode` asks for complete episodes, or `rollout_fragment_length` is set.
    pub fn check_truncates_episodes(&self, of: &str) -> Result<(), ConfigError> {
        if let RolloutFragmentLength::Steps(steps) = self.rollout_fragment_length {
            let constraint = format!(
                "{of} has a fragment length of its own; leave it at \"auto\", and set `training.fragment_length` or the length of the plan"
            );
            return Err(ConfigError::new("rollout_fragment_length", steps, constraint));
        }
        if self.batch_mode == BatchMode::TruncateEpisodes {
            return Ok(());
        }
        let constraint = format!(
            "runners of {of} hand over fragments of episodes; set it to `truncate_episodes`"
        );
        Err(ConfigError::new("batch_mode", "complete_episodes", constraint))
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.num_threads.unwrap_or_else(cores)
    }
}

settings! {
    /// The learner.
    pub struct LearnersConfig {
        /// Device where modules learn; `None` is the device that the algorithm is built on.
        into device: Option<DeviceSpec> = None;
        /// Number of learners that share each update: a minibatch is divided among them by row, or by sequence for a
        /// module with memory, and their gradients are added up
        /// ([`LearnerGroup`](rekindle_learner::LearnerGroup)). The result equals that of one learner up to rounding.
        /// More than one is worthwhile with several accelerators; the threads of the CPU are used by one learner, too.
        set num_learners: usize = 1, num_learners;
        /// A device for each learner, in order; empty puts all of them on the device of the first one.
        set devices: Vec<DeviceSpec> = Vec::new();
        /// Transforms of experience before losses see it, in order: custom rewards, for example.
        field learner_connector: Vec<LearnerConnectorConfig> = Vec::new();
    }
}

/// Learners at most: each has a thread.
const MOST_LEARNERS: usize = 256;

fn num_learners(field: &'static str, learners: &usize) -> Result<(), ConfigError> {
    match *learners {
        0 => {
            let constraint =
                "the algorithm itself has the first learner; set it to 1, which is RLlib's 0";
            Err(ConfigError::new(field, 0, constraint))
        }
        learners if learners > MOST_LEARNERS => {
            let constraint = format!("it must be at most {MOST_LEARNERS}");
            Err(ConfigError::new(field, learners, constraint))
        }
        _ => Ok(()),
    }
}

impl LearnersConfig {
    /// Checks the number of learners, and that there is a device for each if there are any.
    ///
    /// # Errors
    /// The first setting that is invalid.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        if self.devices.is_empty() {
            return Ok(());
        }
        let names =
            || format!("{:?}", self.devices.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(device) = self.device {
            let constraint =
                "`learners.devices` names the devices of all learners; set one of both";
            return Err(ConfigError::new("learners.device", device, constraint));
        }
        if self.devices.len() != self.num_learners {
            let learners = self.num_learners;
            let constraint =
                format!("`learners.num_learners` is {learners}; name a device for each learner");
            return Err(ConfigError::new("learners.devices", names(), constraint));
        }
        Ok(())
    }

    /// Returns the device of the first learner, if one is named.
    pub(crate) fn first_device(&self) -> Option<DeviceSpec> {
        self.devices.first().copied().or(self.device)
    }

    /// Appends a transform of experience before losses see it.
    #[must_use]
    pub fn learner_connector(mut self, connector: LearnerConnectorConfig) -> Self {
        self.learner_connector.push(connector);
        self
    }
}

/// Returns the optimizer of all parameters that an algorithm's settings describe.
pub(crate) fn one_optimizer(
    lr: &Schedule,
    rule: OptimizerConfig,
    grad_clip: Option<f64>,
    grad_clip_by: GradClipBy,
) -> Vec<OptimizerGroup> {
    let group = OptimizerGroup::default().lr(lr.clone()).rule(rule);
    vec![group.grad_clip(grad_clip).grad_clip_by(grad_clip_by)]
}

/// Returns the settings of V-trace that an algorithm's settings describe. `thresholds` are the upper bounds of
/// the importance ratios in temporal differences and in advantages.
pub(crate) fn vtrace_config(gamma: f64, lambda_: f64, thresholds: [f64; 2]) -> VTraceConfig {
    let [clip_rho_threshold, clip_pg_rho_threshold] = thresholds.map(|bound| bound as f32);
    VTraceConfig {
        gamma: gamma as f32,
        lambda_: lambda_ as f32,
        clip_rho_threshold,
        clip_pg_rho_threshold,
        ..VTraceConfig::default()
    }
}

/// Returns the steps per environment that a runner collects for a batch of `batch` steps over
/// `runners` runners with `envs` environments each: one more for the first runners where it does
/// not divide (RLlib's `get_rollout_fragment_length`).
pub(crate) fn fragment_length(batch: usize, envs: usize, runners: usize, runner: usize) -> usize {
    let all = envs.saturating_mul(runners).max(1);
    batch / all + usize::from(runner.saturating_mul(envs) < batch % all)
}

settings! {
    /// Reproducibility, and a look inside.
    pub struct DebuggingConfig {
        /// Seed of environments, actions, parameters and minibatches; `None` draws a seed, which
        /// checkpoints record.
        into seed: Option<u64> = None;
        /// Whether modules, losses and optimizers run as plain tensor operations instead of the fused
        /// kernels of the CPU, so that breakpoints and prints see every operation; TensorFlow's
        /// `eager_tracing` in RLlib. Results agree up to rounding, and training is slower. Devices without
        /// fused kernels run plain operations always.
        set eager: bool = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragment_lengths_read_as_a_number_or_auto() {
        let read = serde_json::from_str::<RolloutFragmentLength>;
        for (json, value) in
            [("\"auto\"", RolloutFragmentLength::Auto), ("7", RolloutFragmentLength::Steps(7))]
        {
            assert_eq!(read(json).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
        for json in ["\"sometimes\"", "-1", "1.5", "null", "[7]"] {
            let message = read(json).unwrap_err().to_string();
            assert!(message.contains("expected \"auto\" or a number of steps"), "{message}");
        }
    }

    #[test]
    fn fragment_lengths_equal_rllibs() {
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
