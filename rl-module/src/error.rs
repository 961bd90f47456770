//! Errors of the rl-module crate.

use std::path::{Path, PathBuf};

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{CoreError, ModuleId};
use rekindle_env::EnvError;
use thiserror::Error;

use crate::Role;

/// What can go wrong with a module; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ModuleError {
    /// A spec that lacks a space.
    #[error(
        "the spec of module `{module}` has no {field}; set it with `RLModuleSpec::{field}`, or pass the spec to an algorithm, which fills it from the environment"
    )]
    MissingSpace {
        /// The type of the module.
        module: String,
        /// `observation_space` or `action_space`.
        field: &'static str,
    },
    /// A model configuration that is not what the module reads.
    #[error("the model config of module `{module}` cannot be read: {source}")]
    ModelConfig {
        /// The type of the module.
        module: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A model configuration that the module never read.
    #[error(
        "module `{module}` was given a model config, but its `setup` does not read one; remove the config, or read it with `cx.model_config()`"
    )]
    UnusedModelConfig {
        /// The type of the module.
        module: String,
    },
    /// A training pass on a module built for inference only.
    #[error(
        "`forward_train` was called on module `{module}`, which was built with `inference_only`; build it without to train it"
    )]
    InferenceOnly {
        /// The type of the module.
        module: String,
    },
    /// A method of a module that panicked, as Burn's operations do if shapes do not fit.
    #[error(
        "`{method}` of module `{module}` panicked: {message}; if that is about shapes, some layer was built for other inputs than it reads: compare `setup` with the passes"
    )]
    Panicked {
        /// The type of the module.
        module: String,
        /// The method.
        method: &'static str,
        /// What it said.
        message: String,
    },
    /// A value function with more or fewer values than observations.
    #[error(
        "`compute_values` of module `{module}` put out {found} values for {expected} observations; return one for each, of shape `[B]`"
    )]
    ValueCount {
        /// The type of the module.
        module: String,
        /// The number of observations.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// A module that lacks a role a learner needs.
    #[error(
        "module `{module}` lacks the role {role}, which {needed_by} needs; implement `{role}` for it and return it from `RLModule::{accessor}`",
        accessor = role.accessor()
    )]
    MissingRole {
        /// The type of the module.
        module: String,
        /// The role.
        role: Role,
        /// Who needs it.
        needed_by: String,
    },
    /// A type name that nothing was registered under.
    #[error(
        "the {kind} `{name}` is not registered in this program; call `{register}` before loading (registered: [{known}])"
    )]
    NotRegistered {
        /// `module type` or `catalog`.
        kind: &'static str,
        /// The name in the file.
        name: String,
        /// The function to call.
        register: &'static str,
        /// The names there are.
        known: String,
    },
    /// A checkpoint of something that is not a module.
    #[error(
        "the checkpoint is not one of a module; give the directory of one, inside a checkpoint of an algorithm `learner/rl_module/<module_id>`"
    )]
    NotAModule,
    /// A checkpoint of another module type.
    #[error(
        "the checkpoint holds a module of type `{found}`, not `{expected}`; restore it as that type"
    )]
    WrongType {
        /// The type asked for.
        expected: String,
        /// The type in the file.
        found: String,
    },
    /// A module id that is taken.
    #[error("there is a module `{0}` already; remove it first, or add with `override_existing`")]
    DuplicateModule(String),
    /// A module id that is not there.
    #[error("there is no module `{id}`; available: [{available}]")]
    UnknownModule {
        /// The id asked for.
        id: String,
        /// The ids there are.
        available: String,
    },
    /// A module id that cannot name a directory.
    #[error(
        "`{0}` is no module id: it must not be empty, contain any of `< > : \" / \\ | ? *` or control characters, begin with a dot, end with a dot or a space, or be `{all}`, which stands for all modules",
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
    /// Target parameters that have no counterpart to follow.
    #[error(
        "the target network `{target}` cannot follow `{main}`: {reason}; `TargetNetwork::target_network_pairs` must name equal parts of the module, the main one first"
    )]
    TargetPair {
        /// The prefix of the main network's parameters.
        main: String,
        /// The prefix of the target network's parameters.
        target: String,
        /// Why not.
        reason: String,
    },
    /// A share of the main network that is none.
    #[error("`tau` is {0}, but it must be between 0 (targets stay) and 1 (targets are copies)")]
    InvalidTau(f64),
    /// Weights that a spec names and that could not be loaded.
    #[error("the weights at `{}` could not be loaded: {source}", path.display())]
    LoadState {
        /// The `load_state_path`.
        path: PathBuf,
        /// The cause.
        source: Box<Self>,
    },
    /// A single module where a multi-module was meant, or the other way round.
    #[error("{0}")]
    Mismatch(String),
    /// A model or distribution could not be built.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor, device or set of weights failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A space failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An error of a user's module.
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

    /// Wraps an error of a user's own.
    pub fn custom(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom(error.into())
    }
}

/// A result of the rl-module crate.
pub type Result<T, E = ModuleError> = std::result::Result<T, E>;
