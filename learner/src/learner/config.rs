//! The settings of a learner.

use std::collections::{BTreeMap, BTreeSet};

use rekindle_core::ModuleId;
use serde::{Deserialize, Serialize};

use crate::minibatch::Epochs;
use crate::{GradClipBy, LearnerError, OptimizerConfig, Result, Schedule};

/// Learning rate, clipping, epochs and minibatches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnerConfig {
    /// Learning rate over environment steps.
    pub lr: Schedule,
    /// Bound on gradients; `None` does not clip.
    pub grad_clip: Option<f64>,
    /// What `grad_clip` bounds.
    pub grad_clip_by: GradClipBy,
    /// Passes over the rows of an update.
    pub num_epochs: usize,
    /// Rows of a minibatch; `None` takes all rows at once.
    pub minibatch_size: Option<usize>,
    /// Whether each pass goes through the rows in a new random order.
    pub shuffle_batch_per_epoch: bool,
    /// The rule that turns gradients into steps.
    pub optimizer: OptimizerConfig,
    /// Seeds the order of the rows.
    pub seed: u64,
    /// The modules that learn, `None` for all; only these need the roles that the objective asks for.
    /// [`Learner::set_policies_to_train`](crate::Learner::set_policies_to_train) changes it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies_to_train: Option<BTreeSet<ModuleId>>,
    /// Settings of modules that learn at another rate, with other clipping or another optimizer;
    /// epochs and minibatches are those of all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<ModuleId, Self>,
}

impl Default for LearnerConfig {
    /// RLlib's base defaults: lr 1e-3, no clipping, one epoch, one batch, Adam.
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
    /// [`LearnerError::InvalidConfig`] with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, value: String, constraint: &str| {
            Err(LearnerError::InvalidConfig { field, value, constraint: constraint.into() })
        };
        self.lr.validate("lr")?;
        if let Some(clip) = self.grad_clip
            && !(clip > 0.0 && clip.is_finite())
        {
            return refuse("grad_clip", clip.to_string(), "it must be positive and finite");
        }
        if self.num_epochs == 0 {
            return refuse("num_epochs", "0".into(), "an update needs at least one epoch");
        }
        if self.minibatch_size == Some(0) {
            return refuse("minibatch_size", "0".into(), "a minibatch has at least one row");
        }
        self.modules.values().try_for_each(Self::validate)
    }

    /// The settings of a module, or of modules that share parameters under that name.
    pub fn of_module(&self, id: &str) -> &Self {
        self.modules.get(id).unwrap_or(self)
    }

    pub(super) fn epochs(&self) -> Epochs {
        Epochs { num_epochs: self.num_epochs, shuffle: self.shuffle_batch_per_epoch }
    }
}
