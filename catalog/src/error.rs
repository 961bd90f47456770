//! Errors of the catalog crate.

use rekindle_core::{ConfigError, CoreError};
use rekindle_env::EnvError;
use rekindle_onnx::OnnxError;
use thiserror::Error;

/// An error of the catalog crate. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum CatalogError {
    /// An observation space without a default encoder.
    #[error(
        "there is no default encoder for the observation space {space}: {reason}, or override `Catalog::build_encoder` for it"
    )]
    NoEncoder {
        /// The space.
        space: String,
        /// Reason, and what to use instead.
        reason: &'static str,
    },
    /// An observation space that looks like images `[channels, height, width]`.
    #[error(
        "the observation space {space} looks like images with their channels first, but encoders read [height, width, channels]; transpose the images in the environment or with a connector, or override `Catalog::build_encoder` for the space"
    )]
    ChannelsFirst {
        /// The space.
        space: String,
    },
    /// An action space without a default distribution.
    #[error(
        "there is no default action distribution for the action space {space}: {reason}; override `Catalog::action_distribution` for it"
    )]
    NoDistribution {
        /// The space.
        space: String,
        /// Reason, and what to use instead.
        reason: &'static str,
    },
    /// Bounds that samples cannot be squashed into.
    #[error(
        "{distribution} needs finite bounds with low < high, but element {element} has [{low:?}, {high:?}]; bound the Box, or use DiagGaussian"
    )]
    InvalidBounds {
        /// The distribution.
        distribution: &'static str,
        /// Index of the first element with invalid bounds.
        element: usize,
        /// Its lower bound.
        low: f32,
        /// Its upper bound.
        high: f32,
    },
    /// A quantity that a distribution does not have.
    #[error(
        "{distribution} has no {quantity}; choose another distribution in `Catalog::action_distribution`, or an algorithm that does not need it"
    )]
    Undefined {
        /// The distribution.
        distribution: &'static str,
        /// The quantity, such as `entropy`.
        quantity: &'static str,
    },
    /// A choice among actions that are all masked.
    #[error(
        "{distribution} cannot choose an action: all {choices} actions are masked; every mask must allow at least one action"
    )]
    AllMasked {
        /// The distribution.
        distribution: &'static str,
        /// Number of actions.
        choices: usize,
    },
    /// An input of a distribution that is not finite.
    #[error(
        "{distribution} cannot choose an action: input {index} is {value}; the policy has diverged, or its observations are not finite"
    )]
    InvalidInput {
        /// The distribution.
        distribution: &'static str,
        /// Index of the input in the row.
        index: usize,
        /// The input.
        value: f32,
    },
    /// An action that is not finite.
    #[error(
        "{distribution} got an invalid action: element {index} is {value}; the policy has diverged, or its observations are not finite"
    )]
    InvalidAction {
        /// The distribution.
        distribution: &'static str,
        /// Index of the element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// Actions whose shape or kind does not fit the distribution.
    #[error("{distribution} takes actions of shape {expected:?}, got {found}")]
    ActionShape {
        /// The distribution.
        distribution: &'static str,
        /// Expected shape. For a batch, its first element is the number of rows.
        expected: Vec<usize>,
        /// Description of the given actions.
        found: String,
    },
    /// A setting with an invalid value.
    #[error("model config: {0}")]
    Config(#[from] ConfigError),
    /// A setting that has no effect with the spaces or the other settings.
    #[error("model config: `{field}` does not apply here: {reason}")]
    Inapplicable {
        /// The field.
        field: String,
        /// Reason, and what to do.
        reason: String,
    },
    /// The wrong number of inputs for a distribution.
    #[error("{distribution} takes {expected} inputs per row, got {found}")]
    InputDim {
        /// The distribution.
        distribution: String,
        /// Expected number of inputs.
        expected: usize,
        /// Given number of inputs.
        found: usize,
    },
    /// An encoder whose output width differs from its `output_dim`.
    #[error(
        "the encoder of the observation space {space} returns {found} features per row, but its `output_dim` is {announced}; make the two agree"
    )]
    OutputDim {
        /// The space.
        space: String,
        /// Result of `Encoder::output_dim`.
        announced: usize,
        /// Number of features that `Encoder::forward` returned.
        found: usize,
    },
    /// Actions that are not nested, for a distribution over a Dict or Tuple.
    #[error(
        "MultiDistribution takes nested actions with the columns [{}], got {found}", columns.join(", ")
    )]
    NotNested {
        /// The expected columns.
        columns: Vec<String>,
        /// Description of the given actions.
        found: String,
    },
    /// Networks that cannot be computed together.
    #[error("an ensemble of networks cannot be built: {reason}")]
    Ensemble {
        /// Reason, with what to do.
        reason: &'static str,
    },
    /// An error of a batch, tensor or device.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An error of a space or buffer.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A part that cannot be exported to ONNX.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

/// A result of the catalog crate.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;
