//! Reading saved states.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rekindle::algorithms::{checkpoint_of_run, is_run};
use rekindle::checkpoint::{self, Array, ArrayData, State};
use serde_json::Value;

use crate::data::to_python;
use crate::error::{Failure, Kind, Result};
use crate::numpy::array;

/// A saved state, read and verified: plain data, arrays, and components.
#[pyclass(module = "rekindle", frozen)]
pub(crate) struct Checkpoint {
    /// The state that was read.
    root: Arc<State>,
    /// The component of it that this object stands for; empty for the whole.
    component: String,
    manifest: Arc<Value>,
    path: PathBuf,
}

impl Checkpoint {
    fn state(&self) -> Result<&State> {
        match self.component.is_empty() {
            true => Ok(&self.root),
            false => Ok(self.root.component(&self.component)?),
        }
    }

    /// Returns a component of this state by its path, such as `learner/rl_module`.
    fn part(&self, name: &str) -> Result<Self> {
        let (manifest, path) = (Arc::clone(&self.manifest), self.path.join(name));
        let component = match self.component.as_str() {
            "" => name.to_owned(),
            above => format!("{above}/{name}"),
        };
        if self.root.component(&component).is_ok() {
            return Ok(Self { root: Arc::clone(&self.root), component, manifest, path });
        }
        // Large parts, such as those of replay buffers, are no components in memory.
        let mut state = self.state()?.part(name.split('/').next().unwrap_or(name))?.into_owned();
        for name in name.split('/').skip(1) {
            state = state.part(name)?.into_owned();
        }
        Ok(Self { root: Arc::new(state), component: String::new(), manifest, path })
    }
}

#[pymethods]
impl Checkpoint {
    /// Reads a checkpoint, a component of one, or the latest checkpoint of a run folder, and verifies all digests.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let read = || -> Result<_> {
            let path = match is_run(&path) {
                true => checkpoint_of_run(&path, "latest")?,
                false => path,
            };
            let state = checkpoint::read(&path)?;
            Ok((state, manifest(&path)?, path))
        };
        let (state, manifest, path) = py.detach(read)?;
        Ok(Self {
            root: Arc::new(state),
            component: String::new(),
            manifest: manifest.into(),
            path,
        })
    }

    /// The directory that was read.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The manifest of the directory that was read: format, version of the library, digests.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.manifest)
    }

    /// Everything that is not an array: counters, settings, random streams.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.state()?.data)
    }

    /// The arrays of this component by name, as NumPy arrays.
    #[getter]
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, array) in &self.state()?.tensors {
            dict.set_item(name, to_numpy(py, array)?)?;
        }
        Ok(dict)
    }

    /// The names of the components.
    #[getter]
    fn components(&self) -> PyResult<Vec<String>> {
        let state = self.state()?;
        Ok(state.components.keys().chain(state.shards.keys()).cloned().collect())
    }

    /// Returns a component by its path, such as ``learner/rl_module/default_policy``.
    fn __getitem__(&self, name: &str) -> PyResult<Self> {
        self.part(name).map_err(|failure| PyKeyError::new_err(failure.message))
    }

    fn __contains__(&self, name: &str) -> bool {
        self.part(name).is_ok()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.components()?.into_pyobject(py)?.try_iter()?.into_any())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.components()?.len())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a Checkpoint cannot be pickled; pass its `path`, and call `Checkpoint.read(path)` in the other process",
        ))
    }

    fn __repr__(&self) -> PyResult<String> {
        let state = self.state()?;
        let components = self.components()?.join(", ");
        Ok(format!(
            "<Checkpoint {}: {} arrays, components [{components}]>",
            self.path.display(),
            state.tensors.len()
        ))
    }
}

fn manifest(path: &Path) -> Result<Value> {
    let path = path.join("manifest.json");
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Kind::Checkpoint, format!("{}: {error}", path.display()))
    };
    let bytes = std::fs::read(&path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

fn to_numpy<'py>(py: Python<'py>, saved: &Array) -> PyResult<Bound<'py, PyAny>> {
    let shape = saved.shape();
    match saved.data() {
        ArrayData::F32(values) => array(py, values, "f4", shape),
        ArrayData::F64(values) => array(py, values, "f8", shape),
        ArrayData::I64(values) => array(py, values, "i8", shape),
        ArrayData::I32(values) => array(py, values, "i4", shape),
        ArrayData::U8(values) => array(py, values, "u1", shape),
        ArrayData::Bool(values) => array(py, values, "?", shape),
        other => {
            let message = format!("arrays of {} cannot be read from Python", other.dtype());
            Err(Failure::new(Kind::Checkpoint, message).into())
        }
    }
}
