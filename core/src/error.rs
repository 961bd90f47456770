//! The error type of this crate.

use thiserror::Error;

use rekindle_checkpoint::CheckpointError;
use rekindle_env::suggestion;

use crate::any_tensor::TensorKind;

/// An error of batches, tensors, weights or devices. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum CoreError {
    /// A column is not in the batch.
    #[error(
        "column `{column}` is not in the batch{}; available: [{available}]",
        suggestion(column, available)
    )]
    MissingColumn {
        /// The requested column.
        column: String,
        /// The available columns, comma separated.
        available: String,
    },
    /// A column has another kind or rank than requested.
    #[error("column `{column}`: expected {expected}, found {found}")]
    ColumnKind {
        /// The requested column.
        column: String,
        /// The requested kind and rank.
        expected: String,
        /// The kind and shape found.
        found: String,
    },
    /// A tensor is of another kind or rank than requested.
    #[error("expected {expected}, found {found}")]
    TensorKind {
        /// The requested kind and rank.
        expected: String,
        /// The kind and shape found.
        found: String,
    },
    /// A column has another number of rows than its batch.
    #[error(
        "column `{column}` has {found} rows, the batch has {expected}; all columns of a batch need the same number of rows"
    )]
    RowCount {
        /// The column.
        column: String,
        /// The rows of the batch.
        expected: usize,
        /// The rows of the column.
        found: usize,
    },
    /// A tensor with no dimensions or more than are supported.
    #[error("a tensor of shape {shape:?} has {} dimensions; 1 to {max} are supported", shape.len())]
    Rank {
        /// The shape of the tensor.
        shape: Vec<usize>,
        /// The most dimensions supported.
        max: usize,
    },
    /// Values could not be read back from a device.
    #[error("could not read a tensor back from its device: {0}")]
    DeviceRead(String),
    /// A device name that does not exist.
    #[error(
        "unknown device `{0}`: use `auto`, `cpu` (also `flex`), `wgpu`, `wgpu:N`, `cuda` or `cuda:N`"
    )]
    UnknownDevice(String),
    /// A device whose backend is not part of this build.
    #[error(
        "device `{device}` needs the Cargo feature `{feature}`, which this build lacks; rebuild with `--features {feature}`"
    )]
    DeviceNotCompiledIn {
        /// The requested device.
        device: String,
        /// The Cargo feature that compiles its backend in.
        feature: &'static str,
    },
    /// A device whose backend is compiled in but that this machine cannot use.
    #[error("device `{device}` cannot be used here: {reason}")]
    DeviceUnavailable {
        /// The requested device.
        device: String,
        /// Why opening it failed.
        reason: String,
    },
    /// Weights whose names differ from the module's parameters.
    #[error(
        "the weights do not fit the module: {}; build the module with the settings that the weights were saved with (for the default module, `fcnet_hiddens` and its like), or rename the weights",
        [("missing", missing), ("unexpected", unexpected)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} [{}]", names.join(", ")))
            .collect::<Vec<_>>()
            .join(", ")
    )]
    WeightNames {
        /// Parameters of the module without a weight.
        missing: Vec<String>,
        /// Weights without a parameter.
        unexpected: Vec<String>,
    },
    /// A weight of another shape than its parameter.
    #[error(
        "weight `{name}` has shape {found:?}, the module's parameter has {expected:?}; build the module with the settings that the weights were saved with"
    )]
    WeightShape {
        /// The parameter.
        name: String,
        /// Its shape in the module, in the file's layout.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A weight whose elements are of another kind than its parameter.
    #[error(
        "weight `{name}` has elements of type {found}, which a {expected} parameter cannot take; save it as {}",
        match expected { TensorKind::Float => "floats", TensorKind::Int => "integers", TensorKind::Bool => "booleans" }
    )]
    WeightKind {
        /// The parameter.
        name: String,
        /// The kind of the parameter.
        expected: TensorKind,
        /// The element type in the file, by its safetensors name.
        found: &'static str,
    },
    /// A weight with a value that its parameter cannot hold.
    #[error(
        "weight `{name}` has the value {value} at {index:?}; parameters hold finite 32-bit numbers, so repair the weights or save them again"
    )]
    WeightValue {
        /// The parameter.
        name: String,
        /// The coordinates of the value.
        index: Vec<usize>,
        /// The value.
        value: String,
    },
    /// An integer that tensors of the device cannot hold.
    #[error(
        "the integer {value} does not fit into the device's 32-bit integers; subtract an offset, or pass it as a float"
    )]
    IntRange {
        /// The first integer that does not fit.
        value: i64,
    },
    /// A nested column with other parts than the Dict or Tuple that it is read into.
    #[error(
        "a nested column has the parts [{found}], but the Dict or Tuple has [{expected}]; return a column for each of its parts, and no others"
    )]
    ColumnParts {
        /// The keys or positions of the Dict or Tuple.
        expected: String,
        /// The columns of the nested batch.
        found: String,
    },
    /// A parameter with more dimensions than modules may have.
    #[error(
        "the parameter `{name}` has more than {max} dimensions; give it fewer, and reshape it where it is used"
    )]
    ParameterRank {
        /// The parameter.
        name: String,
        /// The largest number of dimensions.
        max: usize,
    },
    /// Two parameters of a module carry the same name.
    #[error("two parameters of the module are called `{0}`; give the fields different names")]
    DuplicateParameter(String),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A space, buffer or environment failed.
    #[error(transparent)]
    Env(#[from] rekindle_env::EnvError),
    /// JSON data that does not have the expected form.
    #[error("{what}: {source}")]
    Json {
        /// What was being read or written.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The result of an operation of this crate.
pub type Result<T, E = CoreError> = std::result::Result<T, E>;
