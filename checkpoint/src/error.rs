//! What can go wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The result of a checkpoint operation.
pub(super) type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// An error of saving, reading or interpreting a checkpoint.
///
/// Every variant that concerns a file names it, and every message ends in what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused an operation.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `rename`, ….
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// There is no checkpoint at the path.
    #[error(
        "no checkpoint at `{}` (no `manifest.json` there): give the directory that was saved to, \
         or the directory of one of its components",
        path.display()
    )]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },

    /// The manifest belongs to some other program.
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

    /// The checkpoint was written in a format version that this library cannot read.
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

    /// A file that the manifest lists is not there.
    #[error("`{}` is missing: the checkpoint is incomplete, use another copy", path.display())]
    MissingFile {
        /// The missing file.
        path: PathBuf,
    },

    /// A file is longer or shorter than the manifest says.
    #[error(
        "`{}` has {found} bytes where the manifest says {expected}: it was truncated or replaced, \
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

    /// A file does not have the bytes that were saved.
    #[error(
        "the SHA-256 of `{}` is not the recorded one: the file is damaged or belongs to another \
         checkpoint, use another copy",
        path.display()
    )]
    ChecksumMismatch {
        /// The file.
        path: PathBuf,
    },

    /// A file cannot be understood.
    #[error(
        "`{}` is not valid: {reason}; the file is damaged or was not written by rekindle, \
         use another copy of the checkpoint",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
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
        /// What is wrong with its contents.
        reason: String,
    },

    /// A symbolic link, pipe or device stands where a file or directory of a checkpoint belongs.
    #[error(
        "`{}` is not a regular {expected}: symbolic links and special files inside a checkpoint \
         are not followed, copy the real {expected} there",
        path.display()
    )]
    Irregular {
        /// What was found.
        path: PathBuf,
        /// What belongs there: `file` or `directory`.
        expected: &'static str,
    },

    /// Something at the target of a save is not ours to replace.
    #[error("will not save over `{}`: {reason}; choose another path or move it away", path.display())]
    Occupied {
        /// What stands in the way.
        path: PathBuf,
        /// Why it is not replaced.
        reason: String,
    },

    /// The path cannot be saved to.
    #[error("cannot save to `{}`: {reason}", path.display())]
    InvalidPath {
        /// The path that was asked for.
        path: PathBuf,
        /// What is wrong with it.
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

    /// A component is not in the state or checkpoint.
    #[error("no component `{name}` in {within}; it has {}", list(available))]
    NoSuchComponent {
        /// The name that was looked for.
        name: String,
        /// Where it was looked for.
        within: String,
        /// The components that are there.
        available: Vec<String>,
    },

    /// A tensor is not in the state.
    #[error("no tensor `{name}` in the state; it has {}", list(available))]
    NoSuchTensor {
        /// The name that was looked for.
        name: String,
        /// The tensors that are there.
        available: Vec<String>,
    },

    /// A shape does not describe as many elements as there are.
    #[error("shape {shape:?} does not describe {len} elements")]
    ShapeMismatch {
        /// The shape.
        shape: Vec<usize>,
        /// The number of elements.
        len: usize,
    },

    /// An array holds another element type than was asked for.
    #[error("the array holds {found} elements, not {expected}")]
    DtypeMismatch {
        /// The element type that was asked for.
        expected: &'static str,
        /// The element type it holds.
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

    /// The data of a state is not what was expected.
    #[error("the state's data is not a `{expected}`: {source}")]
    UnexpectedData {
        /// The Rust type that was expected.
        expected: &'static str,
        /// Where the data departs from it.
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
