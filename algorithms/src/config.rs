//! Configurations: code and data.

mod derived;
mod evaluation;
mod multi_agent;
mod reporting;
mod sections;

use std::collections::BTreeMap;
use std::fmt::Debug;

use burn::prelude::Device;
use rekindle_core::ModuleId;
use rekindle_env::EnvConfig;
use rekindle_env_runner::FaultToleranceConfig;
use rekindle_learner::{LearnerConfig, Objective};
use rekindle_rl_module::RLModuleSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Algorithm, AlgorithmError, CallbackList, Callbacks, Result};

pub use evaluation::{DurationUnit, EvaluationConfig, EvaluationOverrides};
pub use multi_agent::MultiAgentSection;
pub use reporting::ReportingConfig;
pub(crate) use sections::fragment_length;
pub use sections::{
    BatchMode, DebuggingConfig, EnvRunnersConfig, EnvironmentConfig, LearnersConfig,
    RolloutFragmentLength,
};

/// The part of a configuration that is an algorithm's own.
pub trait TrainingConfig:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + 'static
{
    /// The name of the algorithm.
    const NAME: &'static str;

    /// Checks every field.
    ///
    /// # Errors
    /// If a field is out of range.
    fn validate(&self) -> Result<()>;

    /// Environment steps of one update.
    fn train_batch_size(&self) -> usize;

    /// The settings of the learner.
    fn learner(&self, seed: u64) -> LearnerConfig;

    /// What the learner optimises; `modules` are the settings of modules for which they differ.
    fn objective(&self, modules: BTreeMap<ModuleId, Self>) -> Box<dyn Objective>;

    /// Model settings that differ from `DefaultModelConfig` in this algorithm.
    fn default_model_config() -> Map<String, Value> {
        Map::new()
    }
}

/// Everything an algorithm is made of; `T` holds what only this algorithm has.
///
/// Builder methods take closures, so that settings read in groups as in RLlib:
///
/// ```
/// use rekindle_algorithms::PpoConfig;
///
/// let config = PpoConfig::new()
///     .environment("CartPole-v1")
///     .env_runners(|e| e.num_envs_per_env_runner(8))
///     .training(|t| t.lr(3e-4).train_batch_size(1024).minibatch_size(256));
/// config.validate()?;
///
/// // The same as data.
/// let json = serde_json::to_string(&config).expect("plain data");
/// assert_eq!(PpoConfig::from_json(&json)?, config);
/// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound = "T: TrainingConfig")]
pub struct AlgorithmConfig<T> {
    /// The environment.
    pub environment: EnvironmentConfig,
    /// How experience is collected.
    pub env_runners: EnvRunnersConfig,
    /// Where it is learned from.
    pub learners: LearnersConfig,
    /// How it is learned from.
    pub training: T,
    /// How the module is built; `None` builds the default actor-critic.
    pub rl_module_spec: Option<RLModuleSpec>,
    /// Settings of the default module, a part of `DefaultModelConfig`.
    pub model_config: Map<String, Value>,
    /// The policies of a multi-agent environment; `None` for one agent.
    pub multi_agent: Option<MultiAgentSection>,
    /// How the policy is evaluated during training.
    pub evaluation: EvaluationConfig,
    /// What happens when environments or runners fail.
    pub fault_tolerance: FaultToleranceConfig,
    /// How long an iteration is at least, and what its result is about.
    pub reporting: ReportingConfig,
    /// Hooks; not part of the configuration as data.
    #[serde(skip)]
    pub callbacks: CallbackList,
    /// Seed.
    pub debugging: DebuggingConfig,
}

impl<T: TrainingConfig> Default for AlgorithmConfig<T> {
    fn default() -> Self {
        Self {
            environment: EnvironmentConfig::default(),
            env_runners: EnvRunnersConfig::default(),
            learners: LearnersConfig::default(),
            training: T::default(),
            rl_module_spec: None,
            model_config: Map::new(),
            multi_agent: None,
            evaluation: EvaluationConfig::default(),
            fault_tolerance: FaultToleranceConfig::default(),
            reporting: ReportingConfig::default(),
            callbacks: CallbackList::default(),
            debugging: DebuggingConfig::default(),
        }
    }
}

impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// The algorithm's defaults, without an environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a configuration; what it leaves out takes its default.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] for unknown keys and wrong values.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(AlgorithmError::ConfigFormat)
    }

    /// Sets the id of the environment.
    #[must_use]
    pub fn environment(mut self, env: impl Into<String>) -> Self {
        self.environment.env = Some(env.into());
        self
    }

    /// Sets settings of the environment by name, as its constructor takes them.
    #[must_use]
    pub fn env_config(mut self, config: EnvConfig) -> Self {
        self.environment.env_config = config;
        self
    }

    /// Changes how experience is collected.
    #[must_use]
    pub fn env_runners(mut self, f: impl FnOnce(EnvRunnersConfig) -> EnvRunnersConfig) -> Self {
        self.env_runners = f(self.env_runners);
        self
    }

    /// Changes where experience is learned from.
    #[must_use]
    pub fn learners(mut self, f: impl FnOnce(LearnersConfig) -> LearnersConfig) -> Self {
        self.learners = f(self.learners);
        self
    }

    /// Changes how experience is learned from.
    #[must_use]
    pub fn training(mut self, f: impl FnOnce(T) -> T) -> Self {
        self.training = f(self.training);
        self
    }

    /// Sets how the module is built. Spaces are filled from the environment.
    #[must_use]
    pub fn rl_module(mut self, spec: RLModuleSpec) -> Self {
        self.rl_module_spec = Some(spec);
        self
    }

    /// Sets one field of the default module's `DefaultModelConfig`.
    #[must_use]
    pub fn model(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.model_config.insert(field.into(), value.into());
        self
    }

    /// Returns the settings of the default module: the algorithm's defaults, and those set by
    /// [`model`](Self::model); RLlib's `config.model_config`.
    ///
    /// A module that is built with them outside the algorithm has the same parameters as the
    /// algorithm's own.
    #[must_use]
    pub fn model_config(&self) -> Map<String, Value> {
        let mut config = T::default_model_config();
        config.extend(self.model_config.clone());
        config
    }

    /// Returns [`model_config`](Self::model_config) with other values for some fields; RLlib's
    /// `config.model_config | {…}`.
    ///
    /// ```
    /// use rekindle_algorithms::PpoConfig;
    /// use serde_json::json;
    ///
    /// let config = PpoConfig::new().model("fcnet_activation", "relu");
    /// let narrow = config.model_config_with([("fcnet_hiddens", json!([32]))]);
    /// assert_eq!(narrow["fcnet_hiddens"], json!([32]));
    /// assert_eq!(narrow["fcnet_activation"], "relu");
    /// assert_eq!(narrow["vf_share_layers"], false);
    /// ```
    #[must_use]
    pub fn model_config_with<K: Into<String>, V: Into<Value>>(
        &self,
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> Map<String, Value> {
        let mut config = self.model_config();
        config.extend(fields.into_iter().map(|(field, value)| (field.into(), value.into())));
        config
    }

    /// Sets the policies of a multi-agent environment and who plays with them.
    #[must_use]
    pub fn multi_agent(mut self, f: impl FnOnce(MultiAgentSection) -> MultiAgentSection) -> Self {
        self.multi_agent = Some(f(self.multi_agent.unwrap_or_default()));
        self
    }

    /// Changes how the policy is evaluated during training.
    #[must_use]
    pub fn evaluation(mut self, f: impl FnOnce(EvaluationConfig) -> EvaluationConfig) -> Self {
        self.evaluation = f(self.evaluation);
        self
    }

    /// Changes what happens when environments or runners fail.
    #[must_use]
    pub fn fault_tolerance(
        mut self,
        f: impl FnOnce(FaultToleranceConfig) -> FaultToleranceConfig,
    ) -> Self {
        self.fault_tolerance = f(self.fault_tolerance);
        self
    }

    /// Changes how long an iteration is at least, and what its result is about.
    #[must_use]
    pub fn reporting(mut self, f: impl FnOnce(ReportingConfig) -> ReportingConfig) -> Self {
        self.reporting = f(self.reporting);
        self
    }

    /// Adds hooks, which are called after those that are there.
    ///
    /// They are code, and code is not in checkpoints: give them again with
    /// [`Algorithm::from_checkpoint_with`].
    #[must_use]
    pub fn callbacks(mut self, callbacks: impl Callbacks + 'static) -> Self {
        self.callbacks.push(callbacks);
        self
    }

    /// Sets the seed of everything.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.debugging.seed = Some(seed);
        self
    }

    /// Checks all settings, each and together.
    ///
    /// # Errors
    /// The first that is out of range, with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        if self.environment.env.is_none() {
            return Err(AlgorithmError::InvalidConfig {
                field: "env",
                value: "not set".into(),
                constraint:
                    "an algorithm needs an environment: call `.environment(\"CartPole-v1\")`".into(),
            });
        }
        self.env_runners.validate()?;
        self.evaluation.validate()?;
        self.fault_tolerance.validate()?;
        self.reporting.validate()?;
        self.training.validate()?;
        if let Some(multi_agent) = &self.multi_agent {
            multi_agent.validate()?;
            self.training_of_modules()?;
        }
        if let Some(spec) = &self.rl_module_spec
            && !self.model_config.is_empty()
            && !spec.get_model_config().is_null()
        {
            return Err(AlgorithmError::InvalidConfig {
                field: "model_config",
                value: Value::Object(self.model_config.clone()).to_string(),
                constraint: "`rl_module_spec` has a model config of its own; set only one".into(),
            });
        }
        Ok(())
    }

    /// Builds the algorithm; the learner and the runners work on `device`, unless the settings
    /// `learners.device` and `env_runners.device` say otherwise.
    ///
    /// # Errors
    /// If a setting is out of range, a device is not there, the environment is unknown, or the module cannot be built or
    /// lacks a role that the algorithm needs.
    pub fn build(&self, device: &Device) -> Result<Algorithm> {
        Algorithm::new(self, device)
    }

    /// Steps per environment that a runner, counted from 0, collects for one update.
    pub fn rollout_fragment_length(&self, runner: usize) -> usize {
        match self.env_runners.rollout_fragment_length {
            RolloutFragmentLength::Auto(_) => fragment_length(
                self.training.train_batch_size(),
                self.env_runners.num_envs_per_env_runner,
                self.env_runners.num_env_runners,
                runner,
            ),
            RolloutFragmentLength::Steps(steps) => steps,
        }
    }
}
