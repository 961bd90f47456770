//! What can stop a chore.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The result of a chore.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a chore stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program is missing or may not be executed.
    #[error("cannot start `{program}`: {source}; is it installed and on the PATH?")]
    Start { program: String, source: io::Error },
    /// A program ran and failed; it has said why.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A program's output or a file does not hold what it should.
    #[error("{origin}: {problem}")]
    Malformed { origin: String, problem: String },
    /// Training ran, but not all seeds got there.
    #[error("not every seed of {} reached the threshold; see the table", tasks.join(" and "))]
    NotSolved { tasks: Vec<String> },
    /// No workload has this name.
    #[error("there is no workload `{name}`; choose from {known}, or name a case of one")]
    UnknownWorkload { name: String, known: String },
    /// The system does not tell how much memory a program held.
    #[error(
        "how much memory a program held can be seen on Linux alone; leave the workload `memory` \
             out: name the others with --workloads"
    )]
    NoPeakMemory,
    /// There is no place for the peers.
    #[error("there is no cache folder for the peers: set XDG_CACHE_HOME to an absolute path")]
    NoCacheFolder,
    /// The advisory database cannot be fetched.
    #[error(
        "{source}: known vulnerabilities were not checked; without a network, check the rest \
             alone with `cargo xtask audit --no-advisories`"
    )]
    NoAdvisories { source: Box<Self> },
}

impl Error {
    /// Names the file or folder of an I/O error.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }

    /// Says what is wrong with an output or a file.
    pub(crate) fn malformed(origin: impl ToString, problem: impl ToString) -> Self {
        Self::Malformed { origin: origin.to_string(), problem: problem.to_string() }
    }
}
