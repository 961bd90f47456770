//! Which weights a parameter can take.

use rekindle_checkpoint::{Array, ArrayData};

use crate::any_tensor::TensorKind;
use crate::error::{CoreError, Result};

/// Returns the kind of parameter that takes these elements, if there is one.
pub(super) fn kind(data: &ArrayData) -> Option<TensorKind> {
    match data {
        ArrayData::F32(_) | ArrayData::F64(_) => Some(TensorKind::Float),
        ArrayData::I64(_) | ArrayData::I32(_) | ArrayData::U8(_) => Some(TensorKind::Int),
        ArrayData::Bool(_) => Some(TensorKind::Bool),
        _ => None,
    }
}

/// Checks that every value is finite and in the range of parameters: 32-bit floats and integers.
pub(super) fn values(name: &str, weight: &Array) -> Result<()> {
    let bad = match weight.data() {
        ArrayData::F32(values) => find(values, |x| x.is_finite()),
        // Also beyond the range of 32 bits, where the conversion would give an infinity.
        ArrayData::F64(values) => find(values, |x| (*x as f32).is_finite()),
        ArrayData::I64(values) => find(values, |x| i32::try_from(*x).is_ok()),
        _ => None,
    };
    match bad {
        None => Ok(()),
        Some((index, value)) => {
            let index = unravel(index, weight.shape());
            Err(CoreError::WeightValue { name: name.into(), index, value })
        }
    }
}

/// Returns the first value that fails the test, and its position.
fn find<T: ToString>(values: &[T], fits: impl Fn(&T) -> bool) -> Option<(usize, String)> {
    let index = values.iter().position(|value| !fits(value))?;
    values.get(index).map(|value| (index, value.to_string()))
}

/// Returns the coordinates of an element in a row-major array.
fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&axis| {
            let coordinate = index % axis.max(1);
            index /= axis.max(1);
            coordinate
        })
        .collect();
    coordinates.reverse();
    coordinates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_row_major() {
        assert_eq!(unravel(0, &[2, 3]), [0, 0]);
        assert_eq!(unravel(5, &[2, 3]), [1, 2]);
        assert_eq!(unravel(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(unravel(0, &[]), [0; 0]);
    }
}
