//! A column without its look-back.

use rekindle_env::{Buffer, Row};

use super::EpisodeError;

/// The rows of a [`Buffer`] after the look-back, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ColumnView<'a> {
    buffer: &'a Buffer,
    lookback: usize,
}

impl<'a> ColumnView<'a> {
    pub(super) fn new(buffer: &'a Buffer, lookback: usize) -> Self {
        Self { buffer, lookback }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(self) -> usize {
        self.buffer.rows().saturating_sub(self.lookback)
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.rows() == 0
    }

    /// Returns a cursor to row `index`. Reading through it fails where there is no such row.
    #[must_use]
    pub fn row(self, index: usize) -> Row<'a> {
        self.buffer.row(self.lookback.saturating_add(index))
    }

    /// Returns the data of a `float32` leaf, `[rows, ..shape]`.
    ///
    /// # Errors
    /// If the column is anything else.
    pub fn as_f32(self) -> Result<&'a [f32], EpisodeError> {
        Ok(self.after_lookback(self.buffer.as_f32()?))
    }

    /// Returns the data of a `uint8` or `MultiBinary` leaf, `[rows, ..shape]`.
    ///
    /// # Errors
    /// If the column is anything else.
    pub fn as_u8(self) -> Result<&'a [u8], EpisodeError> {
        Ok(self.after_lookback(self.buffer.as_u8()?))
    }

    /// Returns the data of a `Discrete` or `MultiDiscrete` leaf, `[rows, ..shape]`.
    ///
    /// # Errors
    /// If the column is anything else.
    pub fn as_i64(self) -> Result<&'a [i64], EpisodeError> {
        Ok(self.after_lookback(self.buffer.as_i64()?))
    }

    /// Returns one part of a `Dict`.
    ///
    /// # Errors
    /// If the column is not a `Dict`, or has no such part.
    pub fn get(self, key: &str) -> Result<Self, EpisodeError> {
        Ok(Self::new(self.buffer.get(key)?, self.lookback))
    }

    /// Returns one part of a `Tuple`.
    ///
    /// # Errors
    /// If the column is not a `Tuple`, or has no such part.
    pub fn index(self, position: usize) -> Result<Self, EpisodeError> {
        Ok(Self::new(self.buffer.index(position)?, self.lookback))
    }

    /// Returns an owned copy.
    ///
    /// # Errors
    /// None for a column of an episode, which is at least as long as its look-back.
    pub fn to_buffer(self) -> Result<Buffer, EpisodeError> {
        Ok(self.buffer.slice(self.lookback..self.buffer.rows())?)
    }

    fn after_lookback<T>(self, data: &'a [T]) -> &'a [T] {
        let width = data.len().checked_div(self.buffer.rows()).unwrap_or(0);
        data.get(self.lookback * width..).unwrap_or_default()
    }
}
