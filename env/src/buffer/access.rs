//! Whole columns of a buffer.

use std::collections::BTreeMap;

use super::leaf::Element;
use super::{Buffer, Contents};
use crate::error::{EnvError, Result};

impl Buffer {
    /// Returns the data of a `float32` leaf, `[rows, ..shape]`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_f32(&self) -> Result<&[f32]> {
        Ok(f32::leaf(&self.column)?.data.as_slice())
    }

    /// Returns the data of a `float32` leaf for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_f32_mut(&mut self) -> Result<&mut [f32]> {
        Ok(f32::leaf_mut(&mut self.column)?.data.as_mut())
    }

    /// Returns the data of a leaf of bytes or bits, `[rows, ..shape]`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_u8(&self) -> Result<&[u8]> {
        Ok(u8::leaf(&self.column)?.data.as_slice())
    }

    /// Returns the data of a leaf of bytes or bits for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_u8_mut(&mut self) -> Result<&mut [u8]> {
        Ok(u8::leaf_mut(&mut self.column)?.data.as_mut())
    }

    /// Returns the data of a leaf of choices or integers, `[rows, ..shape]`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_i64(&self) -> Result<&[i64]> {
        Ok(i64::leaf(&self.column)?.data.as_slice())
    }

    /// Returns the data of a leaf of choices or integers for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    #[inline]
    pub fn as_i64_mut(&mut self) -> Result<&mut [i64]> {
        Ok(i64::leaf_mut(&mut self.column)?.data.as_mut())
    }

    /// Whether the buffer is a leaf of bytes or bits.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self.column, Contents::Byte(_))
    }

    /// Returns the shape of one row of a leaf: `[]` for a `Discrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    pub fn shape(&self) -> Result<&[usize]> {
        match &self.column {
            Contents::Float(leaf) => Ok(&leaf.shape),
            Contents::Byte(leaf) => Ok(&leaf.shape),
            Contents::Int(leaf) => Ok(&leaf.shape),
            other => Err(other.wrong_kind("a leaf")),
        }
    }

    /// Returns the parts of a `Dict`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    pub fn as_dict(&self) -> Result<&BTreeMap<String, Self>> {
        match &self.column {
            Contents::Dict(parts) => Ok(parts),
            other => Err(other.wrong_kind("a Dict")),
        }
    }

    /// Returns the parts of a `Tuple`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the buffer is of another kind.
    pub fn as_tuple(&self) -> Result<&[Self]> {
        match &self.column {
            Contents::Tuple(parts) => Ok(parts),
            other => Err(other.wrong_kind("a Tuple")),
        }
    }

    /// Returns one part of a `Dict`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of
    /// buffer.
    #[inline]
    pub fn get(&self, key: &str) -> Result<&Self> {
        let Contents::Dict(parts) = &self.column else {
            return Err(self.column.wrong_kind(&format!("a Dict with a part `{key}`")));
        };
        parts.get(key).ok_or_else(|| EnvError::missing_key(key, parts.keys()))
    }

    /// Returns one part of a `Tuple`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of
    /// buffer.
    #[inline]
    pub fn index(&self, position: usize) -> Result<&Self> {
        let parts = self.as_tuple()?;
        parts.get(position).ok_or_else(|| EnvError::missing_part(position, parts.len()))
    }

    /// Returns every leaf with its path: parts of a `Dict` sorted by key, parts of a `Tuple` in
    /// order.
    ///
    /// A path joins keys and positions with dots, as in `arm.joints.0`. The path of a buffer that
    /// is a leaf itself is empty.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, &Self)> {
        let mut leaves = Vec::new();
        self.collect_leaves(String::new(), &mut leaves);
        leaves
    }

    fn collect_leaves<'a>(&'a self, path: String, leaves: &mut Vec<(String, &'a Self)>) {
        let join = |key: &str| {
            if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
        };
        match &self.column {
            Contents::Dict(parts) => {
                parts.iter().for_each(|(key, part)| part.collect_leaves(join(key), leaves));
            }
            Contents::Tuple(parts) => {
                for (position, part) in parts.iter().enumerate() {
                    part.collect_leaves(join(&position.to_string()), leaves);
                }
            }
            _ => leaves.push((path, self)),
        }
    }
}
