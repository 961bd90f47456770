//! Errors of the algorithms crate.

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::CoreError;
use rekindle_env::EnvError;
use rekindle_env_runner::RunnerError;
use rekindle_learner::LearnerError;
use rekindle_metrics::MetricsError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

/// What can go wrong with an algorithm; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum AlgorithmError {
    /// A value that a setting does not allow.
    #[error("config: `{field}` is {value}, but {constraint}")]
    InvalidConfig {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        constraint: String,
    },
    /// Settings of one module that cannot be.
    #[error("config: the overrides for module `{id}` cannot be used: {reason}")]
    ModuleOverrides {
        /// The module.
        id: String,
        /// Why not.
        reason: String,
    },
    /// A configuration that cannot be read: an unknown key, a missing or a wrong value.
    #[error("config: {0}")]
    ConfigFormat(#[source] serde_json::Error),
    /// A checkpoint of something that is not an algorithm.
    #[error(
        "the checkpoint is not one of an algorithm; give the directory that `Algorithm::save_to_path` made, or restore a part of one with `Algorithm::restore_component`"
    )]
    NotAnAlgorithm,
    /// A checkpoint of another algorithm.
    #[error(
        "the checkpoint is of the algorithm `{found}`, not `{expected}`; restore it with the config of `{found}`"
    )]
    WrongAlgorithm {
        /// The algorithm asked for.
        expected: String,
        /// The algorithm in the file.
        found: String,
    },
    /// A component path that leads nowhere.
    #[error(
        "`{0}` is no component of an algorithm that can be restored alone: use `learner`, `learner/rl_module`, `learner/rl_module/<module_id>`, `learner/optimizer`, `learner/optimizer/<module_id>` or `env_runners`"
    )]
    UnknownComponent(String),
    /// A module for other observations or actions than those of the environment.
    #[error(
        "a module with the {field} {found} cannot replace `{id}`, whose {field} is {expected}; build it from the spec of `{id}` or with that space"
    )]
    OtherSpace {
        /// The module to replace.
        id: String,
        /// `observation space` or `action space`.
        field: &'static str,
        /// The space of the module that is there.
        expected: String,
        /// The space of the new one.
        found: String,
    },
    /// A callback or a custom evaluation function that returned an error.
    #[error("the callback `{hook}` failed: {source}")]
    Callback {
        /// The hook.
        hook: &'static str,
        /// What it returned.
        source: CallbackError,
    },
    /// A module that evaluation asks for and training does not have.
    #[error(
        "evaluation maps agents to module `{id}`, which is not one of the policies [{known}]; map them to one of those in `evaluation_config`"
    )]
    NoModuleToEvaluate {
        /// The module.
        id: String,
        /// The modules there are.
        known: String,
    },
    /// An evaluation environment of other spaces than that of training.
    #[error(
        "in evaluation, module `{id}` would see {found}, and it was made to see {expected}; evaluate in an environment of the same spaces"
    )]
    OtherSpacesInEvaluation {
        /// The module.
        id: String,
        /// Observation and action space in training.
        expected: String,
        /// Those in evaluation.
        found: String,
    },
    /// The learner failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// A runner failed.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// A module failed.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A model or distribution failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An environment failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Any error of users' code.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// A result of the algorithms crate.
pub type Result<T, E = AlgorithmError> = std::result::Result<T, E>;
