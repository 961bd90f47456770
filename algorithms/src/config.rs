//! Configurations, as code and as data.

mod derived;
mod evaluation;
mod multi_agent;
mod offline_data;
mod on_device;
mod reporting;
mod sections;
pub(crate) mod toml;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use burn::prelude::Device;
use rekindle_core::{ConfigError, settings};
use rekindle_env::EnvConfig;
use rekindle_env_runner::FaultToleranceConfig;
use rekindle_learner::{LearnerConfig, Loss};
use rekindle_offline::OfflineSource;
use rekindle_rl_module::RLModuleSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::custom::Code;
use crate::execution_plan::ExecutionPlan;
use crate::{Algorithm, AlgorithmError, CallbackList, Callbacks, Result};

pub(crate) use derived::{add_missing, settings_of};
pub use evaluation::{DurationUnit, EvaluationConfig, EvaluationOverrides, VideoConfig};
pub use multi_agent::{CountStepsBy, MultiAgentSection};
pub use offline_data::OfflineDataConfig;
pub use reporting::ReportingConfig;
pub use sections::{
    BatchMode, DebuggingConfig, EnvRunnersConfig, EnvironmentConfig, LearnersConfig,
    RolloutFragmentLength,
};
pub(crate) use sections::{fragment_length, one_optimizer, vtrace_config};

/// The section of a configuration that only one algorithm has.
pub trait TrainingConfig:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name of the algorithm.
    const NAME: &'static str;

    /// The fields that are common to all modules. Overrides for one module cannot set them.
    const COMMON_FIELDS: &'static [&'static str] =
        &["train_batch_size", "num_epochs", "minibatch_size", "shuffle_batch_per_epoch"];

    /// The environment steps that an iteration collects at least, unless
    /// [`ReportingConfig::min_sample_timesteps_per_iteration`] says otherwise. Defaults to 0: one training step.
    const MIN_SAMPLE_TIMESTEPS_PER_ITERATION: usize = 0;

    /// Checks every field.
    ///
    /// # Errors
    /// The first field out of range.
    fn validate(&self) -> Result<(), ConfigError>;

    /// Checks whether the algorithm can learn from the runners' experience.
    ///
    /// # Errors
    /// The first setting that conflicts with the runners' settings.
    fn check_sampling(&self, _env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Checks whether the algorithm can act in the environment as its settings say.
    ///
    /// # Errors
    /// The first setting that conflicts with the environment's settings.
    fn check_environment(&self, _environment: &EnvironmentConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Returns the steps per update.
    fn train_batch_size(&self) -> usize;

    /// Returns epochs and minibatches of the learner. Defaults to one step on the whole batch.
    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default()
    }

    /// Creates the loss of one module, which has these settings.
    fn loss(&self) -> Box<dyn Loss>;

    /// Creates the execution plan.
    fn execution_plan(&self) -> Box<dyn ExecutionPlan>;

    /// Returns the spec of the module for which a configuration names no type. Defaults to the actor-critic.
    #[must_use]
    fn default_module() -> RLModuleSpec {
        RLModuleSpec::default()
    }

    /// Returns the settings of the default module that follow from these: those of its exploration, for example.
    fn module_settings(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Returns the model settings in which this algorithm differs from `DefaultModelConfig`.
    #[must_use]
    fn default_model_config() -> Map<String, Value> {
        Map::new()
    }
}

/// The configuration of an algorithm. `T` is the section that only this algorithm has.
///
/// Builder methods take closures, so that settings are grouped as in RLlib:
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(
    default,
    deny_unknown_fields,
    bound(serialize = "T: Serialize", deserialize = "T: DeserializeOwned + Default")
)]
pub struct AlgorithmConfig<T> {
    /// The environment.
    pub environment: EnvironmentConfig,
    /// Collection of experience.
    pub env_runners: EnvRunnersConfig,
    /// Learning from recorded data.
    pub offline_data: OfflineDataConfig,
    /// The learner.
    pub learners: LearnersConfig,
    /// The algorithm's own settings.
    pub training: T,
    /// Spec of the module; `None` builds the default actor-critic.
    pub rl_module_spec: Option<RLModuleSpec>,
    /// Settings of the default module, a part of `DefaultModelConfig`.
    pub model_config: Map<String, Value>,
    /// The policies of a multi-agent environment; `None` for one agent.
    pub multi_agent: Option<MultiAgentSection>,
    /// Evaluation during training.
    pub evaluation: EvaluationConfig,
    /// Recovery of environments and runners that fail.
    pub fault_tolerance: FaultToleranceConfig,
    /// Minimum length of an iteration, and the window of its statistics.
    pub reporting: ReportingConfig,
    /// Hooks; not part of the configuration as data.
    #[serde(skip)]
    pub callbacks: CallbackList,
    /// Reproducibility, and a look inside.
    pub debugging: DebuggingConfig,
    /// The code of a variant; not part of the configuration as data.
    #[serde(skip)]
    pub(crate) code: Code,
    /// Whether environments of checkpoints may start other programs. This setting is not part of the configuration as
    /// data, so a checkpoint cannot allow itself to start programs.
    #[serde(skip)]
    pub(crate) allow_external_environments: bool,
}

impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// Creates the algorithm's defaults, without an environment.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a configuration. Settings that it leaves out take their defaults.
    ///
    /// # Errors
    /// [`AlgorithmError::ConfigFormat`] for unknown keys and wrong values.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| {
            // The same mistake with its path, unless the text is not JSON.
            let value = serde_json::from_str(json).ok();
            let located = value.and_then(|value| settings::from_value::<Self>(&value).err());
            AlgorithmError::ConfigFormat(located.unwrap_or(error))
        })
    }

    /// Sets the id of the environment.
    #[must_use]
    pub fn environment(mut self, env: impl Into<String>) -> Self {
        self.environment.env = Some(env.into());
        self
    }

    /// Sets the settings of the environment by name, as its constructor takes them.
    #[must_use]
    pub fn env_config(mut self, config: EnvConfig) -> Self {
        self.environment.env_config = config;
        self
    }

    /// Sets whether a checkpoint may name an environment that starts another program, such as
    /// `gymnasium:HalfCheetah-v5`, and its settings. Defaults to `false`. Checkpoints do not hold this
    /// setting.
    ///
    /// Such an environment runs code that the checkpoint chooses, so set this only for checkpoints that you trust. A
    /// configuration without a checkpoint does not need it.
    #[must_use]
    pub fn allow_external_environments(mut self, allow: bool) -> Self {
        self.allow_external_environments = allow;
        self
    }

    /// Sets whether the module acts in [−1, 1]. Bounded continuous actions are then scaled to their
    /// space. Defaults to `true`.
    #[must_use]
    pub fn normalize_actions(mut self, normalize_actions: bool) -> Self {
        self.environment.normalize_actions = normalize_actions;
        self
    }

    /// Sets whether continuous actions are clipped to the bounds of their space. Defaults to
    /// `false`.
    #[must_use]
    pub fn clip_actions(mut self, clip_actions: bool) -> Self {
        self.environment.clip_actions = clip_actions;
        self
    }

    /// Changes the collection of experience.
    #[must_use]
    pub fn env_runners(mut self, f: impl FnOnce(EnvRunnersConfig) -> EnvRunnersConfig) -> Self {
        self.env_runners = f(self.env_runners);
        self
    }

    /// Changes the settings of learning from recorded data.
    #[must_use]
    pub fn offline_data(mut self, f: impl FnOnce(OfflineDataConfig) -> OfflineDataConfig) -> Self {
        self.offline_data = f(self.offline_data);
        self
    }

    /// Sets the data that the execution plan [`Offline`](crate::Offline) learns from, in memory, for example
    /// ([`OfflineData`](rekindle_offline::OfflineData)).
    ///
    /// Checkpoints do not hold data: give the same again with [`Algorithm::from_checkpoint_with`].
    #[must_use]
    pub fn offline_source(mut self, source: impl OfflineSource + 'static) -> Self {
        self.code.source = Some(Arc::new(source));
        self
    }

    /// Changes the settings of the learner.
    #[must_use]
    pub fn learners(mut self, f: impl FnOnce(LearnersConfig) -> LearnersConfig) -> Self {
        self.learners = f(self.learners);
        self
    }

    /// Changes the algorithm's own settings.
    #[must_use]
    pub fn training(mut self, f: impl FnOnce(T) -> T) -> Self {
        self.training = f(self.training);
        self
    }

    /// Sets the spec of the module. Spaces that the spec leaves unset are taken from the
    /// environment.
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

    /// Changes the policies of a multi-agent environment and the mapping from agents to policies.
    #[must_use]
    pub fn multi_agent(mut self, f: impl FnOnce(MultiAgentSection) -> MultiAgentSection) -> Self {
        self.multi_agent = Some(f(self.multi_agent.unwrap_or_default()));
        self
    }

    /// Changes the evaluation during training.
    #[must_use]
    pub fn evaluation(mut self, f: impl FnOnce(EvaluationConfig) -> EvaluationConfig) -> Self {
        self.evaluation = f(self.evaluation);
        self
    }

    /// Changes the recovery of environments and runners that fail.
    #[must_use]
    pub fn fault_tolerance(
        mut self,
        f: impl FnOnce(FaultToleranceConfig) -> FaultToleranceConfig,
    ) -> Self {
        self.fault_tolerance = f(self.fault_tolerance);
        self
    }

    /// Changes the minimum length of an iteration, and the window of its statistics.
    #[must_use]
    pub fn reporting(mut self, f: impl FnOnce(ReportingConfig) -> ReportingConfig) -> Self {
        self.reporting = f(self.reporting);
        self
    }

    /// Appends hooks, which are called after the existing ones.
    ///
    /// Checkpoints do not hold code: give hooks again with
    /// [`Algorithm::from_checkpoint_with`].
    #[must_use]
    pub fn callbacks(mut self, callbacks: impl Callbacks + 'static) -> Self {
        self.callbacks.push(callbacks);
        self
    }

    /// Changes the settings for reproducibility and debugging.
    #[must_use]
    pub fn debugging(mut self, f: impl FnOnce(DebuggingConfig) -> DebuggingConfig) -> Self {
        self.debugging = f(self.debugging);
        self
    }

    /// Sets the seed of environments, actions, parameters and minibatches.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.debugging.seed = Some(seed);
        self
    }

    /// Checks all settings, each and together.
    ///
    /// # Errors
    /// The first setting out of range, with its name, value and constraint.
    pub fn validate(&self) -> Result<()> {
        let is_offline = self.plan().learns_offline();
        if self.environment.env.is_none() && !is_offline {
            let constraint = "an algorithm needs an environment: set `environment.env`, or call `.environment(\"CartPole-v1\")`";
            return Err(ConfigError::new("env", "not set", constraint).into());
        }
        self.env_runners.check_fields()?;
        self.offline_data.check_fields()?;
        self.learners.validate()?;
        self.check_learners()?;
        self.check_data(is_offline)?;
        self.evaluation.validate()?;
        self.fault_tolerance.validate()?;
        self.reporting.check_fields()?;
        self.training.validate()?;
        self.training.check_environment(&self.environment)?;
        self.check_fragment()?;
        self.check_on_device()?;
        match &self.multi_agent {
            Some(multi_agent) => {
                multi_agent.validate()?;
                self.training_of_modules()?;
            }
            None => self.training.check_sampling(&self.env_runners)?,
        }
        if let Some(spec) = &self.rl_module_spec
            && !self.model_config.is_empty()
            && !spec.get_model_config().is_null()
        {
            let config = Value::Object(self.model_config.clone());
            let constraint = "`rl_module_spec` has a model config of its own; set only one";
            return Err(ConfigError::new("model_config", config, constraint).into());
        }
        Ok(())
    }

    /// Checks that the execution plan and the runners allow several learners.
    ///
    /// # Errors
    /// [`ConfigError`] if the plan or a setting allows one learner alone, or if the number is out of bounds.
    fn check_learners(&self) -> Result<(), ConfigError> {
        let learners = self.learners.num_learners;
        if learners == 1 {
            return Ok(());
        }
        let plan = self.plan();
        let constraint = if self.env_runners.on_device {
            "experience of `env_runners.on_device` stays on one device, where one learner learns; set it to 1, or `on_device` to false".into()
        } else if !plan.shares_updates() {
            format!(
                "with the execution plan `{}`, gradients are not computed from minibatches of the learner; set it to 1, or use another plan",
                plan.name()
            )
        } else {
            return Ok(());
        };
        Err(ConfigError::new("learners.num_learners", learners, constraint))
    }

    /// Checks that there are data for a plan that reads some, that no data are left unread, and that the other settings
    /// do not need an environment that is not set.
    fn check_data(&self, is_offline: bool) -> Result<(), ConfigError> {
        let (plan, paths) = (self.plan(), &self.offline_data.input_);
        let name = plan.name();
        match (plan.reads_data(), self.code.source.is_some() || !paths.is_empty()) {
            (true, false) => {
                let constraint = format!(
                    "the execution plan `{name}` learns from recorded data; set `offline_data.input_` to a directory of recordings, or call `.offline_source(data)`"
                );
                return Err(ConfigError::new("offline_data.input_", "[]", constraint));
            }
            (false, true) => {
                let constraint = format!(
                    "the execution plan `{name}` reads no recorded data; remove the setting, or use an algorithm or a plan that does, such as `Offline`"
                );
                let value = match paths.is_empty() {
                    true => "set by `.offline_source`".to_owned(),
                    false => format!("{paths:?}"),
                };
                return Err(ConfigError::new("offline_data.input_", value, constraint));
            }
            _ => {}
        }
        if let Some(estimation) = &self.evaluation.off_policy_estimation
            && estimation.input_.is_empty()
            && !plan.reads_data()
        {
            let constraint =
                "there are no recorded data to estimate from; set it to a directory of recordings";
            return Err(ConfigError::new("off_policy_estimation.input_", "[]", constraint));
        }
        if let Some(output) = self.env_runners.output.as_ref().filter(|_| is_offline) {
            let constraint = format!(
                "the execution plan `{name}` collects no experience to record; leave it out"
            );
            return Err(ConfigError::new("env_runners.output", output.display(), constraint));
        }
        if !is_offline || self.environment.env.is_some() {
            return Ok(());
        }
        let runners = &self.env_runners;
        let connectors = runners.env_to_module_connector.iter();
        if let Some(connector) = connectors.chain(&runners.module_to_env_connector).next() {
            let constraint = "connectors transform what an environment observes; set `environment.env`, or leave them out";
            return Err(ConfigError::new("connector", format!("{connector:?}"), constraint));
        }
        let evaluation = &self.evaluation;
        let needs_none = evaluation.custom_evaluation_function.get().is_some()
            || evaluation.off_policy_estimation.is_some();
        match evaluation.evaluation_interval {
            Some(interval) if evaluation.evaluation_config.env.is_none() && !needs_none => {
                let constraint = "evaluation needs an environment; set `environment.env` or `evaluation_config.env`, or estimate the return from data with `off_policy_estimation`";
                Err(ConfigError::new("evaluation_interval", interval, constraint))
            }
            _ => Ok(()),
        }
    }

    /// Opens the data to learn from; `None` if there are none.
    pub(crate) fn source(&self) -> Result<Option<Arc<dyn OfflineSource>>> {
        if let Some(source) = &self.code.source {
            return Ok(Some(source.clone()));
        }
        self.open("offline_data.input_", &self.offline_data.input_)
    }

    /// Opens the data that evaluations estimate returns from, if they are not those to learn from.
    pub(crate) fn held_out(&self) -> Result<Option<Arc<dyn OfflineSource>>> {
        match &self.evaluation.off_policy_estimation {
            Some(estimation) => self.open("off_policy_estimation.input_", &estimation.input_),
            None => Ok(None),
        }
    }

    fn open(
        &self,
        name: &'static str,
        paths: &[PathBuf],
    ) -> Result<Option<Arc<dyn OfflineSource>>> {
        match paths.is_empty() {
            true => Ok(None),
            false => offline_data::open(name, paths, self.environment.normalize_actions).map(Some),
        }
    }

    /// Returns the execution plan.
    pub(crate) fn plan(&self) -> Box<dyn ExecutionPlan> {
        match &self.code.plan {
            Some(plan) => plan(),
            None => self.training.execution_plan(),
        }
    }

    /// Checks that one fragment of all environments is not larger than the batch, whichever steps the
    /// batch counts.
    fn check_fragment(&self) -> Result<(), ConfigError> {
        let EnvRunnersConfig { num_env_runners, num_envs_per_env_runner, batch_mode, .. } =
            self.env_runners;
        if !self.plan().collects_batches() {
            return Ok(());
        }
        let environments = num_env_runners.saturating_mul(num_envs_per_env_runner);
        let batch = self.training.train_batch_size();
        let (field, value, steps, remedy) = match self.env_runners.rollout_fragment_length {
            RolloutFragmentLength::Steps(steps) => {
                ("rollout_fragment_length", steps, steps, ", or leave it at \"auto\"")
            }
            RolloutFragmentLength::Auto => {
                ("num_envs_per_env_runner", num_envs_per_env_runner, 1, "")
            }
        };
        let all = environments.saturating_mul(steps);
        if all <= batch || batch_mode == BatchMode::CompleteEpisodes {
            return Ok(());
        }
        let or = if remedy.is_empty() { " or" } else { "," };
        let constraint = format!(
            "all environments together then collect {all} steps for a batch of {batch}; lower it{or} raise `train_batch_size`{remedy}"
        );
        Err(ConfigError::new(field, value, constraint))
    }

    /// Builds the algorithm. The learner and the runners work on `device`, unless the settings
    /// `learners.device` and `env_runners.device` name others.
    ///
    /// # Errors
    /// If a setting is out of range, a device is missing, the environment is unknown, or the module
    /// cannot be built or does not fit the environment or the algorithm.
    pub fn build(&self, device: &Device) -> Result<Algorithm> {
        Algorithm::new(self, device)
    }

    /// Returns the steps per environment that a runner, counted from 0, collects for one update.
    pub fn rollout_fragment_length(&self, runner: usize) -> usize {
        match self.env_runners.rollout_fragment_length {
            RolloutFragmentLength::Auto => fragment_length(
                self.training.train_batch_size(),
                self.env_runners.num_envs_per_env_runner,
                self.env_runners.num_env_runners,
                runner,
            ),
            RolloutFragmentLength::Steps(steps) => steps,
        }
    }
}
