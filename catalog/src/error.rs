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
        "there is no default action distribution for the action space {space}: {reason}; override `Catalog::action_distribution` for it"
    )]
    NoDistribution {
        /// The space.
        space: String,
        /// Why not, and what to use instead.
        reason: &'static str,
    },
    /// Bounds that a distribution cannot squash its samples into.
    #[error(
        "{distribution} needs finite bounds with low < high, element {element} has [{low:?}, {high:?}]; bound the Box, or use DiagGaussian"
    )]
    InvalidBounds {
        /// The distribution.
        distribution: &'static str,
        /// The first element whose bounds do not do.
        element: usize,
        /// Its lower bound.
        low: f32,
        /// Its upper bound.
        high: f32,
    },
    /// A quantity for which a distribution has no formula.
    #[error(
        "{distribution} has no {quantity} in closed form; estimate it from log-probabilities of samples, or choose another distribution in `Catalog::action_distribution`"
    )]
    NoClosedForm {
        /// The distribution.
        distribution: &'static str,
        /// What was asked for.
        quantity: &'static str,
    },
    /// A choice among actions none of which is allowed.
    #[error(
        "{distribution} cannot choose: all {choices} actions are masked; every mask has to leave at least one action"
    )]
    AllMasked {
        /// The distribution.
        distribution: &'static str,
        /// The number of actions.
        choices: usize,
    },
    /// A logit from which no probability follows.
    #[error(
        "{distribution} cannot choose: logit {index} is {value}; the policy has diverged, or its observations are not finite"
    )]
    InvalidLogit {
        /// The distribution.
        distribution: &'static str,
        /// The place of the logit.
        index: usize,
        /// The logit.
        value: f32,
    },
    /// Actions of another shape or kind than a distribution is over.
    #[error("{distribution} takes actions of shape {expected:?}, got {found}")]
    ActionShape {
        /// The distribution.
        distribution: &'static str,
        /// The shape, rows first where there are several.
        expected: Vec<usize>,
        /// What was given, in words.
        found: String,
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
        field: String,
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
    /// An encoder that puts out another number of features than it says.
    #[error(
        "the encoder of the observation space {space} puts out {found} features a row, but its `output_dim` is {announced}; make the two agree"
    )]
    OutputDim {
        /// The space.
        space: String,
        /// What `Encoder::output_dim` says.
        announced: usize,
        /// What `Encoder::forward` puts out.
        found: usize,
    },
    /// Actions without parts for a distribution over parts.
    #[error(
        "MultiDistribution takes nested actions with the columns [{}], got {found}", columns.join(", ")
    )]
    NotNested {
        /// The columns needed.
        columns: Vec<String>,
        /// What was given, in words.
        found: String,
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
