//! Errors of training on several machines.

use rekindle::algorithms::AlgorithmError;
use rekindle::learner::{Fault, LearnerError};
use rekindle_cli::engine::CliError;
use thiserror::Error;

use crate::frame::FrameError;

/// The result of an operation of several processes.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// An error of training on several machines.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A process was lost, or an operation among processes failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A frame that cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A runner failed.
    #[error("runner {number} failed: {message}")]
    Runner {
        /// The number of the runner, from 0.
        number: usize,
        /// Its message.
        message: String,
    },
    /// A runner that owes a batch and sends nothing.
    #[error(
        "runner {number} has sent nothing for {seconds} s: it hangs, or a batch takes longer; a longer limit is set with --timeout"
    )]
    Silent {
        /// The number of the runner, from 0.
        number: usize,
        /// The limit.
        seconds: u64,
    },
    /// An error of the algorithm of this process.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Algorithm(error) => Self::Algorithm(error),
            EngineError::Fault(fault) => {
                Self::Algorithm(AlgorithmError::Learner(LearnerError::Group(fault)))
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Whether an error may have ended an update in the middle.
#[cfg(feature = "mpi")]
pub(crate) fn is_in_update(error: &CliError) -> bool {
    matches!(error, CliError::Algorithm(AlgorithmError::Learner(_)))
}
