//! The error type of this crate.

use std::io;
use std::process::ExitStatus;

use rekindle_env::EnvError;

/// A result whose error is a [`GymnasiumError`].
pub(crate) type Result<T, E = GymnasiumError> = std::result::Result<T, E>;

/// An error of a Python environment, its interpreter, or the worker process that steps it.
///
/// Environments return it inside [`EnvError::Custom`], or as the reason of an [`EnvError::Crashed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GymnasiumError {
    /// The operating system is not supported.
    #[error("Python environments need Linux or macOS")]
    Platform,
    /// An id that names no Python environment.
    #[error("malformed id `{id}`: expected {expected}")]
    InvalidId {
        /// The id.
        id: String,
        /// The form of such ids.
        expected: &'static str,
    },
    /// The interpreter does not exist or cannot be started.
    #[error(
        "cannot start the Python interpreter `{python}` ({origin}): {source}; install Python, or name \
         an interpreter in the option `python` or in the environment variable `REKINDLE_PYTHON`"
    )]
    Interpreter {
        /// The interpreter.
        python: String,
        /// Where the name of the interpreter comes from.
        origin: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A package that the interpreter does not have.
    #[error(
        "`{python}` does not have the package `{package}`; install it with \
         `{python} -m pip install {package}`, or name another interpreter in the option `python` or \
         in the environment variable `REKINDLE_PYTHON`"
    )]
    MissingPackage {
        /// The interpreter.
        python: String,
        /// The package.
        package: String,
    },
    /// A package that is too old.
    #[error(
        "`{python}` has {package} {found}, but {oldest} or newer is required; upgrade it with \
         `{python} -m pip install --upgrade {package}`"
    )]
    TooOld {
        /// The interpreter.
        python: String,
        /// The package.
        package: String,
        /// Its version.
        found: String,
        /// The oldest version that works.
        oldest: String,
    },
    /// An environment that needs a package that is not installed.
    #[error("`{env}` needs another package: {message}")]
    MissingDependency {
        /// The environment.
        env: String,
        /// Gymnasium's message, which says what to install.
        message: String,
    },
    /// An id that Gymnasium does not know.
    #[error(
        "Gymnasium has no environment for `{env}`: {message}{}; for ids of another package, write \
         `gymnasium:<module>:<id>`",
        suggestion(close)
    )]
    UnknownId {
        /// The environment.
        env: String,
        /// Gymnasium's message.
        message: String,
        /// Similar ids.
        close: Vec<String>,
    },
    /// A wrapper that Gymnasium does not have.
    #[error(
        "`gymnasium.wrappers` has no `{name}`{}; name a wrapper of your own as `module:callable`",
        suggestion(close)
    )]
    UnknownWrapper {
        /// The name.
        name: String,
        /// Similar names.
        close: Vec<String>,
    },
    /// A module that Python does not find.
    #[error(
        "`{python}` finds no module `{module}` for `{env}`; install it, or add its directory to the \
         option `python_path`"
    )]
    MissingModule {
        /// The interpreter.
        python: String,
        /// The environment.
        env: String,
        /// The module.
        module: String,
    },
    /// A module without the callable that makes environments.
    #[error("cannot make `{env}`: {message}; name a class or a function of the module")]
    MissingCallable {
        /// The environment.
        env: String,
        /// Python's message.
        message: String,
    },
    /// An object without the interface of Gymnasium's environments.
    #[error("`{env}` makes no environment of Gymnasium: {message}")]
    NoEnvironment {
        /// The environment.
        env: String,
        /// What is missing.
        message: String,
    },
    /// A space without a counterpart here.
    #[error(
        "the {role} space of `{env}` is or contains {kind}, which has no fixed layout: {space}; wrap \
         the environment so that it uses Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
    )]
    UnsupportedSpace {
        /// The environment.
        env: String,
        /// `observation` or `action`.
        role: String,
        /// The name of the space.
        kind: String,
        /// The space as Python prints it.
        space: String,
    },
    /// An exception of an environment.
    #[error("{error}: {message}{}", indented(traceback))]
    Raised {
        /// The type of the exception.
        error: String,
        /// Its message.
        message: String,
        /// The last frames of its traceback.
        traceback: String,
    },
    /// A worker that ended.
    #[error("its worker process ended ({status}){}", indented(output))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The end of its output.
        output: String,
    },
    /// A worker that did not answer in time. It was killed.
    #[error(
        "its worker process did not {task} within {seconds} s; raise the option `{}`, or find \
         out where the environment hangs{}",
        if *task == "start" { "start_timeout_s" } else { "timeout_s" },
        indented(output)
    )]
    TimedOut {
        /// `start`, `reset`, `step` or `render`.
        task: &'static str,
        /// The limit in seconds.
        seconds: f64,
        /// The end of its output.
        output: String,
    },
    /// A worker that broke the protocol, for example because another program wrote its memory.
    #[error("its worker process broke the protocol: {reason}")]
    Protocol {
        /// What it did.
        reason: String,
    },
    /// Workers whose environments have different spaces.
    #[error("`{env}` has other {role} spaces in another worker: {first} and {other}")]
    SpacesDiffer {
        /// The environment.
        env: String,
        /// `observation` or `action`.
        role: &'static str,
        /// The space in the first worker.
        first: String,
        /// The space in the other worker.
        other: String,
    },
    /// The shared memory could not be made.
    #[error("cannot make the memory that is shared with worker processes: {0}")]
    SharedMemory(io::Error),
    /// A space that this library rejects.
    #[error(transparent)]
    Env(#[from] EnvError),
}

impl GymnasiumError {
    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Protocol { reason: reason.into() }
    }
}

impl From<GymnasiumError> for EnvError {
    fn from(error: GymnasiumError) -> Self {
        match error {
            GymnasiumError::Env(error) => error,
            error => Self::custom(error),
        }
    }
}

/// Lines of Python, on lines of their own.
fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("\n    {line}")).collect()
}

fn suggestion(close: &[String]) -> String {
    if close.is_empty() {
        return String::new();
    }
    let names: Vec<_> = close.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", names.join(", "))
}
