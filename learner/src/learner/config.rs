//! The settings of a learner.

use std::collections::BTreeSet;

use rekindle_core::{ConfigError, ModuleId, settings};

use crate::connector::LearnerConnectorConfig;
use crate::minibatch::Epochs;

settings! {
    /// The settings of a learner that are common to all modules: epochs and minibatches. Optimizers belong to
    /// the [`Loss`](crate::Loss) of each module.
    pub struct LearnerConfig {
        /// Passes over the rows per update.
        set num_epochs: usize = 1;
        /// Rows per minibatch; `None` takes all rows at once.
        into minibatch_size: Option<usize> = None;
        /// Whether each pass visits the rows in a new random order.
        set shuffle_batch_per_epoch: bool = false;
        /// Seed of the order of the rows and of random numbers in losses.
        set seed: u64 = 0;
        /// Modules that learn; `None` for all. Only these need the roles that their losses require.
        /// [`Learner::set_policies_to_train`](crate::Learner::set_policies_to_train) changes them later.
        into policies_to_train: Option<BTreeSet<ModuleId>> = None;
        /// Whether the CPU runs plain tensor operations instead of fused ones
        /// ([`rekindle_kernels::eager`]), for debugging.
        set eager: bool = false;
        /// Transforms of experience before losses see it, in order.
        into connectors: Vec<LearnerConnectorConfig> = Vec::new();
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
