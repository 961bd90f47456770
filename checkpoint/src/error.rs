//! The error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of a checkpoint operation.
pub(super) type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// An error of saving, reading or interpreting a checkpoint.
///
/// Variants that concern a file name it, and every message says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused an operation.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The operation as a verb: `read`, `write`, `rename`, ….
        action: &'static str,
        /// The file or directory of the operation.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// The path does not hold a checkpoint.
    #[error(
        "no checkpoint at `{}` (no `manifest.json` there): give the directory that was saved to, \
         or the directory of one of its components",
        path.display()
    )]
    NotFound {
        /// The given path.
        path: PathBuf,
    },

    /// The manifest belongs to another program.
    #[error(
        "`{}` says its format is `{found}`, which is not that of a rekindle checkpoint: \
         check the path",
        path.display()
    )]
    UnknownFormat {
        /// The manifest.
        path: PathBuf,
        /// The format it names.
        found: String,
    },

    /// The checkpoint has a format version that this library cannot read.
    #[error(
        "`{}` is in format version {found} and this library reads version {supported}: \
         use the version of rekindle that wrote it, or a newer one",
        path.display()
    )]
    UnsupportedVersion {
        /// The manifest.
        path: PathBuf,
        /// The version it names.
        found: u64,
        /// The version this library reads and writes.
        supported: u64,
    },

    /// A file of the manifest's list is missing.
    #[error("`{}` is missing: the checkpoint is incomplete; use another copy", path.display())]
    MissingFile {
        /// The missing file.
        path: PathBuf,
    },

    /// The length of a file differs from the manifest.
    #[error(
        "`{}` has {found} bytes where the manifest says {expected}: it was truncated or replaced; \
         use another copy of the checkpoint",
        path.display()
    )]
    SizeMismatch {
        /// The file.
        path: PathBuf,
        /// Its length in bytes when it was saved.
        expected: u64,
        /// Its length in bytes now.
        found: u64,
    },

    /// The bytes of a file differ from those that were saved.
    #[error(
        "the SHA-256 of `{}` is not the recorded one: the file is damaged or belongs to another \
         checkpoint; use another copy",
        path.display()
    )]
    ChecksumMismatch {
        /// The file.
        path: PathBuf,
    },

    /// A file has invalid contents.
    #[error(
        "`{}` is not valid: {reason}; the file is damaged or was not written by rekindle; \
         use another copy of the checkpoint",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is invalid in its contents.
        reason: String,
    },

    /// A file of another program cannot be read as safetensors.
    #[error(
        "cannot read tensors from `{}`: {reason}; write it with `safetensors.torch.save_file`, \
         with parameters of 16, 32 or 64-bit floats",
        path.display()
    )]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is invalid in its contents.
        reason: String,
    },

    /// There is a symbolic link, pipe or device where a checkpoint has a file or directory.
    #[error(
        "`{}` is not a regular {expected}: symbolic links and special files inside a checkpoint \
         are not followed, copy the real {expected} there",
        path.display()
    )]
    Irregular {
        /// The link or special file.
        path: PathBuf,
        /// What is expected there: `file` or `directory`.
        expected: &'static str,
    },

    /// The target of a save holds something that no save has created.
    #[error("will not save over `{}`: {reason}; choose another path or move it away", path.display())]
    Occupied {
        /// The file or directory in the way.
        path: PathBuf,
        /// Why it is not replaced.
        reason: String,
    },

    /// The path cannot be saved to.
    #[error("cannot save to `{}`: {reason}", path.display())]
    InvalidPath {
        /// The given path.
        path: PathBuf,
        /// What is invalid in it.
        reason: &'static str,
    },

    /// A component or tensor has a name that a checkpoint cannot hold.
    #[error("`{}` is not a usable name: {reason}", name.escape_debug())]
    InvalidName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },

    /// A state exceeds a limit of the format.
    #[error("{what} exceeds the format's limit of {limit}")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// The largest allowed value.
        limit: usize,
    },

    /// A state or checkpoint does not have the component.
    #[error("no component `{name}` in {within}; it has {}", list(available))]
    NoSuchComponent {
        /// The given name.
        name: String,
        /// Where the name was looked up.
        within: String,
        /// The available components.
        available: Vec<String>,
    },

    /// A state does not have the tensor.
    #[error("no tensor `{name}` in the state; it has {}", list(available))]
    NoSuchTensor {
        /// The given name.
        name: String,
        /// The available tensors.
        available: Vec<String>,
    },

    /// The product of a shape is not the number of elements.
    #[error(
        "shape {shape:?} does not describe {len} elements; pass as many elements as the product of the shape"
    )]
    ShapeMismatch {
        /// The shape.
        shape: Vec<usize>,
        /// The number of elements.
        len: usize,
    },

    /// An array has another element type than requested.
    #[error("the array holds {found} elements, not {expected}")]
    DtypeMismatch {
        /// The requested element type.
        expected: &'static str,
        /// The element type of the array.
        found: &'static str,
    },

    /// A value cannot be stored as data.
    #[error("a value of type `{type_name}` cannot be stored as checkpoint data: {reason}")]
    Unrepresentable {
        /// The Rust type of the value.
        type_name: &'static str,
        /// Why JSON cannot hold it.
        reason: String,
    },

    /// The data of a state do not describe the expected type.
    #[error(
        "the state's data is not a `{expected}`: {source}; pass the state or the directory that this type saved"
    )]
    UnexpectedData {
        /// The Rust type that was expected.
        expected: &'static str,
        /// How the data differ from that type.
        source: serde_json::Error,
    },
}

impl CheckpointError {
    /// Wraps an I/O error; for use in `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    pub(super) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
