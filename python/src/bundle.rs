//! Acting with a trained policy.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rekindle::algorithms::evaluate_policy;
use rekindle::core::device::DeviceSpec;
use rekindle::env::{EnvConfig, Space};
use rekindle::env_runner::{self, EnvRunnerConfig, SampleOptions};

use crate::data::{from_python, to_python};
use crate::error::{Failure, Kind, Result};
use crate::evaluation::Evaluation;
use crate::{actions, log, numpy, observations, settings};

/// A deployable policy: a module, connectors with their learned states, and the transform of actions.
#[pyclass(module = "rekindle", frozen)]
pub(crate) struct PolicyBundle {
    /// In memory of Rust: that of Python is aligned to 16 bytes only.
    policy: Box<Mutex<env_runner::PolicyBundle>>,
    observation_space: Space,
    action_space: Space,
}

impl From<env_runner::PolicyBundle> for PolicyBundle {
    fn from(policy: env_runner::PolicyBundle) -> Self {
        let config = policy.config();
        let (observation_space, action_space) =
            (config.observation_space.clone(), config.action_space.clone());
        Self { policy: Box::new(Mutex::new(policy)), observation_space, action_space }
    }
}

impl PolicyBundle {
    fn lock(&self) -> MutexGuard<'_, env_runner::PolicyBundle> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the policy while other threads of Python go on.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut env_runner::PolicyBundle) -> Result<T> + Send,
    ) -> PyResult<T> {
        // The lock is taken after the interpreter is left, so that no thread waits for both.
        let outcome = py.detach(|| work(&mut self.lock()));
        log::pass_on(py)?;
        Ok(outcome?)
    }
}

#[pymethods]
impl PolicyBundle {
    /// Loads a bundle, and verifies that it repeats its recorded actions.
    #[staticmethod]
    #[pyo3(signature = (path, *, device = "cpu"))]
    fn load(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        let load = || -> Result<_> {
            let device = device.parse::<DeviceSpec>()?.open()?;
            Ok(env_runner::PolicyBundle::from_checkpoint(&path, &device)?)
        };
        let policy = py.detach(load)?;
        log::pass_on(py)?;
        Ok(policy.into())
    }

