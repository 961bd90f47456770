//! Owned elements of spaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An owned element of a [`Space`](crate::Space).
///
/// Values are for tests, configuration and single actions. Experience is stored in a
/// [`Buffer`](crate::Buffer), whose rows hold the same data without an allocation for each.
///
/// | Space | Value |
/// |---|---|
/// | `Box` of `float32` | `Float`, row-major |
/// | `Box` of `uint8` | `Byte`, row-major |
/// | `Box` of `int32` or `int64` | `Int`, row-major; `Discrete` for the shape `[]` |
/// | `Discrete` | `Discrete` |
/// | `MultiDiscrete` | `Int` |
/// | `MultiBinary` | `Byte` of zeros and ones |
/// | `Dict`, `Tuple` | `Dict`, `Tuple` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Floating-point numbers.
    Float(#[serde(with = "crate::float::list")] Vec<f32>),
    /// Bytes.
    Byte(Vec<u8>),
    /// Integers.
    Int(Vec<i64>),
    /// A single integer.
    Discrete(i64),
    /// Named parts.
    Dict(BTreeMap<String, Self>),
    /// Parts in order.
    Tuple(Vec<Self>),
}

impl Value {
    /// Creates a `Dict` from its entries. The last one of entries with the same key counts.
    ///
    /// ```
    /// use rekindle_env::Value;
    ///
    /// let value = Value::dict([("door", Value::from(1)), ("speed", Value::from([0.5, -0.5]))]);
    /// assert!(matches!(value, Value::Dict(_)));
    /// ```
    #[must_use]
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Creates a `Tuple` from its parts.
    #[must_use]
    pub fn tuple(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(parts.into_iter().collect())
    }

    /// The kind and size in words, for error messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Float(numbers) => format!("{} float32 numbers", numbers.len()),
            Self::Byte(bytes) => format!("{} uint8 numbers", bytes.len()),
            Self::Int(numbers) => format!("{} int64 numbers", numbers.len()),
            Self::Discrete(number) => format!("the discrete value {number}"),
            Self::Dict(parts) => format!("a Dict of {:?}", parts.keys().collect::<Vec<_>>()),
            Self::Tuple(parts) => format!("a Tuple of {} parts", parts.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Discrete(number)
    }
}

impl From<Vec<f32>> for Value {
    fn from(numbers: Vec<f32>) -> Self {
        Self::Float(numbers)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Byte(bytes)
    }
}

impl From<Vec<i64>> for Value {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Int(numbers)
    }
}

impl<const N: usize> From<[f32; N]> for Value {
    fn from(numbers: [f32; N]) -> Self {
        Self::Float(numbers.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Byte(bytes.to_vec())
    }
}

impl<const N: usize> From<[i64; N]> for Value {
    fn from(numbers: [i64; N]) -> Self {
        Self::Int(numbers.to_vec())
    }
}
