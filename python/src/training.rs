//! Training, as an iterator of results.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use rekindle::algorithms::{
    Algorithm, AlgorithmError, ResumedRun, RunConfig, SavedRun, Stop, read_run,
};
use rekindle::checkpoint::Checkpointable;
use rekindle::core::device::DeviceSpec;
use rekindle::learner::Collective;
use rekindle::metrics::Metrics;

use crate::bundle::PolicyBundle;
use crate::collective::{PythonCollective, PythonMessages, Raised};
use crate::data::to_python;
use crate::error::{Failure, Kind, Result};
use crate::evaluation::{Evaluation, to_dict};
use crate::log;
use crate::settings::{Changes, experiment, use_this_interpreter};

/// Builds an algorithm. Training begins with the first result that is asked for.
#[pyfunction]
#[pyo3(signature = (
    config, environment = None, *, settings = None, steps = None, seed = None, runs = None, device = "cpu"
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn train(
    py: Python<'_>,
    config: &Bound<'_, PyAny>,
    environment: Option<String>,
    settings: Option<&Bound<'_, PyAny>>,
    steps: Option<u64>,
    seed: Option<u64>,
    runs: Option<PathBuf>,
    device: &str,
) -> PyResult<Training> {
    use_this_interpreter(py)?;
    let changes = Changes::new(environment, settings, steps, seed)?;
    let mut experiment = experiment(config)?;
    let build = || -> Result<_> {
        changes.apply(&mut experiment)?;
        experiment.validate()?;
        let device = device.parse::<DeviceSpec>()?.open()?;
        let run = experiment.run()?;
        let mut algorithm = experiment.build(&device)?;
        if let Some(runs) = &runs {
            algorithm = algorithm.with_run_folder(runs, run.clone())?;
        }
        Ok(State {
            algorithm: Some(algorithm),
            run,
            stop: None,
            result: Metrics::new(),
            started: None,
            raised: Raised::default(),
        })
    };
    let state = py.detach(build);
    log::pass_on(py)?;
    Ok(Training(Box::new(Mutex::new(state?))))
}

/// Continues the run in a folder exactly where it was saved.
#[pyfunction]
#[pyo3(signature = (
    run_folder, *, checkpoint = None, settings = None, steps = None, allow_python = false, device = "cpu"
))]
pub(crate) fn resume(
    py: Python<'_>,
    run_folder: PathBuf,
    checkpoint: Option<&Bound<'_, PyAny>>,
    settings: Option<&Bound<'_, PyAny>>,
    steps: Option<u64>,
    allow_python: bool,
    device: &str,
) -> PyResult<Training> {
    use_this_interpreter(py)?;
    let changes = Changes::new(None, settings, steps, None)?;
    let which = match checkpoint {
        Some(checkpoint) => checkpoint.str()?.to_string(),
        None => "latest".to_owned(),
    };
    let state = py.detach(|| continue_run(run_folder, &which, &changes, allow_python, device));
    log::pass_on(py)?;
    Ok(Training(Box::new(Mutex::new(state?))))
}

fn continue_run(
    folder: PathBuf,
    which: &str,
    changes: &Changes,
    allow_python: bool,
    device: &str,
) -> Result<State> {
    let saved = SavedRun::open(folder, which)?;
    let mut saved = saved.allow_external_environments(allow_python);
    if !changes.is_empty() {
        saved.change(|experiment| changes.apply(experiment))?;
    }
    let device = device.parse::<DeviceSpec>()?.open()?;
    let ResumedRun { algorithm, config, last_result, stop, .. } = saved.resume(&device)?;
    Ok(State {
        algorithm: Some(algorithm),
        run: config,
        stop,
        result: last_result,
        started: None,
        raised: Raised::default(),
    })
}

/// Returns the results of all iterations of a run, in order.
#[pyfunction]
pub(crate) fn read_metrics(
    py: Python<'_>,
    run_folder: PathBuf,
) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let results = py.detach(|| -> Result<_> { Ok(read_run(&run_folder)?) })?;
    results.iter().map(|result| to_dict(py, result)).collect()
}

/// A running algorithm: an iterator of the results of its iterations.
#[pyclass(module = "rekindle", frozen)]
pub(crate) struct Training(
    /// In memory of Rust: that of Python is aligned to 16 bytes only.
    Box<Mutex<State>>,
);

struct State {
    /// None after `close`.
    algorithm: Option<Algorithm>,
    run: RunConfig,
    /// Why training has ended.
    stop: Option<Stop>,
    /// The last result.
    result: Metrics,
    /// When the iteration of batches of other processes began.
    started: Option<Instant>,
    /// What the connection with other learners has raised.
    raised: Raised,
}

impl State {
    fn algorithm(&mut self) -> Result<&mut Algorithm> {
        let closed =
            || Failure::new(Kind::Other, "this training is closed; resume its run, or train anew");
        self.algorithm.as_mut().ok_or_else(closed)
    }

