//! Errors of the rl-module crate.

use std::path::{Path, PathBuf};

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{CoreError, ModuleId};
use rekindle_env::{EnvError, suggestion};
use rekindle_onnx::OnnxError;
use thiserror::Error;

use crate::roles::Role;

/// An error of the rl-module crate. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ModuleError {
    /// A spec without a space.
    #[error(
        "the spec of module `{module}` has no {field}; set it with `RLModuleSpec::{field}`, or pass the spec to an algorithm, which fills it in from the environment for each module that an agent is mapped to"
    )]
    MissingSpace {
        /// Type of the module.
        module: String,
        /// `observation_space` or `action_space`.
        field: &'static str,
    },
    /// A model config that the module cannot read.
    #[error("the model config of module `{module}` is invalid: {source}")]
    ModelConfig {
        /// Type of the module.
        module: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// A model config that the module did not read.
    #[error(
        "module `{module}` was given a model config, but its `setup` does not read one; remove the config, or read it with `cx.model_config()`"
    )]
    UnusedModelConfig {
        /// Type of the module.
        module: String,
    },
    /// A training pass on a module built for inference only.
    #[error(
        "`forward_train` was called on module `{module}`, which was built with `inference_only`; build it without `inference_only` to train it"
    )]
    InferenceOnly {
        /// Type of the module.
        module: String,
    },
    /// A panic in a method of a module. Burn's operations panic if shapes do not match.
    #[error(
        "`{method}` of module `{module}` panicked: {message}; if this is about shapes, a layer was built for other inputs than it reads: compare `setup` with the passes"
    )]
    Panicked {
        /// Type of the module.
        module: String,
        /// Method.
        method: &'static str,
        /// Message of the panic.
        message: String,
    },
    /// A column that a method of a module could not read.
    #[error("`{method}` of module `{module}`: {source}")]
    Column {
        /// Type of the module.
        module: String,
        /// Method.
        method: &'static str,
        /// Cause.
        source: Box<CoreError>,
    },
    /// A random number that an exploration pass cannot draw.
    #[error("no random stream: {reason}")]
    NoRandomStream {
        /// Reason, with what to do.
        reason: String,
    },
    /// A choice among actions that are all masked.
    #[error(
        "row {row} of the batch cannot choose an action: all {choices} actions are masked; every mask must allow at least one action"
    )]
    AllMasked {
        /// The row, which is the index of the environment in a runner with one agent.
        row: usize,
        /// Number of actions.
        choices: usize,
    },
    /// The wrong number of values from a value function or critics.
    #[error(
        "`{method}` of module `{module}` returned {found} values for {expected} observations; return one for each"
    )]
    ValueCount {
        /// Type of the module.
        module: String,
        /// Method.
        method: &'static str,
        /// Number of observations.
        expected: usize,
        /// Number of values.
        found: usize,
    },
    /// An action space in which a module cannot act.
    #[error("module `{module}` cannot act in the action space {space}: {reason}")]
    ActionSpace {
        /// Type of the module.
        module: String,
        /// The space.
        space: String,
        /// Reason, and what to use instead.
        reason: &'static str,
    },
    /// A module without a role that a learner requires.
    #[error(
        "module `{module}` lacks the role {role}, which {needed_by} requires; implement `{shared}{role}` for it and return it from `{shared}RLModule::{accessor}`",
        shared = if *is_shared { "Shared" } else { "" },
        accessor = role.accessor()
    )]
    MissingRole {
        /// Type of the module.
        module: String,
        /// Role.
        role: Role,
        /// What requires the role.
        needed_by: String,
        /// Whether the module is a part of a shared module, which has the roles of its parts.
        is_shared: bool,
    },
    /// A module that learns from a batch by itself and does not do what
    /// [`LearnOnBatch`](crate::LearnOnBatch) asks for.
    #[error("`{method}` of module `{module}` {reason}")]
    LearnOnBatch {
        /// Type of the module.
        module: String,
        /// Method.
        method: &'static str,
        /// What is wrong, with what to do.
        reason: String,
    },
    /// A type name that is not registered.
    #[error(
        "the {kind} `{name}` is not registered in this program; call `{register}` before loading (registered: [{known}]); if it is the same type in another program, override `type_name` so that both return one name{}",
        suggestion(name, known)
    )]
    NotRegistered {
        /// `module type` or `catalog`.
        kind: &'static str,
        /// Name in the checkpoint.
        name: String,
        /// Function to call.
        register: &'static str,
        /// Registered names.
        known: String,
    },
    /// A checkpoint of something other than a module.
    #[error(
        "the checkpoint is not one of a module; pass the directory of a module, which is `learner/rl_module/<module_id>` in a checkpoint of an algorithm"
    )]
    NotAModule,
    /// A checkpoint of another module type.
    #[error(
        "the checkpoint holds a module of type `{found}`, not `{expected}`; restore it as that type, or, if it is the same type in another program, override `type_name` so that both return one name"
    )]
    WrongType {
        /// Requested type.
        expected: String,
        /// Type in the checkpoint.
        found: String,
    },
    /// A checkpoint of a module for another space.
    #[error(
        "the checkpoint holds a module for the {field} {saved}, but this module is for {here}; restore it into a module for the same space, or take its weights alone with `load_state_dict`"
    )]
    OtherSpace {
        /// `observation_space` or `action_space`.
        field: &'static str,
        /// Space in the checkpoint.
        saved: String,
        /// Space of the module.
        here: String,
    },
    /// One of several modules, which cannot be built.
    #[error("module `{id}` cannot be built: {source}")]
    Build {
        /// Id of the module.
        id: ModuleId,
        /// Cause.
        source: Box<Self>,
    },
    /// A module id that already exists.
    #[error(
        "there already is a module `{0}`; remove it first, or set `override_existing` to replace it"
    )]
    DuplicateModule(String),
    /// An unknown module id.
    #[error("no module is named `{id}`{}; available: [{available}]", suggestion(id, available))]
    UnknownModule {
        /// Requested id.
        id: String,
        /// Existing ids.
        available: String,
    },
    /// A module id that cannot name a directory.
    #[error(
        "invalid module id `{0}`: an id must not be empty, have more than 255 bytes, contain any of `< > : \" / \\ | ? *` or control characters, begin with a dot, end with a dot or a space, be a name that Windows or a checkpoint reserves, such as `con` or `state.json`, or be `{all}`, which stands for all modules",
        all = rekindle_core::ALL_MODULES
    )]
    InvalidModuleId(String),
    /// Weights of another library that a name map does not cover.
    #[error(
        "the name map has no rule for [{}]; add one with `NameMap::rename`, `NameMap::mlp` or `NameMap::cnn`, or leave them out with `NameMap::ignore` if the module does not need them",
        names.join(", ")
    )]
    UnmappedWeights {
        /// Their names in the other library.
        names: Vec<String>,
    },
    /// A weight of another library whose values a name map cannot change as it says.
    #[error(
        "the name map cannot convert the weight `{name}`: {reason}; check the file and the rules of the map that name it"
    )]
    UnconvertibleWeight {
        /// Its name in the other library.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// Two weights of another library that a name map gives the same name.
    #[error(
        "the name map gives `{from}` the name `{name}`, which another weight already has; leave one of them out with `NameMap::ignore`, or give it another name with `NameMap::rename`"
    )]
    ClashingWeights {
        /// The name of both.
        name: String,
        /// The second one's name in the other library.
        from: String,
    },
    /// A target network without a matching main network.
    #[error(
        "the target network `{target}` cannot be updated from `{main}`: {reason}; `TargetNetwork::target_network_pairs` must name equal parts of the module, the main one first"
    )]
    TargetPair {
        /// Prefix of the main network's parameters.
        main: String,
        /// Prefix of the target network's parameters.
        target: String,
        /// Reason.
        reason: String,
    },
    /// An invalid step of target networks.
    #[error("`tau` is {0}, but it must be between 0 (targets stay) and 1 (targets become copies)")]
    InvalidTau(f64),
    /// Weights of a spec that could not be loaded.
    #[error("the weights at `{}` could not be loaded: {source}", path.display())]
    LoadState {
        /// `load_state_path` of the spec.
        path: PathBuf,
        /// Cause.
        source: Box<Self>,
    },
    /// A combination of modules, or of modules and checkpoints, that is not possible.
    #[error("{0}")]
    Mismatch(String),
    /// An error of a model or distribution.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An error of a batch, tensor, device or set of weights.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An error of a space.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// An error of a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A part that cannot be exported to ONNX.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// An error from a user's module.
    #[error(transparent)]
    Custom(Box<dyn std::error::Error + Send + Sync>),
}

impl ModuleError {
    pub(crate) fn unknown<'a>(id: &str, available: impl Iterator<Item = &'a ModuleId>) -> Self {
        let available = available.cloned().collect::<Vec<_>>().join(", ");
        Self::UnknownModule { id: id.into(), available }
    }

    pub(crate) fn load_state(path: &Path, source: Self) -> Self {
        Self::LoadState { path: path.into(), source: Box::new(source) }
    }

    /// Wraps an error from a user's module.
    #[must_use]
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}

/// A result of the rl-module crate.
pub type Result<T, E = ModuleError> = std::result::Result<T, E>;
