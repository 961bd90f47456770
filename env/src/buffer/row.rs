//! Cursors to the elements of a buffer.

use std::fmt;

use super::leaf::Element;
use super::{Buffer, Contents};
use crate::error::{EnvError, Result};
use crate::value::Value;

/// A cursor that reads one element of a [`Buffer`].
///
/// Cursors and buffers name elements by their type:
///
/// | space | read | change in place | overwrite |
/// |---|---|---|---|
/// | `float32` `Box` | [`as_f32`](Self::as_f32) | [`as_f32_mut`](RowMut::as_f32_mut) | [`write_f32`](RowMut::write_f32) |
/// | `uint8` `Box`, `MultiBinary` | [`as_u8`](Self::as_u8) | [`as_u8_mut`](RowMut::as_u8_mut) | [`write_u8`](RowMut::write_u8) |
/// | integer `Box`, `MultiDiscrete` | [`as_i64`](Self::as_i64) | [`as_i64_mut`](RowMut::as_i64_mut) | [`write_i64`](RowMut::write_i64) |
/// | `Discrete` | [`as_discrete`](Self::as_discrete) | [`as_i64_mut`](RowMut::as_i64_mut) | [`write_discrete`](RowMut::write_discrete) |
/// | `Dict` | [`get`](Self::get) | [`get_mut`](RowMut::get_mut) | |
/// | `Tuple` | [`index`](Self::index) | [`index_mut`](RowMut::index_mut) | |
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) index: usize,
}

impl<'a> Row<'a> {
    #[inline]
    pub(super) fn new(buffer: &'a Buffer, index: usize) -> Self {
        Self { buffer, index }
    }

    /// Returns the buffer that holds the row.
    #[inline]
    #[must_use]
    pub fn buffer(self) -> &'a Buffer {
        self.buffer
    }

    /// The same row of a part of its buffer.
    #[inline]
    pub(crate) fn of(self, part: &'a Buffer) -> Self {
        Self::new(part, self.index)
    }

    /// Whether the row is a leaf of this shape.
    pub(crate) fn has_shape(self, shape: &[usize]) -> bool {
        self.buffer.shape().is_ok_and(|found| found == shape)
    }

    /// Returns the numbers of a `float32` `Box`, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_f32(self) -> Result<&'a [f32]> {
        self.cells()
    }

    /// Returns the bytes of a `uint8` `Box` or the bits of a `MultiBinary`, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_u8(self) -> Result<&'a [u8]> {
        self.cells()
    }

    /// Returns the integers of a `MultiDiscrete` or an integer `Box`, or the single one of a
    /// `Discrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_i64(self) -> Result<&'a [i64]> {
        self.cells()
    }

    /// Returns the integer of a `Discrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_discrete(self) -> Result<i64> {
        match (i64::leaf(&self.buffer.column)?.shape.as_slice(), self.as_i64()?) {
            ([], &[number]) => Ok(number),
            _ => Err(self.buffer.column.wrong_kind("a discrete value")),
        }
    }

    /// Returns one part of a `Dict`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of row.
    #[inline]
    pub fn get(self, key: &str) -> Result<Self> {
        Ok(Self::new(self.buffer.get(key)?, self.index))
    }

    /// Returns one part of a `Tuple`.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of row.
    #[inline]
    pub fn index(self, position: usize) -> Result<Self> {
        Ok(Self::new(self.buffer.index(position)?, self.index))
    }

    /// Returns an owned copy.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    pub fn to_value(self) -> Result<Value> {
        Ok(match &self.buffer.column {
            Contents::Float(_) => Value::Float(self.as_f32()?.to_vec()),
            Contents::Byte(_) => Value::Byte(self.as_u8()?.to_vec()),
            Contents::Int(leaf) if leaf.shape.is_empty() => Value::Discrete(self.as_discrete()?),
            Contents::Int(_) => Value::Int(self.as_i64()?.to_vec()),
            Contents::Dict(parts) => Value::Dict(
                parts
                    .iter()
                    .map(|(key, part)| Ok((key.clone(), part.row(self.index).to_value()?)))
                    .collect::<Result<_>>()?,
            ),
            Contents::Tuple(parts) => Value::Tuple(
                parts.iter().map(|part| part.row(self.index).to_value()).collect::<Result<_>>()?,
            ),
        })
    }

    #[inline]
    fn cells<T: Element>(self) -> Result<&'a [T]> {
        let leaf = T::leaf(&self.buffer.column)?;
        self.buffer.check_row(self.index)?;
        Ok(leaf.rows(self.index..self.index + 1).unwrap_or_default())
    }
}

impl fmt::Debug for Row<'_> {
    /// Shows the element, as in `2`, `[0.5, 0.0]` or `{"door": 1}`, or the error of reading it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn show(cells: Result<impl fmt::Debug>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match cells {
                Ok(cells) => cells.fmt(f),
                Err(error) => write!(f, "<{error}>"),
            }
        }
        let part = |part| Self::new(part, self.index);
        match &self.buffer.column {
            Contents::Float(_) => show(self.as_f32(), f),
            Contents::Byte(_) => show(self.as_u8(), f),
            Contents::Int(leaf) if leaf.shape.is_empty() => show(self.as_discrete(), f),
            Contents::Int(_) => show(self.as_i64(), f),
            Contents::Dict(parts) => f
                .debug_map()
                .entries(parts.iter().map(|(key, buffer)| (key, part(buffer))))
                .finish(),
            Contents::Tuple(parts) => f.debug_list().entries(parts.iter().map(part)).finish(),
        }
    }
}

/// A cursor that writes one element of a [`Buffer`]. [`Row`] lists its methods by space.
///
/// A write that fails within a nested element leaves the parts before the failure written.
pub struct RowMut<'a> {
    buffer: &'a mut Buffer,
    index: usize,
}

