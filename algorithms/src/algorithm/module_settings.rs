//! The training settings of modules, for an algorithm that does not know their type.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rekindle_core::{ConfigError, ModuleId};
use rekindle_learner::Loss;
use rekindle_rl_module::{AnyRLModule, RLModuleSpec, Role};
use serde_json::{Map, Value};

use super::Algorithm;
use crate::config::{EnvRunnersConfig, TrainingConfig, add_missing, settings_of};
use crate::learn_on_batch::LearnOnBatchTraining;
use crate::{AlgorithmError, Result};

/// Checks that a module uses the training settings that it overrides.
///
/// # Errors
/// [`AlgorithmError::ModuleOverrides`] if it learns from a batch by itself.
pub(super) fn check_overrides(id: &str, module: Option<&AnyRLModule>) -> Result<()> {
    if !module.is_some_and(|module| module.has_role(Role::LearnOnBatch)) {
        return Ok(());
    }
    let reason = "it learns from a batch by itself, and training settings have no effect on it; remove them, and set what it reads in its model config";
    Err(AlgorithmError::ModuleOverrides { id: id.into(), reason: reason.into() })
}

/// Warns that no module learns by the loss of the algorithm.
pub(super) fn warn_without_loss<T: TrainingConfig>() {
    if T::NAME != LearnOnBatchTraining::NAME {
        tracing::warn!(
            algorithm = T::NAME,
            "all modules learn from batches by themselves, so that the settings of the loss and its optimizers have no effect; `LearnOnBatchConfig` has none"
        );
    }
}

impl Algorithm {
    /// Rebuilds a module with the algorithm's settings that the module reads and its model config leaves out, such as
    /// an exploration schedule. The parameters are kept. If the settings describe other parameters, the module is left
    /// unchanged, with a warning.
    ///
    /// # Errors
    /// If the parameters cannot be read.
    pub(super) fn with_module_settings(
        &self,
        id: &str,
        module: AnyRLModule,
    ) -> Result<AnyRLModule> {
        let spec = module.spec();
        let mut settings = self.settings.module_settings(id, spec);
        let config = spec.get_model_config();
        settings.retain(|field, _| config.get(field).is_none());
        if settings.is_empty() {
            return Ok(module);
        }
        let fields = settings.keys().cloned().collect::<Vec<_>>().join(", ");
        let spec = match config.is_null() {
            true => spec.clone().model_config(settings),
            false => spec.clone().update_model_config(|fields| add_missing(fields, settings)),
        };
        let weights = module.state_dict()?;
        let rebuilt = spec.build(&self.runner_device).and_then(|mut rebuilt| {
            rebuilt.load_state_dict(&weights)?;
            Ok(rebuilt)
        });
        rebuilt.or_else(|error| {
            tracing::warn!(
                module = id,
                settings = fields,
                error = error.to_string(),
                "the module keeps its own values for settings of the algorithm, which describe other parameters; set them in its model config"
            );
            Ok(module)
        })
    }
}

/// The training settings of modules.
pub(super) trait ModuleSettings: Send + Sync {
    /// Creates the loss of a module.
    fn loss(&self, id: &str) -> Box<dyn Loss>;

    /// Returns the settings of a module that follow from the training settings.
    fn module_settings(&self, id: &str, spec: &RLModuleSpec) -> Map<String, Value>;

    /// Checks whether a module can learn from the runners' experience.
    fn check_sampling(&self, id: &str, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError>;

    /// Drops the settings that a removed module overrides. A module that joins under its id gets the
    /// common settings.
    fn forget(&self, id: &str);
}

/// Common settings, and those of modules that override some.
pub(super) struct Settings<T> {
    training: T,
    of_modules: Mutex<BTreeMap<ModuleId, T>>,
}

impl<T: TrainingConfig> Settings<T> {
    pub(super) fn new(training: T, of_modules: BTreeMap<ModuleId, T>) -> Self {
        Self { training, of_modules: Mutex::new(of_modules) }
    }

    fn of_modules(&self) -> MutexGuard<'_, BTreeMap<ModuleId, T>> {
        self.of_modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: TrainingConfig> ModuleSettings for Settings<T> {
    fn loss(&self, id: &str) -> Box<dyn Loss> {
        self.of_modules().get(id).unwrap_or(&self.training).loss()
    }

    fn module_settings(&self, id: &str, spec: &RLModuleSpec) -> Map<String, Value> {
        let of_modules = self.of_modules();
        settings_of(spec, &T::default_module(), of_modules.get(id).unwrap_or(&self.training))
    }

    fn check_sampling(&self, id: &str, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        self.of_modules().get(id).unwrap_or(&self.training).check_sampling(env_runners)
    }

    fn forget(&self, id: &str) {
        self.of_modules().remove(id);
    }
}
