//! Settings of experiments.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rekindle::algorithms::{Experiment, algorithm, registered_algorithms};
use rekindle::gymnasium::set_host_interpreter;
use serde_json::{Value, json};

use crate::data::{from_python, to_python};
use crate::error::{Failure, Kind, Result};

/// Returns the names of all algorithms.
#[pyfunction]
pub(crate) fn algorithms() -> Vec<String> {
    registered_algorithms()
}

/// Returns all settings of an algorithm with their defaults.
#[pyfunction]
pub(crate) fn default_settings<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let defaults = || -> Result<_> { Ok(algorithm(name)?.defaults()?) };
    to_python(py, &defaults()?)
}

/// Returns all settings of an experiment with their defaults, as a dict for `train`.
#[pyfunction]
#[pyo3(signature = (config, environment = None, *, settings = None, steps = None, seed = None))]
pub(crate) fn complete_settings<'py>(
    py: Python<'py>,
    config: &Bound<'py, PyAny>,
    environment: Option<String>,
    settings: Option<&Bound<'py, PyAny>>,
    steps: Option<u64>,
    seed: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let changes = Changes::new(environment, settings, steps, seed)?;
    let mut experiment = experiment(config)?;
    let mut complete = || -> Result<_> {
        changes.apply(&mut experiment)?;
        experiment.validate()?;
        Ok(experiment.to_data()?)
    };
    to_python(py, &complete()?)
}

/// Makes Python environments run in the interpreter of this process, and find the modules that this process finds.
pub(crate) fn use_this_interpreter(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let program: Option<String> = sys.getattr("executable")?.extract()?;
    if let Some(program) = program.filter(|program| !program.is_empty()) {
        let folders = sys.getattr("path")?.try_iter()?.filter_map(|folder| {
            let folder = folder.ok()?.extract::<String>().ok()?;
            (!folder.is_empty()).then_some(folder)
        });
        set_host_interpreter(program, folders.collect::<Vec<_>>());
    }
    Ok(())
}

/// Reads the settings of an experiment: a dict, a file, or the name of an algorithm.
pub(crate) fn experiment(config: &Bound<'_, PyAny>) -> PyResult<Experiment> {
    if config.cast::<PyDict>().is_ok() {
        let data = from_python(config, "")?;
        return Ok(Experiment::from_data(data).map_err(Failure::from)?);
    }
    let Ok(source) = config.extract::<PathBuf>() else {
        let found = config.get_type().name()?.to_string();
        let message = format!(
            "settings are a dict, the path of a TOML file, or the name of an algorithm, not an object of the class {found}"
        );
        return Err(Failure::new(Kind::Config, message).into());
    };
    Ok(named(&source)?)
}

fn named(source: &Path) -> Result<Experiment> {
    if source.is_file() || source.extension().is_some_and(|kind| kind == "toml") {
        return Ok(Experiment::read(source)?);
    }
    Ok(Experiment::new(&source.to_string_lossy())?)
}

/// Changes of the settings, as keywords of Python.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    environment: Option<String>,
    settings: Option<Value>,
    steps: Option<u64>,
    seed: Option<u64>,
}

impl Changes {
    pub(crate) fn new(
        environment: Option<String>,
        settings: Option<&Bound<'_, PyAny>>,
        steps: Option<u64>,
        seed: Option<u64>,
    ) -> PyResult<Self> {
        let settings = settings.map(|settings| from_python(settings, "")).transpose()?;
        Ok(Self { environment, settings, steps, seed })
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { environment, settings, steps, seed } = self;
        environment.is_none() && settings.is_none() && steps.is_none() && seed.is_none()
    }

    pub(crate) fn apply(&self, experiment: &mut Experiment) -> Result<()> {
        let Self { environment, settings, steps, seed } = self;
        if let Some(settings) = settings {
            experiment.set_all(settings)?;
        }
        if let Some(env) = environment {
            experiment.set_all(&json!({"environment.env": env}))?;
        }
        if let Some(steps) = steps {
            experiment.set_all(&json!({"run.max_env_steps": steps}))?;
        }
        if let Some(seed) = seed {
            experiment.set_all(&json!({"debugging.seed": seed}))?;
        }
        Ok(())
    }
}
