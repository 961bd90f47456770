//! Errors of learners.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{ConfigError, CoreError};
use rekindle_env::{EnvError, suggestion};
use rekindle_metrics::MetricsError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

use crate::collective::Fault;

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
    /// A column that some rollouts of a batch have and others lack.
    #[error(
        "some rollouts of the batch have no column `{column}`; sample all of them in the same way (with or without exploration), and return the column in every forward pass"
    )]
    ColumnOfSomeRollouts {
        /// The column.
        column: String,
    },
    /// A column whose layout differs between the rollouts of a batch.
    #[error(
        "column `{column}` differs between the rollouts of the batch: {source}; return it with the same shape and kind in every forward pass"
    )]
    ColumnLayout {
        /// The column.
        column: String,
        /// The difference.
        source: Box<EnvError>,
    },
    /// A segment that was cut off, where there is no value to bootstrap from.
    #[error(
        "the experience has segments of episodes that were cut off, and their returns need the value of the last observation; use a critic (`use_critic`, `Trajectory::add_bootstrapped_returns_to_go`), or sample complete episodes (`batch_mode`) with an execution plan that allows them, such as `Synchronous`"
    )]
    NoBootstrap,
    /// Columns that are needed in host memory and are on an accelerator.
    #[error(
        "the columns of this experience are on an accelerator; sample with an environment on the host, or use the operations for tensors"
    )]
    OnDevice,
    /// A scalar that no optimizer of a loss owns.
    #[error(
        "no optimizer of this loss owns the scalar `{name}`; its scalars: [{known}]; return it from `optimizers` (`OptimizerGroup::scalars`){}",
        suggestion(name, known)
    )]
    UnknownScalar {
        /// The name of the scalar.
        name: String,
        /// The scalars of the loss.
        known: String,
    },
    /// A module whose gradients cannot be computed separately from its updates.
    #[error(
        "gradients of module `{id}` cannot be computed separately from its updates, because {reason}; use an execution plan other than `AsyncGradients`"
    )]
    NoGradientsApart {
        /// The id of the module.
        id: String,
        /// The reason.
        reason: String,
    },
    /// A loss whose minibatches several learners cannot share.
    #[error(
        "several learners cannot share the minibatches of module `{id}`, because {reason}; use one learner (`num_learners` 1), or another setting of the loss"
    )]
    NotShared {
        /// The id of the module.
        id: String,
        /// The reason.
        reason: String,
    },
    /// An operation that one learner of a group cannot do alone.
    #[error(
        "`{operation}` works on one learner alone, and this one is one of {learners}; use `learn`, or one learner (`num_learners` 1)"
    )]
    NotAlone {
        /// The method.
        operation: &'static str,
        /// The number of learners.
        learners: usize,
    },
    /// A learner of a group that failed. The update ended on all of them.
    #[error("learner {rank} failed, and the update ended on all learners: {source}")]
    OtherLearner {
        /// The rank of the learner.
        rank: usize,
        /// Its error.
        source: Box<Self>,
    },
    /// A learner of a group that panicked.
    #[error("the update panicked: {0}")]
    LearnerPanicked(String),
    /// The thread of a learner could not be started.
    #[error(
        "the thread of learner {rank} could not be started: {source}; raise the limit on threads of this process, or lower `num_learners`"
    )]
    NoThread {
        /// The rank of the learner.
        rank: usize,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A group of learners that failed.
    #[error(transparent)]
    Group(#[from] Fault),
    /// A loss that does not learn from replayed transitions.
    #[error(
        "the {loss} loss of module `{id}` learns from experience as it was sampled, not from replayed transitions; use an execution plan without replay, or an off-policy algorithm"
    )]
    NotReplayed {
        /// The id of the module.
        id: String,
        /// The name of the loss.
        loss: String,
    },
    /// A loss that learns from replayed transitions, which the execution plan does not have.
    #[error(
        "the {loss} loss of module `{id}` learns from replayed transitions; use the execution plan `Replay`"
    )]
    NeedsReplay {
        /// The id of the module.
        id: String,
        /// The name of the loss.
        loss: String,
    },
    /// A loss without the values per row that the execution plan reads.
    #[error(
        "the {loss} loss of module `{id}` returns no `{name}`, which the plan needs of each row (prioritized replay for its priorities): add them with `Losses::row_values`, or change the settings of the plan"
    )]
    NoRowValues {
        /// The id of the module.
        id: String,
        /// The name of the loss.
        loss: String,
        /// The name of the values.
        name: &'static str,
    },
    /// A replay buffer without a step.
    #[error("the replay buffer is empty; store experience before drawing from it")]
    EmptyReplay,
    /// Optimizers of a loss that do not fit its module.
    #[error("the optimizers of module `{id}` do not fit: {reason}")]
    Optimizers {
        /// The id of the module.
        id: String,
        /// The reason, with what to do.
        reason: String,
    },
    /// A loss of another shape, or one that does not depend on the parameters.
    #[error("the {loss} loss of module `{id}` {reason}")]
    InvalidLoss {
        /// The id of the module.
        id: String,
        /// The name of the loss.
        loss: String,
        /// The reason, with what to do.
        reason: String,
    },
    /// A panic in a method of a loss or a learner connector. Burn's operations panic if shapes do not match.
    #[error(
        "`{method}` of the {of} panicked for module `{id}`: {message}; if this is about shapes, compare the shapes of the columns and outputs that it combines"
    )]
    Panicked {
        /// The id of the module.
        id: String,
        /// The method.
        method: &'static str,
        /// The loss or connector.
        of: String,
        /// The message of the panic.
        message: String,
    },
    /// A module that failed to learn from a batch by itself.
    #[error("module `{id}` failed to learn, and no module has changed: {source}")]
    LearnOnBatch {
        /// The id of the module.
        id: String,
        /// The reason.
        source: Box<ModuleError>,
    },
    /// A module without rows to learn from.
    #[error("module `{0}` has no rows to learn from; sample more, or leave it out of the update")]
    EmptyBatch(String),
    /// A module that was built without the parts that training needs.
    #[error(
        "module `{id}` (`{module}`) was built with `inference_only` and cannot learn; build it without `inference_only`, or leave it out of `policies_to_train`"
    )]
    InferenceOnly {
        /// The id of the module.
        id: String,
        /// The type of the module.
        module: String,
    },
    /// A module whose action distribution does not have a quantity that a loss needs.
    #[error(
        "module `{id}` cannot learn with the {loss} loss: its action distribution {distribution} does not fit: {source}; use another action distribution, or leave the module out of `policies_to_train`"
    )]
    Distribution {
        /// The id of the module.
        id: String,
        /// The name of the distribution.
        distribution: &'static str,
        /// The name of the loss.
        loss: String,
        /// The missing quantity.
        source: Box<CatalogError>,
    },
    /// A path that names no component.
    #[error(
        "`{0}` is not a component of a learner that can be restored alone: use `rl_module`, `rl_module/<module_id>`, `optimizer`, `optimizer/<module_id>` (`optimizer/__all_modules__` if modules share parameters) or `optimizer/<module_id>/<name>`"
    )]
    UnknownComponent(String),
    /// Experience without a column that the loss needs.
    #[error(
        "the experience of module `{module}` has no column `{column}`, which the {loss} loss needs; {hint}"
    )]
    MissingColumn {
        /// The type of the module.
        module: String,
        /// The column.
        column: &'static str,
        /// The name of the loss.
        loss: String,
        /// Advice for the user.
        hint: &'static str,
    },
    /// A learner connector that is not registered.
    #[error(
        "the learner connector `{name}` is not registered in this program; call `register_learner_connector(\"{name}\", …)` before building or loading what uses it (registered: [{known}]){}",
        suggestion(name, known)
    )]
    UnregisteredConnector {
        /// The name in the configuration or checkpoint.
        name: String,
        /// Registered names.
        known: String,
    },
    /// A learner connector that changed the number of rows or the segments.
    #[error(
        "the learner connector `{connector}` changed the rows of module `{id}` from {expected} to {found}, or their segments; keep both, and change or add columns of as many rows"
    )]
    ConnectorRows {
        /// The id of the module.
        id: String,
        /// The name of the connector.
        connector: String,
        /// Number of rows before.
        expected: usize,
        /// Number of rows after.
        found: usize,
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
    /// An error of a user's loss.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl LearnerError {
    /// Wraps an error of a user's loss.
    #[must_use]
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}

/// The result of a fallible operation of this crate.
pub type Result<T, E = LearnerError> = std::result::Result<T, E>;