impl<'a> RowMut<'a> {
    #[inline]
    pub(super) fn new(buffer: &'a mut Buffer, index: usize) -> Self {
        Self { buffer, index }
    }

    /// Returns the same row for reading.
    #[inline]
    #[must_use]
    pub fn as_row(&self) -> Row<'_> {
        Row::new(self.buffer, self.index)
    }

    /// Returns the same row for a shorter lifetime, so that the cursor can be passed on and used
    /// again.
    #[inline]
    #[must_use]
    pub fn reborrow(&mut self) -> RowMut<'_> {
        RowMut::new(self.buffer, self.index)
    }

    /// Returns the numbers of a `float32` `Box` for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_f32_mut(self) -> Result<&'a mut [f32]> {
        self.cells()
    }

    /// Returns the bytes of a `uint8` `Box` or the bits of a `MultiBinary` for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_u8_mut(self) -> Result<&'a mut [u8]> {
        self.cells()
    }

    /// Returns the integers of a `MultiDiscrete` or an integer `Box`, or the single one of a
    /// `Discrete`, for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn as_i64_mut(self) -> Result<&'a mut [i64]> {
        self.cells()
    }

    /// Writes a `float32` `Box`, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist, [`EnvError::ShapeMismatch`] if the number of values differs.
    #[inline]
    pub fn write_f32(&mut self, numbers: &[f32]) -> Result<()> {
        self.write_cells(numbers)
    }

    /// Writes a `uint8` `Box` or a `MultiBinary`, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist, [`EnvError::ShapeMismatch`] if the number of values differs.
    #[inline]
    pub fn write_u8(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_cells(bytes)
    }

    /// Writes a `MultiDiscrete` or an integer `Box`, row-major.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist, [`EnvError::ShapeMismatch`] if the number of values differs.
    #[inline]
    pub fn write_i64(&mut self, numbers: &[i64]) -> Result<()> {
        self.write_cells(numbers)
    }

    /// Writes a `Discrete`.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist.
    #[inline]
    pub fn write_discrete(&mut self, number: i64) -> Result<()> {
        match &self.buffer.column {
            Contents::Int(leaf) if leaf.shape.is_empty() => self.write_cells(&[number]),
            other => Err(other.refuse("a discrete value")),
        }
    }

    /// Returns one part of a `Dict` for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of row.
    pub fn get_mut(&mut self, key: &str) -> Result<RowMut<'_>> {
        self.buffer.get(key)?; // Its error lists the keys that exist.
        match &mut self.buffer.column {
            Contents::Dict(parts) => parts.get_mut(key).map(|part| part.row_mut(self.index)),
            _ => None,
        }
        .ok_or_else(|| EnvError::missing_key(key, [].iter()))
    }

    /// Returns one part of a `Tuple` for changes.
    ///
    /// # Errors
    ///
    /// [`EnvError::MissingKey`] if there is none, [`EnvError::WrongKind`] for another kind of row.
    pub fn index_mut(&mut self, position: usize) -> Result<RowMut<'_>> {
        self.buffer.index(position)?; // Its error lists the positions that exist.
        match &mut self.buffer.column {
            Contents::Tuple(parts) => parts.get_mut(position).map(|part| part.row_mut(self.index)),
            _ => None,
        }
        .ok_or_else(|| EnvError::missing_part(position, 0))
    }

    /// Writes an owned element.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] for another kind of row, [`EnvError::RowOutOfRange`] if the row does
    /// not exist, [`EnvError::ShapeMismatch`] if the number of values differs.
    pub fn write(&mut self, value: &Value) -> Result<()> {
        match (&self.buffer.column, value) {
            (Contents::Float(_), Value::Float(numbers)) => self.write_f32(numbers),
            (Contents::Byte(_), Value::Byte(bytes)) => self.write_u8(bytes),
            (Contents::Int(leaf), Value::Int(numbers)) if !leaf.shape.is_empty() => {
                self.write_i64(numbers)
            }
            (Contents::Int(_), Value::Discrete(number)) => self.write_discrete(*number),
            (Contents::Dict(parts), Value::Dict(values)) if parts.keys().eq(values.keys()) => {
                values.iter().try_for_each(|(key, value)| self.get_mut(key)?.write(value))
            }
            (Contents::Tuple(parts), Value::Tuple(values)) if parts.len() == values.len() => {
                let mut values = values.iter().enumerate();
                values.try_for_each(|(position, value)| self.index_mut(position)?.write(value))
            }
            _ => Err(self.buffer.column.refuse(&value.describe())),
        }
    }

    /// Copies a row of the same layout.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongKind`] if the layouts differ, [`EnvError::RowOutOfRange`] if a row does not
    /// exist.
    #[inline]
    pub fn copy_from(&mut self, row: Row<'_>) -> Result<()> {
        self.buffer.copy_row(self.index, row.buffer, row.index)
    }

    #[inline]
    fn cells<T: Element>(self) -> Result<&'a mut [T]> {
        self.buffer.check_row(self.index)?;
        let leaf = T::leaf_mut(&mut self.buffer.column)?;
        Ok(leaf.rows_mut(self.index..self.index + 1).unwrap_or_default())
    }

    #[inline]
    fn write_cells<T: Element>(&mut self, values: &[T]) -> Result<()> {
        let cells = self.reborrow().cells::<T>()?;
        if cells.len() != values.len() {
            let what = "numbers written into a row (in `reset` and `step`: the observation)";
            return Err(EnvError::length(what, cells.len(), values.len()));
        }
        cells.copy_from_slice(values);
        Ok(())
    }
}

impl fmt::Debug for RowMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_row().fmt(f)
    }
}
