//! Errors of the program, and its exit codes.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rekindle::MainError;
use rekindle::algorithms::AlgorithmError;
use rekindle::checkpoint::CheckpointError;
use rekindle::core::CoreError;
use rekindle::env_runner::RunnerError;
use rekindle::metrics::MetricsError;
use thiserror::Error;

/// Any error of a custom program's registrations.
pub type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// The message about a run whose settings name no environment.
pub(crate) const NO_ENVIRONMENT: &str =
    "the run learned from recordings, and has no environment to play in; name one with --env";

/// The exit code after Ctrl-C. By the convention of shells, it is 128 plus the number of the signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error of the program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// A combination of arguments, or a value, that is not possible.
    #[error("{0}")]
    Usage(String),
    /// Training was interrupted, and its state saved.
    #[error("interrupted")]
    Interrupted,
    /// Settings from which no algorithm can be built.
    #[error(transparent)]
    Build(AlgorithmError),
    #[error("the program's own environments and modules could not be registered: {0}")]
    Register(#[source] BoxError),
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Core(#[from] CoreError),
    #[error(transparent)]
    Runner(#[from] RunnerError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

impl CliError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Returns the exit code. The documentation of the crate lists the codes.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted => INTERRUPTED,
            Self::Usage(_) | Self::Build(_) => 2,
            Self::Algorithm(error) if is_about_settings(error) => 2,
            _ => 1,
        }
    }

    /// Returns the message with its causes, or `None` if the message was printed before.
    pub(crate) fn message(self) -> Option<String> {
        match self {
            Self::Interrupted => None,
            error => Some(MainError::from(error).to_string()),
        }
    }
}

/// Returns whether the error is in the user's input, not in the machine.
fn is_about_settings(error: &AlgorithmError) -> bool {
    match error {
        AlgorithmError::InFile { source, .. } | AlgorithmError::OtherVersion { source, .. } => {
            is_about_settings(source)
        }
        AlgorithmError::Config(_)
        | AlgorithmError::ConfigFormat(_)
        | AlgorithmError::ConfigSyntax { .. }
        | AlgorithmError::ConfigSection { .. }
        | AlgorithmError::ModuleOverrides { .. }
        | AlgorithmError::UnknownAlgorithm { .. } => true,
        _ => false,
    }
}