    /// Runs an iteration, unless a limit is reached.
    fn advance(&mut self) -> Result<Option<Metrics>> {
        if self.stop.is_some() {
            return Ok(None);
        }
        self.finish(Algorithm::train).map(Some)
    }

    /// Ends an iteration of batches of other processes.
    fn end_iteration(&mut self) -> Result<Metrics> {
        let started = self.started.take().unwrap_or_else(Instant::now);
        self.finish(|algorithm| algorithm.end_iteration(started))
    }

    /// Takes the result of an iteration, and saves the run if it is over or failed.
    fn finish(
        &mut self,
        iterate: impl FnOnce(&mut Algorithm) -> Result<Metrics, AlgorithmError>,
    ) -> Result<Metrics> {
        let run = self.run.clone();
        let algorithm = self.algorithm()?;
        let result = match iterate(algorithm) {
            Ok(result) => result,
            Err(error) => {
                let mut failure = Failure::from(error);
                failure.message += &saved_after_failure(algorithm);
                return Err(failure);
            }
        };
        let stop = run.is_over(algorithm, &result);
        if stop.is_some() {
            algorithm.save_run()?;
        }
        (self.stop, self.result) = (stop, result.clone());
        Ok(result)
    }

    fn save_run(&mut self) -> Result<Option<PathBuf>> {
        Ok(self.algorithm()?.save_run()?)
    }
}

/// Saves the state after a failure, so that training before it is not lost. Returns the end of the message.
fn saved_after_failure(algorithm: &mut Algorithm) -> String {
    let folder = algorithm.run_folder().map(|folder| folder.path().display().to_string());
    match (folder, algorithm.save_run()) {
        (None, _) => String::new(),
        (Some(folder), Ok(_)) => {
            format!("\nthe state before is saved; `rekindle.resume(\"{folder}\")` continues")
        }
        (Some(_), Err(error)) => format!("\nthe state before could not be saved: {error}"),
    }
}

impl Training {
    /// Works with the algorithm while other threads of Python go on.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> PyResult<T> {
        let (outcome, raised) = py.detach(|| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = work(&mut state);
            (outcome, state.raised.take())
        });
        log::pass_on(py)?;
        outcome.map_err(|failure| match raised {
            None => failure.into(),
            // Such as `KeyboardInterrupt`.
            Some(raised) if !raised.is_instance_of::<PyException>(py) => raised,
            Some(raised) => {
                let error = PyErr::from(failure);
                error.set_cause(py, Some(raised));
                error
            }
        })
    }

    /// Raises what a signal asks for, such as `KeyboardInterrupt`, after the state was saved in the run folder.
    fn check_signals(&self, py: Python<'_>) -> PyResult<()> {
        py.check_signals().or_else(|interrupt| {
            self.work(py, |state| state.save_run().map(drop))?;
            Err(interrupt)
        })
    }
}

