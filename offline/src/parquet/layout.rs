//! How a column of any space is stored: the leaves of its buffer, each in a Parquet column.

use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The structure of a buffer, without its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layout {
    /// `f32` of a shape.
    Float(Vec<usize>),
    /// `i64` of a shape.
    Int(Vec<usize>),
    /// `u8` of a shape.
    Byte(Vec<usize>),
    Dict(Vec<(String, Self)>),
    Tuple(Vec<Self>),
}

/// The numbers of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Byte,
}

impl Kind {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float => 4,
            Self::Int => 8,
            Self::Byte => 1,
        }
    }
}

/// A leaf of a layout: a Parquet column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The name of the column: the keys and positions of its path, joined by dots.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Numbers of a row.
    pub(super) width: usize,
    /// Whether rows are single floats or integers, which have a Parquet type of their own.
    pub(super) is_scalar: bool,
}

/// Deepest nesting of a layout.
const DEEPEST: usize = 32;

impl Layout {
    pub(super) fn of(buffer: &Buffer) -> Result<Self> {
        if let Ok(parts) = buffer.as_dict() {
            let parts = parts.iter().map(|(key, part)| Ok((key.clone(), Self::of(part)?)));
            return Ok(Self::Dict(parts.collect::<Result<_>>()?));
        }
        if let Ok(parts) = buffer.as_tuple() {
            return Ok(Self::Tuple(parts.iter().map(Self::of).collect::<Result<_>>()?));
        }
        let shape = buffer.shape()?.to_vec();
        Ok(match (buffer.as_f32().is_ok(), buffer.as_i64().is_ok()) {
            (true, _) => Self::Float(shape),
            (_, true) => Self::Int(shape),
            _ => Self::Byte(shape),
        })
    }

    /// Returns the leaves in order; `None` for a layout of a file that is too deep or too wide.
    pub(super) fn leaves(&self, name: &str) -> Option<Vec<Leaf>> {
        let mut leaves = Vec::new();
        self.collect(name.to_owned(), 0, &mut leaves)?;
        Some(leaves)
    }

    fn collect(&self, name: String, depth: usize, leaves: &mut Vec<Leaf>) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let mut leaf = |kind: Kind, shape: &[usize]| {
            let width = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size))?;
            let bytes = width.checked_mul(kind.size())?;
            i32::try_from(bytes).ok()?;
            let is_scalar = shape.is_empty() && kind != Kind::Byte;
            leaves.push(Leaf { name: name.clone(), kind, width, is_scalar });
            Some(())
        };
        match self {
            Self::Float(shape) => leaf(Kind::Float, shape),
            Self::Int(shape) => leaf(Kind::Int, shape),
            Self::Byte(shape) => leaf(Kind::Byte, shape),
            Self::Dict(parts) => parts.iter().try_for_each(|(key, part)| {
                part.collect(format!("{name}.{key}"), depth + 1, leaves)
            }),
            Self::Tuple(parts) => parts.iter().enumerate().try_for_each(|(index, part)| {
                part.collect(format!("{name}.{index}"), depth + 1, leaves)
            }),
        }
    }

    /// Builds a buffer from its leaves in order.
    pub(super) fn build(&self, leaves: &mut impl Iterator<Item = Buffer>) -> Result<Buffer> {
        Ok(match self {
            Self::Dict(parts) => {
                let parts = parts.iter().map(|(key, part)| Ok((key.clone(), part.build(leaves)?)));
                Buffer::from_dict(parts.collect::<Result<Vec<_>>>()?)?
            }
            Self::Tuple(parts) => {
                let parts = parts.iter().map(|part| part.build(leaves));
                Buffer::from_tuple(parts.collect::<Result<_>>()?)?
            }
            Self::Float(_) | Self::Int(_) | Self::Byte(_) => match leaves.next() {
                Some(leaf) => leaf,
                None => Buffer::from_f32(Vec::new(), &[])?,
            },
        })
    }

    /// Returns the shapes of the leaves in order.
    pub(super) fn shapes(&self) -> Vec<&[usize]> {
        match self {
            Self::Float(shape) | Self::Int(shape) | Self::Byte(shape) => vec![shape],
            Self::Dict(parts) => parts.iter().flat_map(|(_, part)| part.shapes()).collect(),
            Self::Tuple(parts) => parts.iter().flat_map(Self::shapes).collect(),
        }
    }
}

/// Returns the leaves of a buffer in the order of its layout.
pub(super) fn leaves_of(buffer: &Buffer) -> Vec<&Buffer> {
    buffer.leaves().into_iter().map(|(_, leaf)| leaf).collect()
}
