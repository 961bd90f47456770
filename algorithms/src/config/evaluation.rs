//! How the policy is evaluated.

use rekindle_env::EnvConfig;
use rekindle_env_runner::PolicyMapping;
use serde::{Deserialize, Serialize};

use super::sections::at_least_one;
use crate::evaluation::EvaluationFunction;
use crate::{Algorithm, AlgorithmError, CallbackError, EnvRunnerGroup, Evaluation, Result};

/// What `evaluation_duration` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DurationUnit {
    /// Whole episodes, exactly so many.
    #[default]
    Episodes,
    /// Environment steps, rounded up to whole steps of the vector of each runner.
    Timesteps,
}

/// How the policy is evaluated: on environments, and with random streams, of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Iterations between evaluations; `None` evaluates only on request.
    pub evaluation_interval: Option<usize>,
    /// Episodes, or environment steps, of an evaluation, spread evenly over its runners.
    pub evaluation_duration: usize,
    /// What `evaluation_duration` counts.
    pub evaluation_duration_unit: DurationUnit,
    /// Runners that evaluate.
    pub evaluation_num_env_runners: usize,
    /// Whether an evaluation goes on beside the iteration that it belongs to. It evaluates the
    /// weights that the iteration begins with then; otherwise those that it ends with.
    pub evaluation_parallel_to_training: bool,
    /// Whether an evaluation of a number of steps begins with new episodes. One of a number of
    /// episodes always does.
    pub evaluation_force_reset_envs_before_iteration: bool,
    /// Settings that differ from those of training.
    pub evaluation_config: EvaluationOverrides,
    /// What is done instead; not part of the configuration as data.
    #[serde(skip)]
    pub custom_evaluation_function: EvaluationFunction,
}

/// Settings of evaluation in the place of those of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationOverrides {
    /// Another environment, of the same spaces; its settings are then only those given here.
    pub env: Option<String>,
    /// Other settings of the environment.
    pub env_config: Option<EnvConfig>,
    /// Whether actions are sampled. Off, unlike RLlib, which does as in training unless told.
    pub explore: bool,
    /// Environments that each runner steps as one vector.
    pub num_envs_per_env_runner: usize,
    /// Runners that work at a time; `None` for the setting of training.
    pub num_threads: Option<usize>,
    /// Whether continuous actions are clipped.
    pub clip_actions: Option<bool>,
    /// Which module each agent plays with.
    pub policy_mapping: Option<PolicyMapping>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            evaluation_interval: None,
            evaluation_duration: 10,
            evaluation_duration_unit: DurationUnit::Episodes,
            evaluation_num_env_runners: 1,
            evaluation_parallel_to_training: false,
            evaluation_force_reset_envs_before_iteration: true,
            evaluation_config: EvaluationOverrides::default(),
            custom_evaluation_function: EvaluationFunction::default(),
        }
    }
}

impl Default for EvaluationOverrides {
    fn default() -> Self {
        Self {
            env: None,
            env_config: None,
            explore: false,
            num_envs_per_env_runner: 10,
            num_threads: None,
            clip_actions: None,
            policy_mapping: None,
        }
    }
}

/// Builder methods named after their fields.
macro_rules! setters {
    ($($doc:literal $field:ident: $ty:ty;)*) => {
        $(#[doc = $doc]
        #[must_use]
        pub fn $field(mut self, $field: $ty) -> Self {
            self.$field = $field.into();
            self
        })*
    };
}

#[allow(clippy::useless_conversion, reason = "some setters convert, all share one macro")]
impl EvaluationConfig {
    setters! {
        "Sets the iterations between evaluations."
        evaluation_interval: usize;
        "Sets the episodes, or environment steps, of an evaluation."
        evaluation_duration: usize;
        "Sets what the duration counts."
        evaluation_duration_unit: DurationUnit;
        "Sets the number of runners that evaluate."
        evaluation_num_env_runners: usize;
        "Sets whether an evaluation goes on beside the iteration that it belongs to."
        evaluation_parallel_to_training: bool;
        "Sets whether an evaluation of a number of steps begins with new episodes."
        evaluation_force_reset_envs_before_iteration: bool;
    }

    /// Changes the settings that differ from those of training.
    #[must_use]
    pub fn evaluation_config(
        mut self,
        f: impl FnOnce(EvaluationOverrides) -> EvaluationOverrides,
    ) -> Self {
        self.evaluation_config = f(self.evaluation_config);
        self
    }

    /// Sets what is done instead of playing `evaluation_duration`. The function gets the algorithm
    /// and the evaluation runners, which have its weights; what it makes them collect is in the
    /// metrics, and what metrics it returns are added to them.
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

    pub(super) fn validate(&self) -> Result<()> {
        at_least_one("evaluation_interval", self.evaluation_interval.unwrap_or(1))?;
        at_least_one("evaluation_duration", self.evaluation_duration)?;
        at_least_one("evaluation_num_env_runners", self.evaluation_num_env_runners)?;
        let overrides = &self.evaluation_config;
        at_least_one(
            "evaluation_config.num_envs_per_env_runner",
            overrides.num_envs_per_env_runner,
        )?;
        at_least_one("evaluation_config.num_threads", overrides.num_threads.unwrap_or(1))?;
        if self.evaluation_parallel_to_training && self.custom_evaluation_function.get().is_some() {
            return Err(AlgorithmError::InvalidConfig {
                field: "evaluation_parallel_to_training",
                value: "true".into(),
                constraint: "a custom evaluation function has the algorithm to itself; leave out \
                             one of the two"
                    .into(),
            });
        }
        Ok(())
    }

    /// Whether an iteration, counted from one, evaluates.
    pub(crate) fn is_due(&self, iteration: u64) -> bool {
        self.evaluation_interval.is_some_and(|interval| iteration.is_multiple_of(interval as u64))
    }
}

#[allow(clippy::useless_conversion, reason = "some setters convert, all share one macro")]
impl EvaluationOverrides {
    /// Evaluates in another environment, of the same spaces.
    #[must_use]
    pub fn env(mut self, env: impl Into<String>) -> Self {
        self.env = Some(env.into());
        self
    }

    setters! {
        "Sets other settings of the environment."
        env_config: impl Into<Option<EnvConfig>>;
        "Sets whether actions are sampled."
        explore: bool;
        "Sets the environments that each runner steps as one vector."
        num_envs_per_env_runner: usize;
        "Sets the number of runners that work at a time."
        num_threads: impl Into<Option<usize>>;
        "Sets whether continuous actions are clipped."
        clip_actions: impl Into<Option<bool>>;
        "Sets which module each agent plays with."
        policy_mapping: impl Into<Option<PolicyMapping>>;
    }
}
