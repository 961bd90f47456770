//! The training settings of modules, for an algorithm that does not know their type.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rekindle_core::{ConfigError, ModuleId};
use rekindle_learner::Loss;
use rekindle_rl_module::{AnyRLModule, Role};

use crate::config::{EnvRunnersConfig, TrainingConfig};
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

/// The training settings of modules.
pub(super) trait ModuleSettings: Send + Sync {
    /// Creates the loss of a module.
    fn loss(&self, id: &str) -> Box<dyn Loss>;

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

    fn check_sampling(&self, id: &str, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        self.of_modules().get(id).unwrap_or(&self.training).check_sampling(env_runners)
    }

    fn forget(&self, id: &str) {
        self.of_modules().remove(id);
    }
}
