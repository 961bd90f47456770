//! A buffer taken apart, to hand its storage on without a copy.

use std::collections::BTreeMap;

use super::{Buffer, Contents};

/// The storage of a [`Buffer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Parts {
    /// A `float32` leaf: row-major data and the shape of one row.
    Float(Vec<f32>, Vec<usize>),
    /// A `uint8` or `MultiBinary` leaf: row-major data and the shape of one row.
    Byte(Vec<u8>, Vec<usize>),
    /// A `Discrete` or `MultiDiscrete` leaf: row-major data and the shape of one row.
    Int(Vec<i64>, Vec<usize>),
    /// One buffer per key.
    Dict(BTreeMap<String, Buffer>),
    /// One buffer per position.
    Tuple(Vec<Buffer>),
}

impl Buffer {
    /// Takes the buffer apart; nothing is copied.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        match self.column {
            Contents::Float(leaf) => Parts::Float(leaf.data, leaf.shape),
            Contents::Byte(leaf) => Parts::Byte(leaf.data, leaf.shape),
            Contents::Int(leaf) => Parts::Int(leaf.data, leaf.shape),
            Contents::Dict(parts) => Parts::Dict(parts),
            Contents::Tuple(parts) => Parts::Tuple(parts),
        }
    }
}

impl Buffer {
    /// One part of a `Dict` by key, or of a `Tuple` by position, to be changed.
    ///
    /// The caller keeps the parts equally long.
    pub fn part_mut(&mut self, key: &str) -> crate::Result<&mut Self> {
        let is_dict = matches!(self.column, Contents::Dict(_));
        // Asked first, because the error needs the buffer while the borrow of the part lives on.
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
        .ok_or_else(|| crate::EnvError::wrong_kind("a Dict or Tuple", "a leaf"))
    }
}
