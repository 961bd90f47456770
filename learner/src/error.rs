//! Errors of the learner crate.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::CoreError;
use rekindle_env::EnvError;
use rekindle_metrics::MetricsError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

/// What can go wrong while learning; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum LearnerError {
    /// A value that a setting does not allow.
    #[error("`{field}` is {value}, but {constraint}")]
    InvalidConfig {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        constraint: String,
    },
    /// Slices that belong together differ in length.
    #[error("{what}: {expected} values were expected, got {found}")]
    Length {
        /// What the values are.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// An update without a single rollout.
    #[error("there are no rollouts to learn from; sample before updating")]
    NoRollouts,
    /// Rollouts of which some have recurrent states and some do not.
    #[error("some rollouts of a stateful module lack its states; sample all of them with it")]
    MissingStates,
    /// A module without experience to learn from.
    #[error("module `{0}` has no rows to learn from; sample more, or leave it out of the update")]
    EmptyBatch(String),
    /// A module that was built to act only.
    #[error(
        "module `{id}` (`{module}`) was built with `inference_only`, so it cannot learn; build it without"
    )]
    InferenceOnly {
        /// Its id.
        id: String,
        /// Its type.
        module: String,
    },
    /// A component path that leads nowhere.
    #[error(
        "`{0}` is no component of a learner that can be restored alone: use `rl_module`, `rl_module/<module_id>`, `optimizer` or `optimizer/<module_id>` (`optimizer/__all_modules__` if modules share parameters)"
    )]
    UnknownComponent(String),
    /// A module that was recorded without what the loss needs.
    #[error(
        "the experience of module `{module}` has no column `{column}`, which the {objective} loss needs; {hint}"
    )]
    MissingColumn {
        /// The module.
        module: String,
        /// The column.
        column: &'static str,
        /// The objective.
        objective: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A saved state that is not one of this learner.
    #[error("the saved state of the {component} does not fit: {reason}")]
    InvalidState {
        /// The component.
        component: String,
        /// Why not.
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
    /// Wraps an error of a user's own.
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}

/// A result of the learner crate.
pub type Result<T, E = LearnerError> = std::result::Result<T, E>;
