//! NumPy arrays as rows of a space.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rekindle::env::{BoxDType, Buffer, Space};

use crate::error::{Failure, Kind};
use crate::numpy::as_array;

/// Elements of a space.
pub(crate) struct Rows {
    pub(crate) buffer: Buffer,
    /// Whether they were given as a batch. A single element is one row.
    pub(crate) is_batch: bool,
}

/// Reads one element of a space, or a batch of them: arrays with one more axis in front. `what` names them in errors.
///
/// Elements are copied once, straight from the array, if its type is that of the space. A policy may not read the memory
/// of the array itself, because another thread may write to it while the policy works.
pub(crate) fn read(space: &Space, value: &Bound<'_, PyAny>, what: &str) -> PyResult<Rows> {
    let mut is_batch = None;
    let buffer = part(space, value, what, &mut is_batch)?;
    Ok(Rows { buffer, is_batch: is_batch.unwrap_or(false) })
}

fn part(
    space: &Space,
    value: &Bound<'_, PyAny>,
    path: &str,
    is_batch: &mut Option<bool>,
) -> PyResult<Buffer> {
    match space {
        Space::Dict(spaces) => {
            let names = || spaces.iter().map(|(key, _)| key).collect::<Vec<_>>().join(", ");
            let Ok(dict) = value.cast::<PyDict>() else {
                let found = type_name(value)?;
                return Err(wrong(format!("{path} must be a dict of {}, not {found}", names())));
            };
            let mut parts = Vec::new();
            for (key, space) in spaces.iter() {
                let Some(value) = dict.get_item(key)? else {
                    return Err(wrong(format!("{path} has no `{key}`; it needs {}", names())));
                };
                let path = format!("{path}[\"{key}\"]");
                parts.push((key, part(space, &value, &path, is_batch)?));
            }
            for key in dict.keys() {
                if !key.extract::<&str>().is_ok_and(|key| spaces.get(key).is_ok()) {
                    let message = format!("{path} has an unknown part {key}; it needs {}", names());
                    return Err(wrong(message));
                }
            }
            Buffer::from_dict(parts).map_err(|error| wrong(format!("{path}: {error}")))
        }
        Space::Tuple(spaces) => {
            let spaces = spaces.spaces();
            let count = spaces.len();
            let Ok(tuple) = value.cast::<PyTuple>() else {
                let found = type_name(value)?;
                return Err(wrong(format!("{path} must be a tuple of {count} parts, not {found}")));
            };
            if tuple.len() != count {
                let found = tuple.len();
                return Err(wrong(format!("{path} must have {count} parts, not {found}")));
            }
            let parts = spaces.iter().zip(tuple).enumerate().map(|(index, (space, value))| {
                part(space, &value, &format!("{path}[{index}]"), is_batch)
            });
            let parts = parts.collect::<PyResult<_>>()?;
            Buffer::from_tuple(parts).map_err(|error| wrong(format!("{path}: {error}")))
        }
        Space::Box(space) => {
            let mut leaf = Leaf::new(value, space.shape(), path, is_batch)?;
            let buffer = match space.dtype() {
                BoxDType::Float32 => Buffer::from_f32(leaf.floats()?, space.shape()),
                BoxDType::Uint8 => Buffer::from_u8(leaf.bytes()?, space.shape()),
                BoxDType::Int32 | BoxDType::Int64 => {
                    Buffer::from_i64(leaf.integers()?, space.shape())
                }
                other => return Err(wrong(format!("{path}: arrays of {other:?} are not known"))),
            };
            leaf.check(buffer)
        }
        Space::Discrete(_) => {
            let mut leaf = Leaf::new(value, &[], path, is_batch)?;
            let buffer = Buffer::from_i64(leaf.integers()?, &[]);
            leaf.check(buffer)
        }
        Space::MultiDiscrete(space) => {
            let shape = [space.nvec().len()];
            let mut leaf = Leaf::new(value, &shape, path, is_batch)?;
            let buffer = Buffer::from_i64(leaf.integers()?, &shape);
            leaf.check(buffer)
        }
        Space::MultiBinary(space) => {
            let shape = [space.n()];
            let mut leaf = Leaf::new(value, &shape, path, is_batch)?;
            let buffer = Buffer::from_u8(leaf.bytes()?, &shape);
            leaf.check(buffer)
        }
    }
}

