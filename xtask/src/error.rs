//! Errors of chores.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The result of a chore.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that ends a chore.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program is missing or not executable.
    #[error("cannot start `{program}`: {source}; is it installed and on the PATH?")]
    Start { program: String, source: io::Error },
    /// A program failed. It has printed its own message.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// A file or directory cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A program's output or a file has the wrong content.
    #[error("unexpected content of {origin}: {problem}")]
    Malformed { origin: String, problem: String },
    /// Not every seed reached the threshold.
    #[error("not every seed of {} reached the threshold (see the table above)", tasks.join(" and "))]
    NotSolved { tasks: Vec<String> },
    /// A task is not trained with another library.
    #[error("the task `{task}` is not trained with Stable-Baselines3: leave out --peer")]
    NoPeer { task: String },
    /// No workload has this name.
    #[error("unknown workload `{name}`: expected one of {known}, or one of their cases")]
    UnknownWorkload { name: String, known: String },
    /// The system does not report the peak memory of a program.
    #[error(
        "the peak memory of a program is known on Linux only; leave out the workload `memory` by naming \
         the others with --workloads"
    )]
    NoPeakMemory,
    /// There is no directory to install the peers into.
    #[error("no cache directory for the peers: set XDG_CACHE_HOME to an absolute path")]
    NoCacheFolder,
    /// The advisory database cannot be fetched.
    #[error(
        "{source}: known vulnerabilities were not checked; without a network, check everything else \
         with `cargo xtask audit --no-advisories`"
    )]
    NoAdvisories { source: Box<Self> },
    /// Links of the book lead nowhere.
    #[error("links of the book lead nowhere:\n  {links}")]
    BrokenLinks { links: String },
}

impl Error {
    /// Adds the file or directory to an I/O error.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }

    /// Builds [`Error::Malformed`].
    pub(crate) fn malformed(origin: impl ToString, problem: impl ToString) -> Self {
        Self::Malformed { origin: origin.to_string(), problem: problem.to_string() }
    }
}
