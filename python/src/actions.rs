//! Rows of a space as NumPy arrays.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rekindle::env::{BoxDType, Buffer, Space};

use crate::error::{Failure, Kind, Result};
use crate::numpy::array;

/// Returns rows with the types of Gymnasium's spaces, or the only row without the axis of rows. A single number is a
/// scalar of NumPy.
pub(crate) fn write<'py>(
    py: Python<'py>,
    space: &Space,
    rows: &Buffer,
    is_batch: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let leaf = match space {
        Space::Dict(spaces) => {
            let dict = PyDict::new(py);
            for (key, space) in spaces.iter() {
                dict.set_item(key, write(py, space, failing(rows.get(key))?, is_batch)?)?;
            }
            return Ok(dict.into_any());
        }
        Space::Tuple(spaces) => {
            let parts = spaces.spaces().iter().enumerate();
            let parts = parts
                .map(|(index, space)| write(py, space, failing(rows.index(index))?, is_batch))
                .collect::<PyResult<Vec<_>>>()?;
            return Ok(PyTuple::new(py, parts)?.into_any());
        }
        Space::Box(space) => space.dtype(),
        Space::Discrete(_) | Space::MultiDiscrete(_) => BoxDType::Int64,
        Space::MultiBinary(_) => BoxDType::Uint8,
    };
    let mut shape = failing(rows.shape())?.to_vec();
    if is_batch {
        shape.insert(0, rows.rows());
    }
    let is_scalar = shape.is_empty();
    let written = match leaf {
        BoxDType::Float32 => array(py, failing(rows.as_f32())?, "f4", &shape)?,
        BoxDType::Int64 => array(py, failing(rows.as_i64())?, "i8", &shape)?,
        BoxDType::Int32 => {
            // Elements of an int32 space fit.
            let values: Vec<i32> =
                failing(rows.as_i64())?.iter().map(|&value| value as i32).collect();
            array(py, &values, "i4", &shape)?
        }
        BoxDType::Uint8 => {
            let bits = matches!(space, Space::MultiBinary(_));
            array(py, failing(rows.as_u8())?, if bits { "i1" } else { "u1" }, &shape)?
        }
        other => {
            let message = format!("actions of {other:?} are not known");
            return Err(Failure::new(Kind::Other, message).into());
        }
    };
    match is_scalar {
        true => written.get_item(PyTuple::empty(py)),
        false => Ok(written),
    }
}

/// The error of rows that are not of the space.
fn failing<T>(result: std::result::Result<T, rekindle::env::EnvError>) -> Result<T> {
    Ok(result?)
}
