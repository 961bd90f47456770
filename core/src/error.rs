//! Errors of the core crate.

use thiserror::Error;

use rekindle_checkpoint::CheckpointError;

/// What can go wrong in the core crate; every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum CoreError {
    /// A column is not in the batch.
    #[error("column `{column}` is not in the batch; available: [{available}]")]
    MissingColumn {
        /// The column asked for.
        column: String,
        /// The columns there are, comma separated.
        available: String,
    },
    /// A column is there, but of another kind or rank.
    #[error("column `{column}`: expected {expected}, found {found}")]
    ColumnKind {
        /// The column asked for.
        column: String,
        /// The kind and rank asked for.
        expected: String,
        /// The kind and shape found.
        found: String,
    },
    /// A tensor is of another kind or rank than asked for.
    #[error("expected {expected}, found {found}")]
    TensorKind {
        /// The kind and rank asked for.
        expected: String,
        /// The kind and shape found.
        found: String,
    },
    /// Two columns of one batch differ in their number of rows.
    #[error(
        "column `{column}` has {found} rows, the batch has {expected}: columns of a batch are equally long"
    )]
    RowCount {
        /// The column that does not fit.
        column: String,
        /// The rows of the batch.
        expected: usize,
        /// The rows of the column.
        found: usize,
    },
    /// A tensor of more dimensions than Burn modules use here.
    #[error("a tensor of shape {shape:?} has {} dimensions; 1 to {max} are supported", shape.len())]
    Rank {
        /// The shape met.
        shape: Vec<usize>,
        /// The most dimensions supported.
        max: usize,
    },
    /// Values could not be read back from a device.
    #[error("could not read a tensor back from its device: {0}")]
    DeviceRead(String),
    /// A device string that means nothing.
    #[error(
        "`{0}` is no device: use `auto`, `cpu` (also `flex`), `wgpu`, `wgpu:N`, `cuda` or `cuda:N`"
    )]
    UnknownDevice(String),
    /// A device whose backend is not part of this build.
    #[error(
        "device `{device}` needs the Cargo feature `{feature}`, which this build lacks; rebuild with `--features {feature}`"
    )]
    DeviceNotCompiledIn {
        /// The device asked for.
        device: String,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// A device that is compiled in but cannot be used on this machine.
    #[error("device `{device}` cannot be used here: {reason}")]
    DeviceUnavailable {
        /// The device asked for.
        device: String,
        /// What the probe met.
        reason: String,
    },
    /// Parameter names that do not match between a module and a set of weights.
    #[error(
        "the weights do not fit the module: missing [{}], unexpected [{}]; save and restore the same module, or rename the weights",
        missing.join(", "), unexpected.join(", ")
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
    /// Two parameters of a module carry the same name.
    #[error("two parameters of the module are called `{0}`; give the fields different names")]
    DuplicateParameter(String),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A space, buffer or environment failed.
    #[error(transparent)]
    Env(#[from] rekindle_env::EnvError),
    /// Data that does not have the expected form.
    #[error("{what}: {source}")]
    Json {
        /// What was being read or written.
        what: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// A result of the core crate.
pub type Result<T, E = CoreError> = std::result::Result<T, E>;