/// An array for a leaf of a space.
struct Leaf<'a, 'py> {
    path: &'a str,
    array: Bound<'py, PyAny>,
}

impl<'a, 'py> Leaf<'a, 'py> {
    /// Takes an array whose shape is that of a row, or has one more axis in front.
    fn new(
        value: &Bound<'py, PyAny>,
        shape: &[usize],
        path: &'a str,
        is_batch: &mut Option<bool>,
    ) -> PyResult<Self> {
        let mut array = as_array(value)?;
        let py = array.py();
        let found: Vec<usize> = array.getattr(intern!(py, "shape"))?.extract()?;
        let has_batch_axis = found.len() == shape.len() + 1 && found[1..] == *shape;
        if found != shape && !has_batch_axis {
            let rows =
                Some("rows".to_owned()).into_iter().chain(shape.iter().map(usize::to_string));
            let rows = rows.collect::<Vec<_>>().join(", ");
            let message = format!(
                "{path} must have the shape {shape:?}, or [{rows}] for a batch; it has {found:?}"
            );
            return Err(wrong(message));
        }
        if *is_batch.get_or_insert(has_batch_axis) != has_batch_axis {
            let (this, others) = if has_batch_axis { ("", "not ") } else { ("not ", "") };
            let message =
                format!("{path} is {this}a batch, and the parts before it are {others}one");
            return Err(wrong(message));
        }
        if found.is_empty() {
            // Arrays without axes have no buffer.
            array = array.call_method1(intern!(py, "reshape"), (1,))?;
        }
        Ok(Self { path, array })
    }

    /// Returns the elements if the array has this type, in the byte order of this machine.
    fn exactly<T: Element>(&self) -> Option<PyResult<Vec<T>>> {
        let py = self.array.py();
        let buffer = PyBuffer::<T>::get(&self.array).ok()?;
        let foreign: &[u8] = if cfg!(target_endian = "little") { b">!" } else { b"<" };
        // PyO3 does not compare the byte order.
        let is_foreign = buffer.format().to_bytes().first().is_some_and(|c| foreign.contains(c));
        (!is_foreign).then(|| buffer.to_vec(py))
    }

    /// Converts the array to another type if its kind is one of `kinds`, in NumPy's letters.
    fn convert(&mut self, kinds: &str, dtype: &str, expected: &str) -> PyResult<()> {
        let found = self.array.getattr("dtype")?;
        let kind: String = found.getattr("kind")?.extract()?;
        if !kinds.contains(&kind) {
            let path = self.path;
            return Err(wrong(format!("{path} must be an array of {expected}, not of {found}")));
        }
        self.array = self.array.call_method1("astype", (dtype,))?;
        Ok(())
    }

    fn floats(&mut self) -> PyResult<Vec<f32>> {
        match self.exactly() {
            Some(values) => values,
            None => {
                self.convert("fiub", "=f4", "numbers")?;
                self.exactly().unwrap_or_else(|| Err(self.unreadable()))
            }
        }
    }

    fn integers(&mut self) -> PyResult<Vec<i64>> {
        match self.exactly() {
            Some(values) => values,
            None => {
                self.convert("iub", "=i8", "integers")?;
                self.exactly().unwrap_or_else(|| Err(self.unreadable()))
            }
        }
    }

    fn bytes(&mut self) -> PyResult<Vec<u8>> {
        if let Some(values) = self.exactly() {
            return values;
        }
        let to_byte = |value: i64| {
            u8::try_from(value).map_err(|_| {
                let path = self.path;
                wrong(format!("{path} must be an array of bytes, from 0 to 255, and has {value}"))
            })
        };
        let mut leaf = Self { path: self.path, array: self.array.clone() };
        leaf.integers()?.into_iter().map(to_byte).collect()
    }

    fn unreadable(&self) -> PyErr {
        wrong(format!("{} has no buffer that can be read", self.path))
    }

    fn check(&self, buffer: Result<Buffer, rekindle::env::EnvError>) -> PyResult<Buffer> {
        buffer.map_err(|error| wrong(format!("{}: {error}", self.path)))
    }
}

fn type_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value.get_type().name()?.to_string())
}

fn wrong(message: String) -> PyErr {
    Failure::new(Kind::Input, message).into()
}
