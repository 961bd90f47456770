//! The episodes of an evaluation.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rekindle::algorithms;
use rekindle::metrics::Metrics;

use crate::numpy::array;

/// The episodes of an evaluation.
#[pyclass(module = "rekindle", frozen)]
pub(crate) struct Evaluation(algorithms::Evaluation);

impl From<algorithms::Evaluation> for Evaluation {
    fn from(evaluation: algorithms::Evaluation) -> Self {
        Self(evaluation)
    }
}

#[pymethods]
impl Evaluation {
    /// Sum of the rewards of each episode.
    #[getter]
    fn returns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        array(py, &self.0.returns, "f8", &[self.0.returns.len()])
    }

    /// Number of steps of each episode.
    #[getter]
    fn lengths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let lengths: Vec<i64> = self.0.lengths.iter().map(|&length| length as i64).collect();
        array(py, &lengths, "i8", &[lengths.len()])
    }

    /// Mean return, or NaN without episodes.
    #[getter]
    fn mean_return(&self) -> f64 {
        self.0.mean_return()
    }

    /// Population standard deviation of the returns, or NaN without episodes.
    #[getter]
    fn std_return(&self) -> f64 {
        self.0.std_return()
    }

    /// Mean number of steps, or NaN without episodes.
    #[getter]
    fn mean_length(&self) -> f64 {
        self.0.mean_length()
    }

    /// Metrics of the runners by name, such as ``env_runners/episode_return_mean``.
    #[getter]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        to_dict(py, &self.0.metrics)
    }

    fn __len__(&self) -> usize {
        self.0.returns.len()
    }

    fn __repr__(&self) -> String {
        let (mean, std) = (self.0.mean_return(), self.0.std_return());
        match self.0.returns.len() {
            0 => "<Evaluation: no episodes>".into(),
            episodes => format!("<Evaluation: return {mean:.2} ± {std:.2} in {episodes} episodes>"),
        }
    }
}

/// Returns metrics by name.
pub(crate) fn to_dict<'py>(py: Python<'py>, metrics: &Metrics) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    metrics.iter().try_for_each(|(name, value)| dict.set_item(name, value))?;
    Ok(dict)
}
