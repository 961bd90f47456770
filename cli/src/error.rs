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

/// The result of a command.
pub type Result<T, E = CliError> = std::result::Result<T, E>;

/// The message about a run whose settings name no environment.
pub(crate) const NO_ENVIRONMENT: &str =
    "the run learned from recordings, and has no environment to play in; name one with --env";

/// The exit code after Ctrl-C. By the convention of shells, it is 128 plus the number of the signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error of the program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CliError {
    /// A combination of arguments, or a value, that is not possible.
    #[error("{0}")]
    Usage(String),
    /// Training was interrupted, and its state saved.
    #[error("interrupted")]
    Interrupted,
    /// Settings from which no algorithm can be built.
    #[error(transparent)]
    Build(AlgorithmError),
    /// Environments, modules or algorithms of the program that could not be registered.
    #[error("the program's own environments and modules could not be registered: {0}")]
    Register(#[source] BoxError),
    /// A file or directory that cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Any other failure.
    #[error("{0}")]
    Failed(String),
    /// An error of an algorithm.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// An error of a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An error of a device or a setting.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An error of a runner.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// An error of metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

impl CliError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Returns the exit code. The documentation of the crate lists the codes.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted => INTERRUPTED,
            Self::Usage(_) | Self::Build(_) => 2,
            Self::Algorithm(error) if is_about_settings(error) => 2,
            _ => 1,
        }
    }

    /// Returns the message with its causes, or `None` if the message was printed before.
    #[must_use]
    pub fn message(self) -> Option<String> {
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
