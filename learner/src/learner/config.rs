//! The settings of a learner.

use std::collections::BTreeSet;

use rekindle_core::{ConfigError, ModuleId};
use serde::{Deserialize, Serialize};

use crate::connector::LearnerConnectorConfig;
use crate::minibatch::Epochs;

/// The settings of a learner that are common to all modules: epochs and minibatches. Optimizers belong to
/// the [`Loss`](crate::Loss) of each module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnerConfig {
    /// Passes over the rows per update.
    pub num_epochs: usize,
    /// Rows per minibatch; `None` takes all rows at once.
    pub minibatch_size: Option<usize>,
    /// Whether each pass visits the rows in a new random order.
    pub shuffle_batch_per_epoch: bool,
    /// Seed of the order of the rows and of random numbers in losses.
    pub seed: u64,
    /// Modules that learn; `None` for all. Only these need the roles that their losses require.
    /// [`Learner::set_policies_to_train`](crate::Learner::set_policies_to_train) changes them later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies_to_train: Option<BTreeSet<ModuleId>>,
    /// Whether plain tensor operations take the place of the fused ones of the CPU
    /// ([`rekindle_kernels::eager`]), for debugging.
    #[serde(default)]
    pub eager: bool,
    /// Transforms of experience before losses see it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connectors: Vec<LearnerConnectorConfig>,
}

impl Default for LearnerConfig {
    /// RLlib's defaults: one epoch, one batch.
    fn default() -> Self {
        Self {
            num_epochs: 1,
            minibatch_size: None,
            shuffle_batch_per_epoch: false,
            seed: 0,
            policies_to_train: None,
            eager: false,
            connectors: Vec::new(),
        }
    }
}

impl LearnerConfig {
    /// Checks every field on its own.
    ///
    /// # Errors
    /// [`ConfigError`] with field, value and constraint.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.num_epochs == 0 {
            return Err(ConfigError::new("num_epochs", 0, "an update needs at least one epoch"));
        }
        if self.minibatch_size == Some(0) {
            return Err(ConfigError::new("minibatch_size", 0, "a minibatch has at least one row"));
        }
        Ok(())
    }

    pub(super) fn epochs(&self) -> Epochs {
        Epochs { num_epochs: self.num_epochs, shuffle: self.shuffle_batch_per_epoch }
    }
}
