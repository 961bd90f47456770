//! The settings of runners, modules and learners that follow from a configuration.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rekindle_core::{DEFAULT_MODULE_ID, ModuleId, settings};
use rekindle_env::Space;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{EnvRunnerConfig, SharedCallbacks, SharedRecorder, is_external};
use rekindle_rl_module::{MultiRLModuleSpec, RLModuleSpec};
use serde_json::{Map, Value};

use super::{AlgorithmConfig, CountStepsBy, MultiAgentSection, TrainingConfig};
use crate::{AlgorithmError, Result};

impl<T> AlgorithmConfig<T> {
    /// Checks that none of the environments starts another program, unless the settings allow it.
    ///
    /// # Errors
    /// [`AlgorithmError::ExternalEnvironment`].
    pub(crate) fn check_external_environments(&self) -> Result<()> {
        let evaluation = self.evaluation.evaluation_config.env.as_ref();
        let mut ids = self.environment.env.iter().chain(evaluation);
        match ids.find(|id| is_external(id)) {
            Some(id) if !self.allow_external_environments => {
                Err(AlgorithmError::ExternalEnvironment { env: id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Returns the settings of the runners. The seed must be set, and the connectors be complete
    /// ([`env_to_module`](Self::env_to_module)).
    pub(crate) fn runner_config(&self) -> EnvRunnerConfig {
        EnvRunnerConfig::new(self.environment.env.clone().unwrap_or_default())
            .env_config(self.environment.env_config.clone())
            .num_envs(self.env_runners.num_envs_per_env_runner)
            .seed(self.debugging.seed.unwrap_or_default())
            .env_to_module(self.env_runners.env_to_module_connector.clone())
            .module_to_env(self.env_runners.module_to_env_connector.clone())
            .normalize_actions(self.environment.normalize_actions)
            .clip_actions(self.environment.clip_actions)
            .metrics_num_episodes_for_smoothing(self.reporting.metrics_num_episodes_for_smoothing)
            .on_device(self.env_runners.on_device)
            .eager(self.debugging.eager)
            .callbacks(match self.callbacks.watch_runners() {
                true => SharedCallbacks::new(self.callbacks.clone()),
                false => SharedCallbacks::default(),
            })
            .recorder(
                self.code
                    .recorder
                    .clone()
                    .map_or_else(SharedRecorder::default, |recorder| SharedRecorder::new(recorder)),
            )
            .multi_agent(self.multi_agent.as_ref().map(MultiAgentSection::runner_config))
            .fault_tolerance(self.fault_tolerance.clone())
    }

    pub(crate) fn count_steps_by(&self) -> CountStepsBy {
        self.multi_agent.as_ref().map(|m| m.count_steps_by).unwrap_or_default()
    }
}

impl<T: TrainingConfig> AlgorithmConfig<T> {
    /// Returns the connectors of the configuration, followed by the one that a module with
    /// `lstm_use_prev_action` or `lstm_use_prev_reward` reads from.
    pub(crate) fn env_to_module(&self) -> Vec<ConnectorConfig> {
        let mut connectors = self.env_runners.env_to_module_connector.clone();
        let spec = self.module_spec(&self.training);
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

    /// Returns the specs of all modules. Settings that they leave unset come from the environment
    /// and from this configuration.
    ///
    /// # Errors
    /// [`AlgorithmError::NoSpaces`] for a module without agents whose spaces are unknown.
    pub(crate) fn multi_rl_module_spec(
        &self,
        spaces: BTreeMap<ModuleId, (Space, Space)>,
    ) -> Result<MultiRLModuleSpec> {
        let multi_agent = self.multi_agent.clone().unwrap_or_default();
        let mut specs = multi_agent.rl_module_specs.unwrap_or_default();
        let of_modules = self.training_of_modules()?;
        let training = |id: &str| of_modules.get(id).unwrap_or(&self.training);
        for (id, spec) in &mut specs.rl_module_specs {
            *spec = self.complete(spec.clone(), training(id));
            warn_about_unread(id, spec, training(id));
        }
        for (id, (observations, actions)) in spaces {
            let spec = match specs.rl_module_specs.entry(id) {
                Entry::Occupied(spec) => spec.into_mut(),
                Entry::Vacant(spec) => {
                    let training = training(spec.key());
                    let completed = self.module_spec(training);
                    warn_about_unread(spec.key(), &completed, training);
                    spec.insert(completed)
                }
            };
            let open = (spec.get_observation_space(), spec.get_action_space());
            let spaces = (open.0.is_none(), open.1.is_none());
            if spaces.0 {
                *spec = spec.clone().observation_space(observations);
            }
            if spaces.1 {
                *spec = spec.clone().action_space(actions);
            }
        }
        let has_spaces = |spec: &RLModuleSpec| {
            spec.get_observation_space().is_some() && spec.get_action_space().is_some()
        };
        let mut reserve = multi_agent.policies.iter();
        match reserve.find(|id| !specs.rl_module_specs.get(*id).is_some_and(has_spaces)) {
            Some(id) => Err(AlgorithmError::NoSpaces { id: id.clone() }),
            None => Ok(specs),
        }
    }

    /// Returns the training settings of each module that overrides some.
    ///
    /// # Errors
    /// [`AlgorithmError::ModuleOverrides`] for unknown fields, for values out of range, and for
    /// fields that are common to all modules.
    pub(crate) fn training_of_modules(&self) -> Result<BTreeMap<ModuleId, T>> {
        let Some(multi_agent) = &self.multi_agent else { return Ok(BTreeMap::new()) };
        let overrides = multi_agent.algorithm_config_overrides_per_module.iter();
        overrides.map(|(id, fields)| Ok((id.clone(), self.overridden(id, fields)?))).collect()
    }

    fn overridden(&self, id: &str, fields: &Map<String, Value>) -> Result<T> {
        let refuse = |reason: String| AlgorithmError::ModuleOverrides { id: id.into(), reason };
        if let Some(field) = T::COMMON_FIELDS.iter().find(|field| fields.contains_key(**field)) {
            return Err(refuse(format!("`{field}` is one for all modules; set it in `training`")));
        }
        let mut all = serde_json::to_value(&self.training).map_err(AlgorithmError::ConfigFormat)?;
        if let Some(all) = all.as_object_mut() {
            all.extend(fields.clone());
        }
        let training: T = settings::from_value(&all).map_err(|e| refuse(e.to_string()))?;
        let valid = training.validate().and_then(|()| training.check_sampling(&self.env_runners));
        valid.map_err(|error| refuse(error.to_string()))?;
        let has_no_effect = self.code.optimizers.is_some()
            && training.loss().optimizers() != self.training.loss().optimizers();
        if has_no_effect {
            return Err(refuse("it changes optimizers, which `optimizers` has replaced for all modules; remove the override".into()));
        }
        Ok(training)
    }

    /// Lets recorded specs of the default module follow training settings that differ from those of `before`, the
    /// configuration that recorded them. Fields in which a spec differed from those keep their values.
    ///
    /// # Errors
    /// [`AlgorithmError::ModuleOverrides`] as [`training_of_modules`](Self::training_of_modules).
    pub(crate) fn follow_training(&mut self, before: &Self) -> Result<()> {
        let (old, new) = (before.training_of_modules()?, self.training_of_modules()?);
        let default = T::default_module();
        let training = self.training.clone();
        let follow = |id: &str, spec: &mut RLModuleSpec| {
            let was = settings_of(spec, &default, old.get(id).unwrap_or(&before.training));
            let is = settings_of(spec, &default, new.get(id).unwrap_or(&training));
            *spec = spec.clone().update_model_config(|fields| {
                for (field, value) in is {
                    if was.get(&field) != Some(&value) && fields.get(&field) == was.get(&field) {
                        fields.insert(field, value);
                    }
                }
            });
        };
        if let Some(spec) = &mut self.rl_module_spec {
            follow(DEFAULT_MODULE_ID, spec);
        }
        let specs = self.multi_agent.as_mut().and_then(|m| m.rl_module_specs.as_mut());
        for (id, spec) in specs.into_iter().flat_map(|specs| &mut specs.rl_module_specs) {
            follow(id, spec);
        }
        Ok(())
    }

    /// Returns the configuration that the algorithm keeps and checkpoints record: with the training
    /// section as data, and without paths of initial weights, because the checkpoint holds the weights.
    pub(crate) fn recorded(&self) -> Result<AlgorithmConfig<Value>> {
        let training =
            serde_json::to_value(&self.training).map_err(AlgorithmError::ConfigFormat)?;
        let config = self.clone();
        Ok(AlgorithmConfig {
            environment: config.environment,
            env_runners: config.env_runners,
            offline_data: config.offline_data,
            learners: config.learners,
            training,
            rl_module_spec: config.rl_module_spec.map(|spec| spec.built()),
            model_config: config.model_config,
            multi_agent: config.multi_agent.map(|mut multi_agent| {
                multi_agent.rl_module_specs =
                    multi_agent.rl_module_specs.map(|specs| specs.built());
                multi_agent
            }),
            evaluation: config.evaluation,
            fault_tolerance: config.fault_tolerance,
            reporting: config.reporting,
            callbacks: config.callbacks,
            debugging: config.debugging,
            code: config.code,
            allow_external_environments: config.allow_external_environments,
        })
    }

    /// Returns the spec used when a module has none of its own. Its spaces are left unset.
    fn module_spec(&self, training: &T) -> RLModuleSpec {
        self.complete(self.rl_module_spec.clone().unwrap_or_else(T::default_module), training)
    }

    /// Fills in this configuration's model config if the spec has none. The default module also gets the
    /// algorithm's defaults, and a spec without a type of module is one of the default module. Settings of
    /// modules that follow from the training settings are added to a model config that lacks them.
    fn complete(&self, spec: RLModuleSpec, training: &T) -> RLModuleSpec {
        let default = T::default_module();
        let spec = match spec.module() == RLModuleSpec::default().module() {
            true => spec.with_type_of(&default),
            false => spec,
        };
        let settings = settings_of(&spec, &default, training);
        if !spec.get_model_config().is_null() {
            return spec.update_model_config(|fields| add_missing(fields, settings));
        }
        let mut config = match spec.module() == default.module() {
            true => self.model_config(),
            false => self.model_config.clone(),
        };
        config.extend(settings);
        if config.is_empty() { spec } else { spec.fill_model_config(config) }
    }
}

/// Returns the settings of a module that follow from the training settings. The default module gets all of these
/// settings, a custom module only those that it reads.
pub(crate) fn settings_of<T: TrainingConfig>(
    spec: &RLModuleSpec,
    default: &RLModuleSpec,
    training: &T,
) -> Map<String, Value> {
    let mut settings = training.module_settings();
    if spec.module() != default.module() {
        settings.retain(|field, _| spec.algorithm_settings().contains(&field.as_str()));
    }
    settings
}

/// Adds fields that are missing.
pub(crate) fn add_missing(fields: &mut Map<String, Value>, others: Map<String, Value>) {
    for (field, value) in others {
        fields.entry(field).or_insert(value);
    }
}

/// Warns about changed settings that the module does not read, or that its own model config overrides.
fn warn_about_unread<T: TrainingConfig>(id: &str, spec: &RLModuleSpec, training: &T) {
    let read = settings_of(spec, &T::default_module(), training);
    let defaults = T::default().module_settings();
    let settings = training.module_settings().into_iter();
    let changed = settings.filter(|(field, value)| defaults.get(field) != Some(value));
    let config = spec.get_model_config();
    let without_effect = changed.filter(|(field, value)| config.get(field) != Some(value));
    let fields = without_effect.map(|(field, _)| field);
    let (others, unread): (Vec<_>, Vec<_>) = fields.partition(|field| read.contains_key(field));
    if !others.is_empty() {
        tracing::warn!(
            module = id,
            settings = others.join(", "),
            "the model config of the module has other values for settings of the algorithm, and its own hold; remove them there, or here"
        );
    }
    if !unread.is_empty() {
        tracing::warn!(
            module = id,
            settings = unread.join(", "),
            "settings of the algorithm's default module have no effect on a module of another type; name those that it reads in `RLModule::algorithm_settings`, or set them in its model config"
        );
    }
}
