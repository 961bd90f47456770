//! Typed n-dimensional arrays on the host.

use crate::error::{CheckpointError, Result};

/// A typed n-dimensional array on the host, in row-major order.
///
/// The product of the shape is always the number of elements. A scalar has the empty shape. Two arrays are
/// equal if their shapes and elements are, so an array that contains NaN equals no array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: ArrayData,
}

/// The elements of an [`Array`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ArrayData {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 64-bit floating point.
    F64(Vec<f64>),
    /// 64-bit signed integers.
    I64(Vec<i64>),
    /// 32-bit signed integers.
    I32(Vec<i32>),
    /// Bytes.
    U8(Vec<u8>),
    /// Booleans, one byte each on disk.
    Bool(Vec<bool>),
}

/// A type that an [`Array`] can hold.
pub trait Element: Copy + sealed::Sealed {
    /// The name of the type in safetensors.
    const DTYPE: &'static str;

    /// Returns the elements if they have this type.
    fn slice(data: &ArrayData) -> Option<&[Self]>;

    /// Wraps elements of this type.
    fn wrap(values: Vec<Self>) -> ArrayData;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($type:ty, $variant:ident, $name:literal) => {
        impl sealed::Sealed for $type {}

        impl Element for $type {
            const DTYPE: &'static str = $name;

            fn slice(data: &ArrayData) -> Option<&[Self]> {
                match data {
                    ArrayData::$variant(values) => Some(values),
                    _ => None,
                }
            }

            fn wrap(values: Vec<Self>) -> ArrayData {
                ArrayData::$variant(values)
            }
        }
    };
}

element!(f32, F32, "F32");
element!(f64, F64, "F64");
element!(i64, I64, "I64");
element!(i32, I32, "I32");
element!(u8, U8, "U8");
element!(bool, Bool, "BOOL");

impl ArrayData {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::Bool(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name of the element type in safetensors.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => f32::DTYPE,
            Self::F64(_) => f64::DTYPE,
            Self::I64(_) => i64::DTYPE,
            Self::I32(_) => i32::DTYPE,
            Self::U8(_) => u8::DTYPE,
            Self::Bool(_) => bool::DTYPE,
        }
    }
}

impl<T: Element> From<Vec<T>> for ArrayData {
    fn from(values: Vec<T>) -> Self {
        T::wrap(values)
    }
}

/// A one-dimensional array.
impl<T: Element> From<Vec<T>> for Array {
    fn from(values: Vec<T>) -> Self {
        Self { shape: vec![values.len()], data: values.into() }
    }
}

impl Array {
    /// Creates an array of the given shape without copying the elements.
    ///
    /// # Errors
    /// [`CheckpointError::ShapeMismatch`] if the product of the shape is not the number of
    /// elements, or overflows.
    pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<ArrayData>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        if shape.iter().try_fold(1, |len: usize, axis| len.checked_mul(*axis)) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(CheckpointError::ShapeMismatch { len: data.len(), shape })
        }
    }

    /// Returns the length of every axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements.
    #[must_use]
    pub fn data(&self) -> &ArrayData {
        &self.data
    }

    /// Returns the elements as a slice, without conversion.
    ///
    /// # Errors
    /// [`CheckpointError::DtypeMismatch`] if they are not of type `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        T::slice(&self.data)
            .ok_or(CheckpointError::DtypeMismatch { expected: T::DTYPE, found: self.data.dtype() })
    }

    /// Splits the array into shape and elements without copying.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, ArrayData) {
        (self.shape, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_describe_the_elements() {
        assert!(Array::new([2, 3], vec![0f32; 6]).is_ok());
        assert!(Array::new([], vec![1i64]).is_ok());
        assert!(Array::new([0, 7], Vec::<u8>::new()).is_ok());
        for shape in [vec![2, 2], vec![], vec![usize::MAX, 2], vec![1 << 63, 2, 3]] {
            let error = Array::new(shape, vec![0f32; 6]).unwrap_err();
            assert!(matches!(error, CheckpointError::ShapeMismatch { len: 6, .. }));
        }
    }

    #[test]
    fn elements_are_not_converted() {
        let array = Array::from(vec![true, false]);
        assert_eq!(array.as_slice::<bool>().unwrap(), [true, false]);
        let error = array.as_slice::<u8>().unwrap_err();
        assert_eq!(error.to_string(), "the array holds BOOL elements, not U8");
    }
}