#[pymethods]
impl Training {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// Runs one iteration.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let result = self.work(py, State::advance)?;
        self.check_signals(py)?;
        result.map(|result| to_dict(py, &result)).transpose()
    }

    /// Trains until a limit of the settings is reached, and returns the last result.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let is_endless = self.work(py, |state| {
            Ok(!state.run.is_limited() && state.run.stop_value.is_none() && state.stop.is_none())
        })?;
        if is_endless {
            let message =
                "training has no limit; set one, as in steps=100_000, or iterate over the results";
            return Err(Failure::new(Kind::Config, message).into());
        }
        while self.work(py, State::advance)?.is_some() {
            self.check_signals(py)?;
        }
        self.result(py)
    }

    /// Saves the state in a directory, or as the latest checkpoint of the run folder. Returns the directory.
    #[pyo3(signature = (path = None))]
    fn save(&self, py: Python<'_>, path: Option<PathBuf>) -> PyResult<PathBuf> {
        self.work(py, |state| match path {
            Some(path) => {
                state.algorithm()?.save_to_path(&path)?;
                Ok(path)
            }
            None => state.save_run()?.ok_or_else(|| {
                let message = "this training has no run folder; name a directory to save in, or train with runs=\"runs\"";
                Failure::new(Kind::Config, message)
            }),
        })
    }

    /// Returns the current policy of a module.
    #[pyo3(signature = (module = "default_policy"))]
    fn policy_bundle(&self, py: Python<'_>, module: &str) -> PyResult<PolicyBundle> {
        let policy = self.work(py, |state| Ok(state.algorithm()?.policy_bundle_of(module)?))?;
        Ok(policy.into())
    }

    /// Plays the episodes of the evaluation settings with the current policy, and records them in the run folder.
    fn evaluate(&self, py: Python<'_>) -> PyResult<Evaluation> {
        let evaluation = self.work(py, |state| Ok(state.algorithm()?.evaluate_run()?))?;
        py.check_signals()?;
        Ok(evaluation.into())
    }

    /// Returns what runners of other processes act with, as bytes for `adopt`.
    fn publication<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |state| Ok(state.algorithm()?.publication()?))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Makes the runners act with what a learner in another process published. Returns the version of the weights.
    fn adopt(&self, py: Python<'_>, publication: &[u8]) -> PyResult<u64> {
        self.work(py, |state| Ok(state.algorithm()?.adopt(publication)?))
    }

    /// Collects a batch with the adopted weights, as bytes for `learn_from`.
    fn collect_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |state| Ok(state.algorithm()?.collect_batch()?))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Learns from a batch of another process. Returns its environment steps.
    fn learn_from(&self, py: Python<'_>, batch: &[u8]) -> PyResult<usize> {
        self.work(py, |state| {
            state.started.get_or_insert_with(Instant::now);
            Ok(state.algorithm()?.learn_from(batch)?)
        })
    }

    /// Ends an iteration of batches of other processes, and returns its result.
    fn end_iteration<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = self.work(py, State::end_iteration)?;
        self.check_signals(py)?;
        to_dict(py, &result)
    }

    /// Makes this learner the first of a group whose others are in other processes. It shares every update from now on.
    ///
    /// `collective` has the attributes `rank`, which is 0, and `size`, and the methods `all_reduce_sum(bytes)` and
    /// `broadcast(bytes, root)`, which change a bytearray in place, `agree_max(flag)` and `abort(reason)`. The method
    /// `send(message)` of `others` hands bytes to `serve` of each of the others, and `receive()` returns what these
    /// calls return. They may be called on any thread, and must not use this training.
    fn lead(
        &self,
        py: Python<'_>,
        collective: &Bound<'_, PyAny>,
        others: Py<PyAny>,
    ) -> PyResult<()> {
        let raised = self.work(py, |state| Ok(state.raised.clone()))?;
        let collective = PythonCollective::new(collective, raised.clone())?;
        let num_others = collective.size().saturating_sub(1);
        let others = PythonMessages::new(others, num_others, raised);
        self.work(py, |state| {
            Ok(state.algorithm()?.lead(Box::new(collective), Box::new(others))?)
        })
    }

    /// Makes this learner one of the others of a group: it learns by `serve` alone.
    fn join(&self, py: Python<'_>, collective: &Bound<'_, PyAny>) -> PyResult<()> {
        let raised = self.work(py, |state| Ok(state.raised.clone()))?;
        let collective = PythonCollective::new(collective, raised)?;
        self.work(py, |state| Ok(state.algorithm()?.join(Box::new(collective))?))
    }

    /// Takes a share in an update of the first learner, which sent this message. Returns the answer.
    fn serve<'py>(&self, py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let answer = self.work(py, |state| Ok(state.algorithm()?.serve(message)?))?;
        Ok(PyBytes::new(py, &answer))
    }

    /// The last result; empty before the first one.
    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = self.work(py, |state| Ok(state.result.clone()))?;
        to_dict(py, &result)
    }

    /// The name of the algorithm.
    #[getter]
    fn algorithm(&self, py: Python<'_>) -> PyResult<String> {
        self.work(py, |state| Ok(state.algorithm()?.name().to_owned()))
    }

    /// All current settings of the algorithm.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = self.work(py, |state| {
            serde_json::to_value(state.algorithm()?.config())
                .map_err(|error| Failure::new(Kind::Other, error.to_string()))
        })?;
        to_python(py, &config)
    }

    /// Number of iterations so far.
    #[getter]
    fn iteration(&self, py: Python<'_>) -> PyResult<u64> {
        self.work(py, |state| Ok(state.algorithm()?.iteration()))
    }

    /// Number of environment steps sampled so far.
    #[getter]
    fn env_steps(&self, py: Python<'_>) -> PyResult<u64> {
        self.work(py, |state| Ok(state.algorithm()?.env_steps()))
    }

    /// The directory of the run, or None.
    #[getter]
    fn run_folder(&self, py: Python<'_>) -> PyResult<Option<PathBuf>> {
        self.work(py, |state| {
            Ok(state.algorithm()?.run_folder().map(|folder| folder.path().to_owned()))
        })
    }

    /// Why training has ended: `"value"`, `"env_steps"`, `"iterations"` or `"seconds"`; None before.
    #[getter]
    fn stop_reason<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stop = self.work(py, |state| Ok(state.stop))?;
        let stop = serde_json::to_value(stop)
            .map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
        to_python(py, &stop)
    }

    /// Saves the state in the run folder, if there is one, and ends runners and their processes.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, |state| {
            if let Some(mut algorithm) = state.algorithm.take()
                && state.stop.is_none()
            {
                algorithm.save_run()?;
            }
            Ok(())
        })
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a Training cannot be pickled; save it with `save()`, and call `rekindle.resume(run_folder)` in the other process",
        ))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.work(py, |state| {
            Ok(match &state.algorithm {
                Some(algorithm) => format!("<Training: {algorithm:?}>"),
                None => "<Training: closed>".to_owned(),
            })
        })
    }
}
