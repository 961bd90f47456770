//! Configurations: code and data.

mod evaluation;
mod multi_agent;
mod reporting;
mod sections;

use std::collections::BTreeMap;
use std::fmt::Debug;

use burn::prelude::Device;
use rekindle_core::ModuleId;
use rekindle_env::{EnvConfig, Space};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{EnvRunnerConfig, FaultToleranceConfig, SharedCallbacks};
use rekindle_learner::{LearnerConfig, Objective};
use rekindle_rl_module::{MultiRLModuleSpec, RLModuleSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Algorithm, AlgorithmError, CallbackList, Callbacks, Result};

pub use evaluation::{DurationUnit, EvaluationConfig, EvaluationOverrides};
pub use multi_agent::MultiAgentSection;
pub use reporting::ReportingConfig;
pub(crate) use sections::fragment_length;
pub use sections::{
    BatchMode, DebuggingConfig, EnvRunnersConfig, EnvironmentConfig, RolloutFragmentLength,
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

    /// Builds the algorithm; the learner and the runners work on `device`.
    ///
    /// # Errors
    /// If a setting is out of range, the environment is unknown, or the module cannot be built or
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

    pub(crate) fn runner_config(&self, seed: u64) -> EnvRunnerConfig {
        EnvRunnerConfig {
            env_config: self.environment.env_config.clone(),
            num_envs: self.env_runners.num_envs_per_env_runner,
            seed,
            env_to_module: self.env_to_module(),
            normalize_actions: self.environment.normalize_actions,
            clip_actions: self.environment.clip_actions,
            metrics_num_episodes_for_smoothing: Some(
                self.reporting.metrics_num_episodes_for_smoothing,
            ),
            callbacks: match self.callbacks.is_empty() {
                true => SharedCallbacks::default(),
                false => SharedCallbacks::new(self.callbacks.clone()),
            },
            multi_agent: self.multi_agent.as_ref().map(MultiAgentSection::runner_config),
            fault_tolerance: self.fault_tolerance.clone(),
            ..EnvRunnerConfig::new(self.environment.env.clone().unwrap_or_default())
        }
    }

    /// The connectors asked for, and at their end the one that a module with
    /// `lstm_use_prev_action` or `lstm_use_prev_reward` reads from.
    fn env_to_module(&self) -> Vec<ConnectorConfig> {
        let mut connectors = self.env_runners.env_to_module_connector.clone();
        let spec = self.module_spec();
        let asks = |field| usize::from(spec.get_model_config().get(field) == Some(&true.into()));
        let n_prev_actions = asks("lstm_use_prev_action");
        let n_prev_rewards = asks("lstm_use_prev_reward");
        let there =
            |c: &ConnectorConfig| matches!(c, ConnectorConfig::PrevActionsPrevRewards { .. });
        if n_prev_actions + n_prev_rewards > 0 && !connectors.iter().any(there) {
            connectors
                .push(ConnectorConfig::PrevActionsPrevRewards { n_prev_actions, n_prev_rewards });
        }
        connectors
    }

    /// The specs of all modules, completed from the environment and this configuration.
    pub(crate) fn multi_rl_module_spec(
        &self,
        spaces: BTreeMap<ModuleId, (Space, Space)>,
    ) -> MultiRLModuleSpec {
        let multi_agent = self.multi_agent.clone().unwrap_or_default();
        let mut specs = multi_agent.rl_module_specs.unwrap_or_default();
        let default = RLModuleSpec::default();
        for spec in specs.rl_module_specs.values_mut().filter(|s| s.module() == default.module()) {
            *spec = self.complete(spec.clone());
        }
        for (id, (observations, actions)) in spaces {
            let spec = specs.rl_module_specs.entry(id).or_insert_with(|| self.module_spec());
            let open = (spec.get_observation_space(), spec.get_action_space());
            let spaces = (open.0.is_none(), open.1.is_none());
            if spaces.0 {
                *spec = spec.clone().observation_space(observations);
            }
            if spaces.1 {
                *spec = spec.clone().action_space(actions);
            }
        }
        specs
    }

    /// The training settings of modules for which some differ.
    ///
    /// # Errors
    /// [`AlgorithmError::ModuleOverrides`] for unknown fields, for values out of range, and for
    /// fields that only all modules together can have.
    pub(crate) fn training_of_modules(&self) -> Result<BTreeMap<ModuleId, T>> {
        let Some(multi_agent) = &self.multi_agent else { return Ok(BTreeMap::new()) };
        let overrides = multi_agent.algorithm_config_overrides_per_module.iter();
        overrides.map(|(id, fields)| Ok((id.clone(), self.overridden(id, fields)?))).collect()
    }

    fn overridden(&self, id: &str, fields: &Map<String, Value>) -> Result<T> {
        let refuse = |reason: String| AlgorithmError::ModuleOverrides { id: id.into(), reason };
        let for_all =
            ["train_batch_size", "num_epochs", "minibatch_size", "shuffle_batch_per_epoch"];
        if let Some(field) = for_all.iter().find(|field| fields.contains_key(**field)) {
            return Err(refuse(format!("`{field}` is one for all modules; set it in `training`")));
        }
        let mut all = serde_json::to_value(&self.training).map_err(AlgorithmError::ConfigFormat)?;
        if let Some(all) = all.as_object_mut() {
            all.extend(fields.clone());
        }
        let training: T = serde_json::from_value(all).map_err(|e| refuse(e.to_string()))?;
        training.validate().map_err(|error| refuse(error.to_string()))?;
        Ok(training)
    }

    /// This configuration as a checkpoint records it: the weights are part of that, so modules do
    /// not look for the files that they once came from.
    pub(crate) fn recorded(&self) -> Result<Value> {
        let mut config = self.clone();
        config.rl_module_spec = config.rl_module_spec.map(|spec| spec.built());
        if let Some(specs) = config.multi_agent.as_mut().and_then(|m| m.rl_module_specs.as_mut()) {
            *specs = specs.built();
        }
        serde_json::to_value(&config).map_err(AlgorithmError::ConfigFormat)
    }

    /// The spec of a module of which nothing else is said, without spaces.
    fn module_spec(&self) -> RLModuleSpec {
        self.complete(self.rl_module_spec.clone().unwrap_or_default())
    }

    /// A spec with the model config that it leaves open: this configuration's, over the algorithm's
    /// defaults for the default module.
    fn complete(&self, spec: RLModuleSpec) -> RLModuleSpec {
        if !spec.get_model_config().is_null() {
            return spec;
        }
        if spec.module() == RLModuleSpec::default().module() {
            let mut config = T::default_model_config();
            config.extend(self.model_config.clone());
            return spec.model_config(config);
        }
        if self.model_config.is_empty() { spec } else { spec.model_config(&self.model_config) }
    }
}
