//! Errors of graphs.

use thiserror::Error;

/// An error of a graph. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum OnnxError {
    /// A part of a policy that has no ONNX form.
    #[error("{part} cannot be exported to ONNX: {reason}")]
    NotExportable {
        /// The part, by kind and name: ``module `my_project.MyPolicy` ``.
        part: String,
        /// Reason, with what to do.
        reason: String,
    },
    /// Two inputs or outputs of one name.
    #[error(
        "the graph has two inputs or outputs called `{0}`; choose another name for one of them"
    )]
    DuplicateName(String),
    /// Values of another structure than a part of the policy reads.
    #[error("expected {expected}, found {found}")]
    Structure {
        /// What the part reads.
        expected: String,
        /// What it was given.
        found: String,
    },
}

impl OnnxError {
    /// Creates the error of a part without an ONNX form. `kind` is such as `module` or `encoder`, and `method` is the
    /// method that gives the part an ONNX form.
    #[must_use]
    pub fn not_implemented(kind: &str, name: &str, method: &str) -> Self {
        Self::NotExportable {
            part: format!("{kind} `{name}`"),
            reason: format!(
                "it does not implement `{method}`; implement it, or export a policy without this part"
            ),
        }
    }
}

/// A result of this crate.
pub type Result<T, E = OnnxError> = std::result::Result<T, E>;
