//! Columnar storage for the elements of a space.

mod access;
mod leaf;
mod parts;
mod row;
mod stacks;
mod storage;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{EnvError, Result};
use crate::spaces::{BoxDType, Space};
use crate::value::Value;
use leaf::{Data, Element, Leaf, Rows, checked_width};
pub use parts::Parts;
pub use row::{Row, RowMut};
pub use stacks::stack_frames;

/// Elements of one space, stored by column.
///
/// Each leaf of the space (`Box`, `Discrete`, `MultiDiscrete`, `MultiBinary`) is one contiguous
/// vector of shape `[rows, ..shape]`, ready to become a tensor. `Dict` and `Tuple` spaces hold one
/// buffer per part. A [`Row`] is a cursor to one element. Reading and writing leaves through it
/// allocates nothing.
///
/// ```
/// use rekindle_env::{Buffer, Space};
///
/// let mut positions = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[2])?, 3);
/// positions.row_mut(1).write_f32(&[0.5, -0.5])?;
/// assert_eq!(positions.as_f32()?, [0.0, 0.0, 0.5, -0.5, 0.0, 0.0]);
///
/// let last_two = positions.gather(&[2, 1])?;
/// assert_eq!(last_two.row(1).as_f32()?, [0.5, -0.5]);
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Buffer {
    rows: usize,
    column: Contents,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Contents {
    Float(Leaf<f32>),
    Byte(Leaf<u8>),
    Int(Leaf<i64>),
    Dict(BTreeMap<String, Buffer>),
    Tuple(Vec<Buffer>),
}

impl Buffer {
    /// Creates a buffer of `rows` elements of `space`, all zero.
    ///
    /// Zero need not be an element of the space: the rows are meant to be overwritten.
    #[must_use]
    pub fn zeros(space: &Space, rows: usize) -> Self {
        let mut buffer = Self::with_capacity(space, rows);
        buffer.resize(rows);
        buffer
    }

    /// Creates an empty buffer with room for `rows` elements of `space`.
    #[must_use]
    pub fn with_capacity(space: &Space, rows: usize) -> Self {
        let column = match space {
            Space::Box(space) => match space.dtype() {
                BoxDType::Float32 => Contents::Float(Leaf::with_capacity(space.shape(), rows)),
                BoxDType::Uint8 => Contents::Byte(Leaf::with_capacity(space.shape(), rows)),
                BoxDType::Int32 | BoxDType::Int64 => {
                    Contents::Int(Leaf::with_capacity(space.shape(), rows))
                }
            },
            Space::Discrete(_) => Contents::Int(Leaf::with_capacity(&[], rows)),
            Space::MultiDiscrete(space) => {
                Contents::Int(Leaf::with_capacity(&[space.nvec().len()], rows))
            }
            Space::MultiBinary(space) => Contents::Byte(Leaf::with_capacity(&[space.n()], rows)),
            Space::Dict(space) => Contents::Dict(
                space
                    .iter()
                    .map(|(key, space)| (key.to_owned(), Self::with_capacity(space, rows)))
                    .collect(),
            ),
            Space::Tuple(space) => Contents::Tuple(
                space.spaces().iter().map(|space| Self::with_capacity(space, rows)).collect(),
            ),
        };
        Self { rows: 0, column }
    }

    /// Creates a buffer of rows of `shape` from row-major data: elements of a `float32` `Box`.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the data is not a whole number of rows.
    pub fn from_f32(data: Vec<f32>, shape: &[usize]) -> Result<Self> {
        Self::from_leaf(Contents::Float, data, shape)
    }

    /// Creates a buffer of rows of `shape` from row-major data: elements of a `uint8` `Box` or a
    /// `MultiBinary`.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the data is not a whole number of rows.
    pub fn from_u8(data: Vec<u8>, shape: &[usize]) -> Result<Self> {
        Self::from_leaf(Contents::Byte, data, shape)
    }

    /// Creates a buffer of rows of `shape` from row-major data: elements of a `Discrete` (shape
    /// `[]`), a `MultiDiscrete` or a `Box` of integers.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the data is not a whole number of rows.
    pub fn from_i64(data: Vec<i64>, shape: &[usize]) -> Result<Self> {
        Self::from_leaf(Contents::Int, data, shape)
    }

    /// Creates a buffer of elements of a `Dict` from one buffer per part.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the parts differ in their number of rows.
    pub fn from_dict<K: Into<String>>(parts: impl IntoIterator<Item = (K, Self)>) -> Result<Self> {
        let parts: BTreeMap<String, Self> =
            parts.into_iter().map(|(key, part)| (key.into(), part)).collect();
        let rows = parts.values().next().map_or(0, Self::rows);
        if let Some(other) = parts.values().find(|part| part.rows != rows) {
            return Err(EnvError::length("rows of the parts of a Dict", rows, other.rows));
        }
        Ok(Self { rows, column: Contents::Dict(parts) })
    }

    /// Creates a buffer of elements of a `Tuple` from one buffer per part.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if the parts differ in their number of rows.
    pub fn from_tuple(parts: Vec<Self>) -> Result<Self> {
        let rows = parts.first().map_or(0, Self::rows);
        if let Some(other) = parts.iter().find(|part| part.rows != rows) {
            return Err(EnvError::length("rows of the parts of a Tuple", rows, other.rows));
        }
        Ok(Self { rows, column: Contents::Tuple(parts) })
    }

    fn from_leaf<T: Element>(
        column: fn(Leaf<T>) -> Contents,
        data: Vec<T>,
        shape: &[usize],
    ) -> Result<Self> {
        let (len, width) = (data.len(), checked_width(shape).unwrap_or(0));
        let leaf = Leaf { shape: shape.to_vec(), data: Data::from(data) };
        let rows = len.checked_div(width).unwrap_or(0);
        if !leaf.holds(rows) {
            let found = vec![len];
            let what = "data that is not a whole number of rows";
            return Err(EnvError::ShapeMismatch { what, expected: leaf.shape, found });
        }
        Ok(Self { rows, column: column(leaf) })
    }

    /// Creates an empty buffer of a layout, with room for `rows` rows that stack `count` frames along their last axis.
    /// Frames are stored once, and rows refer to them: see [`push_stack`](Self::push_stack).
    ///
    /// Returns `None` if rows of this layout do not stack `count` frames.
    #[must_use]
    pub fn of_stacks(layout: &Self, count: usize, rows: usize) -> Option<Self> {
        let column = match &layout.column {
            Contents::Float(leaf) => Contents::Float(leaf.of_stacks(count, rows)?),
            Contents::Byte(leaf) => Contents::Byte(leaf.of_stacks(count, rows)?),
            _ => return None,
        };
        Some(Self { rows: 0, column })
    }

    /// Stores each frame once from now on, as a buffer made by [`of_stacks`](Self::of_stacks) does, if rows stack
    /// `count` frames along their last axis. Rows that exist keep all of their frames.
    ///
    /// A buffer that stores frames once already, or whose rows do not stack `count` frames, stays as it is.
    pub fn share_frames(&mut self, count: usize) {
        match &mut self.column {
            Contents::Float(leaf) => leaf.share_frames(count),
            Contents::Byte(leaf) => leaf.share_frames(count),
            _ => {}
        }
    }

    /// Appends a row that stacks frames, oldest first. With `previous`, the older frames are the newer frames of that
    /// row, and only the newest frame is copied. Without it, all frames are.
    ///
    /// Rows that are [gathered](Self::gather), [sliced](Self::slice) or appended to an empty buffer refer to the same
    /// frames. They are written when something reads them, and [`into_parts`](Self::into_parts) writes them. A buffer
    /// that does not [share frames](Self::share_frames) copies the row.
    ///
    /// # Errors
    ///
    /// As for [`extend_from`](Self::extend_from).
    pub fn push_stack(&mut self, row: Row<'_>, previous: Option<usize>) -> Result<()> {
        row.buffer.check_layout(self)?;
        row.buffer.check_row(row.index)?;
        let is_pushed = match &mut self.column {
            Contents::Float(leaf) => leaf.push_stack(row.as_f32()?, previous),
            Contents::Byte(leaf) => leaf.push_stack(row.as_u8()?, previous),
            _ => false,
        };
        match is_pushed {
            true => self.rows += 1,
            false => self.append(row.buffer, &Rows::Range(row.index..row.index + 1), 1),
        }
        Ok(())
    }

    /// Returns the number of elements.
    #[inline]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns a cursor to element `index`. Reading through it fails if the element does not exist.
    #[inline]
    #[must_use]
    pub fn row(&self, index: usize) -> Row<'_> {
        Row::new(self, index)
    }

    /// Returns a writing cursor to element `index`. Using it fails if the element does not exist.
    #[inline]
    #[must_use]
    pub fn row_mut(&mut self, index: usize) -> RowMut<'_> {
        RowMut::new(self, index)
    }

    /// Appends one element of a buffer of the same layout.
    ///
    /// # Errors
    ///
    /// As for [`extend_from`](Self::extend_from).
    #[inline]
    pub fn push(&mut self, row: Row<'_>) -> Result<()> {
        self.extend_from(row.buffer, row.index..row.index.saturating_add(1))
    }

    /// Appends one element. On an error, the buffer is unchanged.
    ///
    /// # Errors
    ///
    /// As for [`RowMut::write`].
    pub fn push_value(&mut self, value: &Value) -> Result<()> {
        let last = self.rows;
        self.extend_zeros(1);
        self.row_mut(last).write(value).inspect_err(|_| self.truncate(last))
    }

    /// Appends elements of another buffer of the same layout.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if `source` has
    /// fewer rows.
    pub fn extend_from(&mut self, source: &Self, rows: Range<usize>) -> Result<()> {
        source.check_layout(self)?;
        source.check_range(&rows)?;
        let count = rows.len();
        self.append(source, &Rows::Range(rows), count);
        Ok(())
    }

    /// Appends `count` zero elements.
    pub fn extend_zeros(&mut self, count: usize) {
        self.resize(self.rows + count);
    }

    /// Overwrites element `row` with element `source_row` of a buffer of the same layout.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if one of the
    /// rows does not exist.
    #[inline]
    pub fn copy_row(&mut self, row: usize, source: &Self, source_row: usize) -> Result<()> {
        source.check_layout(self)?;
        source.check_row(source_row)?;
        self.check_row(row)?;
        self.copy_checked_rows(row, source, &(source_row..source_row + 1));
        Ok(())
    }

    /// Overwrites the elements from `row` on with those in `source_rows` of a buffer of the same layout.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if one of the
    /// rows does not exist. Nothing is copied then.
    pub fn copy_rows(
        &mut self,
        row: usize,
        source: &Self,
        source_rows: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<()> {
        source.check_layout(self)?;
        source_rows.clone().try_for_each(|row| source.check_row(row))?;
        self.check_range(&(row..row.saturating_add(source_rows.len())))?;
        self.copy_checked_rows(row, source, &source_rows);
        Ok(())
    }

    /// Copies the elements at `indices`, which may repeat, into a new buffer.
    ///
    /// # Errors
    ///
    /// [`EnvError::RowOutOfRange`] if an index is not below [`rows`](Self::rows).
    pub fn gather(&self, indices: &[usize]) -> Result<Self> {
        let mut gathered = self.empty_like(indices.len());
        self.gather_into(indices, &mut gathered)?;
        Ok(gathered)
    }

    /// Replaces the contents of `target` with the elements at `indices`, reusing its memory.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if an index is
    /// not below [`rows`](Self::rows). `target` is unchanged then.
    pub fn gather_into(&self, indices: &[usize], target: &mut Self) -> Result<()> {
        self.check_layout(target)?;
        indices.iter().try_for_each(|&row| self.check_row(row))?;
        target.clear();
        target.append(self, &Rows::At(indices), indices.len());
        Ok(())
    }

    /// Copies elements of several buffers of the same layout into a new buffer. Each pair of `rows` is the
    /// number of a source and a row of it.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if a source or a row does
    /// not exist.
    pub fn gather_from(&self, sources: &[&Self], rows: &[(usize, usize)]) -> Result<Self> {
        sources.iter().try_for_each(|source| source.check_layout(self))?;
        for &(source, row) in rows {
            match sources.get(source) {
                Some(source) => source.check_row(row)?,
                None => return Err(EnvError::RowOutOfRange { row: source, rows: sources.len() }),
            }
        }
        let mut gathered = self.empty_like(rows.len());
        gathered.append_from(sources, rows);
        Ok(gathered)
    }

    /// Copies the elements in `rows` into a new buffer.
    ///
    /// # Errors
    ///
    /// [`EnvError::RowOutOfRange`] if the range exceeds [`rows`](Self::rows) or is reversed.
    pub fn slice(&self, rows: Range<usize>) -> Result<Self> {
        self.check_range(&rows)?;
        let mut part = self.empty_like(rows.len());
        part.extend_from(self, rows)?;
        Ok(part)
    }

    /// Removes all elements and keeps the memory.
    pub fn clear(&mut self) {
        self.resize(0);
    }

    /// Keeps the first `rows` elements.
    pub fn truncate(&mut self, rows: usize) {
        if rows < self.rows {
            self.resize(rows);
        }
    }

    /// Returns whether the buffer has the layout of `space`.
    #[must_use]
    pub fn is_compatible(&self, space: &Space) -> bool {
        self.check_layout(&Self::with_capacity(space, 0)).is_ok()
    }
}

/// A deserialized buffer, before its lengths are checked.
#[derive(Deserialize)]
#[serde(rename = "Buffer")]
struct Unchecked {
    rows: usize,
    column: Contents,
}

impl TryFrom<Unchecked> for Buffer {
    type Error = String;

    fn try_from(Unchecked { rows, column }: Unchecked) -> Result<Self, String> {
        let agree = match &column {
            Contents::Float(leaf) => leaf.holds(rows),
            Contents::Byte(leaf) => leaf.holds(rows),
            Contents::Int(leaf) => leaf.holds(rows),
            Contents::Dict(parts) => parts.values().all(|part| part.rows == rows),
            Contents::Tuple(parts) => parts.iter().all(|part| part.rows == rows),
        };
        let buffer = Self { rows, column };
        if agree {
            Ok(buffer)
        } else {
            Err(format!("the stored data is not {rows} rows of {}", buffer.column.describe()))
        }
    }
}
