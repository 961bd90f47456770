//! Evaluation during training.

use std::path::PathBuf;

use rekindle_core::settings::{at_least_one, if_set, seconds};
use rekindle_core::{ConfigError, settings};
use rekindle_env::EnvConfig;
use rekindle_env::video::VideoFormat;
use rekindle_env_runner::PolicyMapping;
use serde::{Deserialize, Serialize};

use crate::evaluation::EvaluationFunction;
use crate::{Algorithm, CallbackError, EnvRunnerGroup, Evaluation, OffPolicyEstimation};

/// The unit of `evaluation_duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DurationUnit {
    /// Exactly this many complete episodes.
    #[default]
    Episodes,
    /// Environment steps, rounded up to whole vector steps of each runner.
    ///
    /// Only episodes that end within these steps are reported. A duration that is shorter than an
    /// episode for each environment reports no return, unless
    /// `evaluation_force_reset_envs_before_iteration` is off and episodes continue in the next
    /// evaluation.
    Timesteps,
}

settings! {
    /// Evaluation of the policy, with its own environments and random streams.
    pub struct EvaluationConfig {
        /// Iterations between evaluations; `None` evaluates only on request.
        into evaluation_interval: Option<usize> = None, if_set(at_least_one);
        /// Episodes or environment steps per evaluation, split evenly over its runners.
        set evaluation_duration: usize = 10, at_least_one;
        /// Unit of `evaluation_duration`.
        set evaluation_duration_unit: DurationUnit = DurationUnit::Episodes;
        /// Number of runners that evaluate.
        set evaluation_num_env_runners: usize = 1, at_least_one;
        /// Whether evaluation runs in parallel with its training iteration. It then evaluates the
        /// weights from the start of the iteration, otherwise those from its end.
        set evaluation_parallel_to_training: bool = false;
        /// Whether an evaluation of a number of steps begins with new episodes. One of a number of
        /// episodes always does.
        set evaluation_force_reset_envs_before_iteration: bool = true;
        /// Seconds that an evaluation may take; `None` sets no limit. RLlib's default is 120.
        ///
        /// An evaluation that takes longer, for example in an environment whose episodes never end,
        /// fails with [`EvaluationTimeout`](crate::AlgorithmError::EvaluationTimeout).
        into evaluation_sample_timeout_s: Option<f64> = None, if_set(seconds);
        /// Videos of evaluation episodes; `None` records none.
        into evaluation_video: Option<VideoConfig> = None;
        /// Estimates of the policy's return from recorded data, in each evaluation; `None` makes none. Their metrics are
        /// `off_policy_estimation/<module>/<estimator>`, and the bounds of their intervals `…_low` and `…_high`.
        ///
        /// Without an environment, evaluations consist of them.
        into off_policy_estimation: Option<OffPolicyEstimation> = None;
        /// Evaluation settings that override the training settings.
        field evaluation_config: EvaluationOverrides = EvaluationOverrides::default();
        /// Function that evaluates instead; not part of the configuration as data.
        #[serde(skip)]
        field custom_evaluation_function: EvaluationFunction = EvaluationFunction::default();
    }
}

settings! {
    /// Videos of evaluation episodes, as in Gymnasium's `RecordVideo`.
    ///
    /// Environments of Gymnasium and PettingZoo are made with `render_mode="rgb_array"`. A Python class needs this
    /// option in its `env_config`.
    pub struct VideoConfig {
        /// Number of episodes per recorded evaluation: the first ones that begin.
        set episodes: usize = 1, at_least_one;
        /// Evaluations between two that are recorded. The first evaluation is recorded.
        set interval: usize = 1, at_least_one;
        /// Format: GIF, or MP4 by the program `ffmpeg`.
        set format: VideoFormat = VideoFormat::Gif;
        /// Directory of the videos; `None` is the folder `videos` of the [run](crate::RunFolder), or in the working
        /// directory without a run.
        into folder: Option<PathBuf> = None;
    }
}

settings! {
    /// Evaluation settings that override the training settings.
    pub struct EvaluationOverrides {
        /// Id of another environment with the same spaces. Only `env_config` applies to it.
        field env: Option<String> = None;
        /// Settings of the environment.
        into env_config: Option<EnvConfig> = None;
        /// Whether actions are sampled. Defaults to `false`; RLlib inherits the training setting.
        set explore: bool = false;
        /// Environments that each runner steps as one vector.
        set num_envs_per_env_runner: usize = 10, at_least_one;
        /// Number of threads that the runners share; `None` uses the training setting.
        into num_threads: Option<usize> = None, if_set(at_least_one);
        /// Whether continuous actions are clipped to the bounds of their space.
        into clip_actions: Option<bool> = None;
        /// Mapping from agents to modules.
        into policy_mapping: Option<PolicyMapping> = None;
    }
}

impl EvaluationConfig {
    /// Changes the evaluation settings that override the training settings.
    #[must_use]
    pub fn evaluation_config(
        mut self,
        f: impl FnOnce(EvaluationOverrides) -> EvaluationOverrides,
    ) -> Self {
        self.evaluation_config = f(self.evaluation_config);
        self
    }

    /// Sets a custom evaluation function, which replaces the built-in evaluation.
    ///
    /// The function receives the algorithm and the evaluation runners, which have the algorithm's
    /// weights. The result contains the metrics of the runners and the metrics that the function
    /// returns.
    #[must_use]
    pub fn custom_evaluation_function<F>(mut self, function: F) -> Self
    where
        F: Fn(&mut Algorithm, &mut EnvRunnerGroup) -> Result<Evaluation, CallbackError>
            + Send
            + Sync
            + 'static,
    {
        self.custom_evaluation_function = EvaluationFunction::new(function);
        self
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.evaluation_config.check_fields().map_err(|error| error.within("evaluation_config"))?;
        if let Some(video) = &self.evaluation_video {
            video.check_fields().map_err(|error| error.within("evaluation_video"))?;
        }
        if let Some(estimation) = &self.off_policy_estimation {
            estimation.check_fields().map_err(|error| error.within("off_policy_estimation"))?;
            if estimation.methods.is_empty() {
                let constraint = "an estimate needs a method, such as \"wis\"; name one, or leave out `off_policy_estimation`";
                return Err(ConfigError::new("off_policy_estimation.methods", "[]", constraint));
            }
        }
        if self.custom_evaluation_function.get().is_some() {
            if self.evaluation_parallel_to_training {
                return Err(ConfigError::new(
                    "evaluation_parallel_to_training",
                    true,
                    "a custom evaluation function has the algorithm to itself; leave out one of the two",
                ));
            }
            if let Some(seconds) = self.evaluation_sample_timeout_s {
                return Err(ConfigError::new(
                    "evaluation_sample_timeout_s",
                    seconds,
                    "a custom evaluation function decides how long it takes; leave out one of the two",
                ));
            }
        }
        Ok(())
    }

    /// Whether an iteration, counted from 1, ends with an evaluation.
    pub(crate) fn is_due(&self, iteration: u64) -> bool {
        self.evaluation_interval.is_some_and(|interval| iteration.is_multiple_of(interval as u64))
    }
}

impl EvaluationOverrides {
    /// Sets the id of another environment for evaluation.
    ///
    /// Id of another environment with the same spaces. Only `env_config` applies to it.
    #[must_use]
    pub fn env(mut self, env: impl Into<String>) -> Self {
        self.env = Some(env.into());
        self
    }
}