    /// Saves the bundle in a directory.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.work(py, |policy| Ok(policy.save_to_path(&path)?))
    }

    /// Returns the policy as an ONNX file, and writes the file if a path is given.
    #[pyo3(signature = (path = None))]
    fn to_onnx<'py>(
        &self,
        py: Python<'py>,
        path: Option<PathBuf>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |policy| Ok(policy.to_onnx()?))?;
        if let Some(path) = path {
            std::fs::write(path, &bytes)?;
        }
        Ok(PyBytes::new(py, &bytes))
    }

    /// Returns actions for one observation, or for a batch of them.
    #[pyo3(signature = (observations, *, deterministic = true, episode_start = None))]
    fn act<'py>(
        &self,
        py: Python<'py>,
        observations: &Bound<'py, PyAny>,
        deterministic: bool,
        episode_start: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let seen = observations::read(&self.observation_space, observations, "observation")?;
        let starts = episode_start.map(|starts| flags(starts, seen.buffer.rows())).transpose()?;
        let rows = self.work(py, |policy| {
            for row in
                (0..).zip(starts.iter().flatten()).filter_map(|(row, start)| start.then_some(row))
            {
                policy.reset_row(row);
            }
            Ok(policy.compute_actions(&seen.buffer, !deterministic)?.clone())
        })?;
        actions::write(py, &self.action_space, &rows, seen.is_batch)
    }

    /// Log-probabilities (or log-densities) of the last actions; empty unless they were sampled.
    #[getter]
    fn action_logp<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let logp = self.work(py, |policy| Ok(policy.action_logp().to_vec()))?;
        numpy::array(py, &logp, "f4", &[logp.len()])
    }

    /// Returns the log-probabilities of given actions under the sampling policy.
    fn log_likelihoods<'py>(
        &self,
        py: Python<'py>,
        observations: &Bound<'py, PyAny>,
        actions: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let seen = observations::read(&self.observation_space, observations, "observation")?;
        let taken = observations::read(&self.action_space, actions, "action")?;
        let logp = self
            .work(py, |policy| Ok(policy.compute_log_likelihoods(&seen.buffer, &taken.buffer)?))?;
        numpy::array(py, &logp, "f4", &[logp.len()])
    }

    /// Ends all episodes, or those of the given rows: the next observations start new ones.
    #[pyo3(signature = (rows = None))]
    fn reset(&self, py: Python<'_>, rows: Option<Vec<usize>>) -> PyResult<()> {
        self.work(py, |policy| {
            match rows {
                None => policy.reset(),
                Some(rows) => rows.into_iter().for_each(|row| policy.reset_row(row)),
            }
            Ok(())
        })
    }

    /// Sets the rewards for the last actions, for policies that read previous rewards.
    fn set_rewards(&self, py: Python<'_>, rewards: &Bound<'_, PyAny>) -> PyResult<()> {
        let rewards = numpy::as_array(rewards)?.call_method1("reshape", (-1,))?;
        let rewards: Vec<f64> = rewards.call_method0("tolist")?.extract()?;
        self.work(py, |policy| {
            policy.set_rewards(&rewards);
            Ok(())
        })
    }

    /// Restarts the random streams of sampled actions from a seed.
    fn set_seed(&self, py: Python<'_>, seed: u64) -> PyResult<()> {
        self.work(py, |policy| {
            policy.set_seed(seed);
            Ok(())
        })
    }

    /// Plays complete episodes in environments of the given id, as the command `evaluate` does.
    #[pyo3(signature = (
        environment, *, episodes = 100, num_envs = 10, seed = 0, deterministic = true, env_config = None, device = "cpu"
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn evaluate(
        &self,
        py: Python<'_>,
        environment: &str,
        episodes: usize,
        num_envs: usize,
        seed: u64,
        deterministic: bool,
        env_config: Option<&Bound<'_, PyAny>>,
        device: &str,
    ) -> PyResult<Evaluation> {
        settings::use_this_interpreter(py)?;
        let env_config = match env_config {
            None => EnvConfig::default(),
            Some(given) => serde_json::from_value(from_python(given, "env_config")?)
                .map_err(|error| Failure::new(Kind::Config, format!("`env_config`: {error}")))?,
        };
        let config = EnvRunnerConfig::new(environment.to_owned())
            .num_envs(num_envs.min(episodes.max(1)))
            .env_config(env_config)
            .seed(seed);
        let options = SampleOptions::default().explore(!deterministic);
        let device =
            device.parse::<DeviceSpec>().map_err(Failure::from)?.open().map_err(Failure::from)?;
        // On a copy, so that others can act meanwhile.
        let policy = self.work(py, |policy| Ok(policy.clone()))?;
        let evaluation = py.detach(move || -> Result<_> {
            Ok(evaluate_policy(&policy, &config, episodes, options, &device)?)
        });
        log::pass_on(py)?;
        Ok(evaluation?.into())
    }

    /// Returns a policy with the same weights that continues the same episodes and random streams on its own.
    fn clone(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(self.work(py, |policy| Ok(policy.clone()))?.into())
    }

    /// The space of observations, in Gymnasium's notation.
    #[getter]
    fn observation_space(&self) -> String {
        self.observation_space.to_string()
    }

    /// The space of actions, in Gymnasium's notation.
    #[getter]
    fn action_space(&self) -> String {
        self.action_space.to_string()
    }

    /// Spaces, connectors and transform of actions, as plain data.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let config = self.work(py, |policy| Ok(policy.config().clone()))?;
        let config = serde_json::to_value(config)
            .map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
        to_python(py, &config)
    }

    fn __copy__(&self, py: Python<'_>) -> PyResult<Self> {
        self.clone(py)
    }

    fn __deepcopy__(&self, py: Python<'_>, _memo: &Bound<'_, PyAny>) -> PyResult<Self> {
        self.clone(py)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a PolicyBundle cannot be pickled; save it with `save(path)`, and call `PolicyBundle.load(path)` in the other process",
        ))
    }

    fn __repr__(&self) -> String {
        format!("<PolicyBundle: {} → {}>", self.observation_space, self.action_space)
    }
}

/// Reads one flag per row. A single flag is that of the only row.
fn flags(value: &Bound<'_, PyAny>, rows: usize) -> PyResult<Vec<bool>> {
    let py = value.py();
    let array = numpy::as_array(value)?.call_method1(intern!(py, "reshape"), (-1,))?;
    let flags: Vec<bool> =
        array.call_method1("astype", ("?",))?.call_method0("tolist")?.extract()?;
    if flags.len() != rows {
        let message =
            format!("episode_start must have {rows} flags, one per row, not {}", flags.len());
        return Err(Failure::new(Kind::Input, message).into());
    }
    Ok(flags)
}
