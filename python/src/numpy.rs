//! NumPy arrays, through the buffer protocol and NumPy's own functions.

use bytemuck::NoUninit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyTuple};

/// Returns a function or class of the module `numpy`.
fn item<'py>(
    py: Python<'py>,
    kept: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let item =
        kept.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr(name)?.unbind()));
    Ok(item?.bind(py).clone())
}

/// Returns a value as an array: itself if it is one.
pub(crate) fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    if value.is_instance(&item(py, &CLASS, "ndarray")?)? {
        return Ok(value.clone());
    }
    item(py, &ASARRAY, "asarray")?.call1((value,))
}

/// Returns an array of its own memory with a copy of row-major data. `dtype` is NumPy's short name of the type.
pub(crate) fn array<'py, T: NoUninit>(
    py: Python<'py>,
    data: &[T],
    dtype: &str,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    static FROM_BUFFER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let bytes = PyByteArray::new(py, bytemuck::cast_slice(data));
    let array = item(py, &FROM_BUFFER, "frombuffer")?.call1((bytes, dtype))?;
    if shape.len() == 1 {
        return Ok(array);
    }
    array.call_method1(intern!(py, "reshape"), (PyTuple::new(py, shape)?,))
}
