//! Errors of the library as exceptions.

use pyo3::prelude::*;
use pyo3::types::PyType;
use rekindle::MainError;
use rekindle::algorithms::AlgorithmError;
use rekindle::checkpoint::CheckpointError;
use rekindle::core::{ConfigError, CoreError};
use rekindle::env::EnvError;
use rekindle::env_runner::RunnerError;
use rekindle::learner::LearnerError;
use rekindle::metrics::MetricsError;

/// A result whose error becomes an exception.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The classes of exceptions, which `rekindle/_errors.py` defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Env,
    Checkpoint,
    Device,
    Input,
    Group,
    Other,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Config => "ConfigError",
            Self::Env => "EnvError",
            Self::Checkpoint => "CheckpointError",
            Self::Device => "DeviceError",
            Self::Input => "InputError",
            Self::Group => "GroupError",
            Self::Other => "RekindleError",
        }
    }
}

/// An error on its way to Python: the class of the exception, and its message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error with its causes.
    fn of(kind: Kind, error: impl std::error::Error + 'static) -> Self {
        Self::new(kind, MainError::from(error).to_string())
    }
}

impl From<Failure> for PyErr {
    fn from(Failure { kind, message }: Failure) -> Self {
        let class = |py: Python<'_>| -> PyResult<Py<PyType>> {
            let class = py.import("rekindle._errors")?.getattr(kind.class())?;
            Ok(class.cast_into::<PyType>()?.unbind())
        };
        Python::attach(|py| match class(py) {
            Ok(class) => Self::from_type(class.into_bound(py), (message,)),
            Err(error) => error,
        })
    }
}

impl From<AlgorithmError> for Failure {
    fn from(error: AlgorithmError) -> Self {
        Self::of(of_algorithm(&error), error)
    }
}

fn of_algorithm(error: &AlgorithmError) -> Kind {
    match error {
        AlgorithmError::InFile { source, .. } | AlgorithmError::OtherVersion { source, .. } => {
            of_algorithm(source)
        }
        AlgorithmError::Config(_)
        | AlgorithmError::ConfigFormat(_)
        | AlgorithmError::ConfigSyntax { .. }
        | AlgorithmError::ConfigSection { .. }
        | AlgorithmError::ModuleOverrides { .. }
        | AlgorithmError::UnknownAlgorithm { .. }
        | AlgorithmError::NotPlayed { .. }
        | AlgorithmError::NotRemote { .. }
        | AlgorithmError::NotLed { .. } => Kind::Config,
        AlgorithmError::Frame { .. } => Kind::Input,
        AlgorithmError::Checkpoint(_)
        | AlgorithmError::NotAnAlgorithm
        | AlgorithmError::NotARun { .. }
        | AlgorithmError::NoCheckpoint { .. }
        | AlgorithmError::ExternalEnvironment { .. } => Kind::Checkpoint,
        AlgorithmError::Env(_) => Kind::Env,
        AlgorithmError::Runner(error) => of_runner(error),
        AlgorithmError::Learner(error) => of_learner(error),
        AlgorithmError::Core(error) => of_core(error),
        _ => Kind::Other,
    }
}

fn of_learner(error: &LearnerError) -> Kind {
    match error {
        LearnerError::Group(_) | LearnerError::OtherLearner { .. } => Kind::Group,
        LearnerError::NotShared { .. } => Kind::Config,
        LearnerError::Core(error) => of_core(error),
        _ => Kind::Other,
    }
}

impl From<RunnerError> for Failure {
    fn from(error: RunnerError) -> Self {
        Self::of(of_runner(&error), error)
    }
}

fn of_runner(error: &RunnerError) -> Kind {
    match error {
        RunnerError::Config(_) => Kind::Config,
        RunnerError::Env(_)
        | RunnerError::Environment { .. }
        | RunnerError::InvalidReward { .. }
        | RunnerError::EnvKeepsFailing { .. }
        | RunnerError::SingleAgent(_)
        | RunnerError::MultiAgentEnv(_) => Kind::Env,
        RunnerError::Checkpoint(_)
        | RunnerError::NotABundle
        | RunnerError::TestVector { .. }
        | RunnerError::InvalidState { .. } => Kind::Checkpoint,
        RunnerError::WrongObservations { .. } | RunnerError::CannotAct { env: None, .. } => {
            Kind::Input
        }
        RunnerError::Core(error) => of_core(error),
        _ => Kind::Other,
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        Self::of(of_core(&error), error)
    }
}

fn of_core(error: &CoreError) -> Kind {
    match error {
        CoreError::UnknownDevice(_)
        | CoreError::DeviceNotCompiledIn { .. }
        | CoreError::DeviceUnavailable { .. } => Kind::Device,
        _ => Kind::Other,
    }
}

macro_rules! kinds {
    ($($error:ty => $kind:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(Kind::$kind, error)
            }
        })*
    };
}

kinds! {
    CheckpointError => Checkpoint,
    ConfigError => Config,
    EnvError => Env,
    MetricsError => Other,
}
