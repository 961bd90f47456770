//! Errors of the catalog crate.

use rekindle_core::CoreError;
use rekindle_env::EnvError;
use thiserror::Error;

/// What can go wrong between a space and a model; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum CatalogError {
    /// No default encoder reads this observation space.
    #[error(
        "there is no default encoder for the observation space {space}; override `Catalog::build_encoder` for it, or flatten it with a connector"
    )]
    NoEncoder {
        /// The space.
        space: String,
    },
    /// No default distribution draws from this action space.
    #[error(
        "there is no default action distribution for the action space {space}; override `Catalog::action_distribution` for it"
    )]
    NoDistribution {
        /// The space.
        space: String,
    },
    /// A value that a model configuration does not allow.
    #[error("model config: `{field}` is {value}, but {constraint}")]
    InvalidConfig {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        constraint: String,
    },
    /// A setting that has no meaning together with the spaces or other settings.
    #[error("model config: `{field}` does not apply here: {reason}")]
    Inapplicable {
        /// The field.
        field: &'static str,
        /// Why not.
        reason: String,
    },
    /// A number of distribution inputs that does not fit.
    #[error("{distribution} takes {expected} inputs a row, got {found}")]
    InputDim {
        /// The distribution.
        distribution: String,
        /// Inputs needed.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A space or buffer failed.
    #[error(transparent)]
    Env(#[from] EnvError),
}

/// A result of the catalog crate.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;
