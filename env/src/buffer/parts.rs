//! The storage of a buffer, to be passed on without a copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Buffer, Contents};

/// The storage of a [`Buffer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Parts {
    /// A leaf of `f32`: row-major data and the shape of one row.
    Float(Vec<f32>, Vec<usize>),
    /// A leaf of bytes or bits: row-major data and the shape of one row.
    Byte(Vec<u8>, Vec<usize>),
    /// A leaf of choices or integers: row-major data and the shape of one row.
    Int(Vec<i64>, Vec<usize>),
    /// One buffer per key.
    Dict(BTreeMap<String, Buffer>),
    /// One buffer per position.
    Tuple(Vec<Buffer>),
}

impl Buffer {
    /// Returns the storage without copying it. Only rows that [stack frames](Buffer::push_stack) are written here.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        match self.column {
            Contents::Float(leaf) => Parts::Float(leaf.data.into_vec(), leaf.shape),
            Contents::Byte(leaf) => Parts::Byte(leaf.data.into_vec(), leaf.shape),
            Contents::Int(leaf) => Parts::Int(leaf.data.into_vec(), leaf.shape),
            Contents::Dict(parts) => Parts::Dict(parts),
            Contents::Tuple(parts) => Parts::Tuple(parts),
        }
    }

    /// Returns the memory of a leaf of bytes or bits without copying it, and the shape of one row. The buffer shares it
    /// with its clones until one of the owners changes it.
    ///
    /// # Errors
    ///
    /// The buffer itself if it is of another kind.
    pub fn into_shared_u8(self) -> Result<(Arc<Vec<u8>>, Vec<usize>), Self> {
        match self.column {
            Contents::Byte(leaf) => Ok((leaf.data.into_store(), leaf.shape)),
            column => Err(Self { rows: self.rows, column }),
        }
    }

    /// Returns one part of a `Dict` by its key, or of a `Tuple` by its position, for changes.
    ///
    /// The caller keeps the parts equally long.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`](crate::EnvError::MissingKey) if the part is missing,
    /// [`EnvError::WrongKind`](crate::EnvError::WrongKind) for a leaf.
    pub fn part_mut(&mut self, key: &str) -> crate::error::Result<&mut Self> {
        let is_dict = matches!(self.column, Contents::Dict(_));
        // Check for the part first, because the error needs the buffer while the part is borrowed.
        if is_dict {
            self.get(key)?;
        } else {
            self.index(key.parse().unwrap_or(usize::MAX))?;
        }
        match &mut self.column {
            Contents::Dict(parts) => parts.get_mut(key),
            Contents::Tuple(parts) => parts.get_mut(key.parse().unwrap_or(usize::MAX)),
            _ => None,
        }
        .ok_or_else(|| crate::error::EnvError::wrong_kind("a Dict or Tuple", "a leaf"))
    }

    /// Returns all parts of a `Dict`, sorted by key, for changes. Another buffer has no parts.
    ///
    /// The caller keeps the parts equally long.
    pub fn dict_parts_mut(&mut self) -> impl Iterator<Item = (&str, &mut Self)> {
        let parts = match &mut self.column {
            Contents::Dict(parts) => Some(parts),
            _ => None,
        };
        parts.into_iter().flatten().map(|(key, part)| (key.as_str(), part))
    }
}
