//! The settings of a learner.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::{ConfigError, ModuleId};
use serde::{Deserialize, Serialize};

use crate::minibatch::Epochs;
use crate::{GradClipBy, OptimizerConfig, Schedule};

/// The settings of a learner: learning rate, clipping, epochs and minibatches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnerConfig {
    /// Learning rate over environment steps.
    pub lr: Schedule,
    /// Bound on gradients; `None` does not clip.
    pub grad_clip: Option<f64>,
    /// Quantity that `grad_clip` bounds.
    pub grad_clip_by: GradClipBy,
    /// Passes over the rows per update.
    pub num_epochs: usize,
    /// Rows per minibatch; `None` takes all rows at once.
    pub minibatch_size: Option<usize>,
    /// Whether each pass visits the rows in a new random order.
    pub shuffle_batch_per_epoch: bool,
    /// Rule that turns gradients into steps.
    pub optimizer: OptimizerConfig,
    /// Seed of the order of the rows.
    pub seed: u64,
    /// Modules that learn; `None` for all. Only these need the roles that the objective requires.
    /// [`Learner::set_policies_to_train`](crate::Learner::set_policies_to_train) changes them later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies_to_train: Option<BTreeSet<ModuleId>>,
    /// Settings of modules that override the learning rate, clipping or optimizer. Epochs and
    /// minibatches are common to all modules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<ModuleId, Self>,
}

impl Default for LearnerConfig {
    /// RLlib's defaults: a learning rate of 1e-3, no clipping, one epoch, one batch, Adam.
    fn default() -> Self {
        Self {
            lr: Schedule::Constant(1e-3),
            grad_clip: None,
            grad_clip_by: GradClipBy::GlobalNorm,
            num_epochs: 1,
            minibatch_size: None,
            shuffle_batch_per_epoch: false,
            optimizer: OptimizerConfig::default(),
            seed: 0,
            policies_to_train: None,
            modules: BTreeMap::new(),
        }
    }
}

impl LearnerConfig {
    /// Checks every field on its own.
    ///
    /// # Errors
    /// [`ConfigError`] with field, value and constraint.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.lr.validate("lr")?;
        if let Some(clip) = self.grad_clip
            && !(clip > 0.0 && clip.is_finite())
        {
            return Err(ConfigError::new("grad_clip", clip, "it must be positive and finite"));
        }
        if self.num_epochs == 0 {
            return Err(ConfigError::new("num_epochs", 0, "an update needs at least one epoch"));
        }
        if self.minibatch_size == Some(0) {
            return Err(ConfigError::new("minibatch_size", 0, "a minibatch has at least one row"));
        }
        self.optimizer.validate()?;
        self.modules.values().try_for_each(Self::validate)
    }

    /// Returns the settings of a module, or of modules that share parameters under this name.
    pub fn of_module(&self, id: &str) -> &Self {
        self.modules.get(id).unwrap_or(self)
    }

    pub(super) fn epochs(&self) -> Epochs {
        Epochs { num_epochs: self.num_epochs, shuffle: self.shuffle_batch_per_epoch }
    }
}
