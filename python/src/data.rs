//! Plain data as objects of Python, and back.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple};
use serde_json::{Map, Value};

use crate::error::{Failure, Kind};

/// Reads settings: None, booleans, numbers, texts, paths, arrays of NumPy, lists and dicts of them. Infinity is no limit
/// and becomes null, as in files of settings. `path` names them in errors.
pub(crate) fn from_python(value: &Bound<'_, PyAny>, path: &str) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(value.is_true().into());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_cow()?.into());
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let mut fields = Map::new();
        for (key, value) in dict {
            let Ok(key) = key.extract::<String>() else {
                return Err(wrong(format!("a name in `{path}` is {key}, and must be a text")));
            };
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            fields.insert(key, from_python(&value, &path)?);
        }
        return Ok(fields.into());
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.map(|item| from_python(&item?, path));
        return Ok(Value::Array(items.collect::<PyResult<_>>()?));
    }
    // Arrays and numbers of NumPy.
    if value.hasattr("tolist")? {
        return from_python(&value.call_method0("tolist")?, path);
    }
    if value.hasattr("__fspath__")? {
        return from_python(&value.call_method0("__fspath__")?, path);
    }
    if let Ok(number) = value.extract::<i64>() {
        return Ok(number.into());
    }
    if let Ok(number) = value.extract::<u64>() {
        return Ok(number.into());
    }
    match value.extract::<f64>() {
        Ok(f64::INFINITY) => Ok(Value::Null),
        Ok(number) if number.is_finite() => Ok(number.into()),
        Ok(number) => Err(wrong(format!("`{path}` is {number}, and no setting may be that"))),
        Err(_) => {
            let found = value.get_type().name()?.to_string();
            Err(wrong(format!(
                "`{path}` is an object of the class {found}; settings are None, booleans, numbers, texts, lists and dicts"
            )))
        }
    }
}

/// Returns plain data as None, booleans, numbers, texts, lists and dicts.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any(),
            (None, Some(number)) => number.into_pyobject(py)?.into_any(),
            (None, None) => number.as_f64().into_pyobject(py)?.into_any(),
        },
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Array(items) => {
            let items =
                items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (key, value) in fields {
                dict.set_item(key, to_python(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

fn wrong(message: String) -> PyErr {
    Failure::new(Kind::Config, message).into()
}
