//! Errors of learners.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{ConfigError, CoreError};
use rekindle_env::EnvError;
use rekindle_metrics::MetricsError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

/// An error of a learner. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum LearnerError {
    /// A setting whose value is not allowed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Slices that belong together and differ in length.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// Meaning of the values.
        what: &'static str,
        /// Number of values expected.
        expected: usize,
        /// Number of values found.
        found: usize,
    },
    /// A batch without a rollout.
    #[error("there are no rollouts to learn from; sample before updating")]
    NoRollouts,
    /// Rollouts with and without recurrent states in one batch.
    #[error("some rollouts of a stateful module lack its states; sample all of them with it")]
    MissingStates,
    /// A module without rows to learn from.
    #[error("module `{0}` has no rows to learn from; sample more, or leave it out of the update")]
    EmptyBatch(String),
    /// A module that was built without the parts that training needs.
    #[error(
        "module `{id}` (`{module}`) was built with `inference_only` and cannot learn; build it without"
    )]
    InferenceOnly {
        /// The id of the module.
        id: String,
        /// The type of the module.
        module: String,
    },
    /// A module whose action distribution lacks what a loss needs.
    #[error(
        "module `{id}` cannot learn with {objective}: its action distribution {distribution} does not fit: {source}; use another action distribution, or leave the module out of `policies_to_train`"
    )]
    Distribution {
        /// The id of the module.
        id: String,
        /// The name of the distribution.
        distribution: &'static str,
        /// The objective.
        objective: &'static str,
        /// What the distribution lacks.
        source: Box<CatalogError>,
    },
    /// A path that names no component.
    #[error(
        "`{0}` is not a component of a learner that can be restored alone: use `rl_module`, `rl_module/<module_id>`, `optimizer` or `optimizer/<module_id>` (`optimizer/__all_modules__` if modules share parameters)"
    )]
    UnknownComponent(String),
    /// Experience without a column that the loss needs.
    #[error(
        "the experience of module `{module}` has no column `{column}`, which the {objective} loss needs; {hint}"
    )]
    MissingColumn {
        /// The type of the module.
        module: String,
        /// The column.
        column: &'static str,
        /// The objective.
        objective: &'static str,
        /// Advice for the user.
        hint: &'static str,
    },
    /// A saved state that does not fit.
    #[error("the saved state of the {component} does not fit: {reason}")]
    InvalidState {
        /// The component.
        component: String,
        /// The reason.
        reason: String,
    },
    /// A module failed.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A distribution failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A buffer failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An error of a user's objective.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl LearnerError {
    /// Wraps an error of a user's objective.
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}

/// The result of a fallible operation of this crate.
pub type Result<T, E = LearnerError> = std::result::Result<T, E>;
