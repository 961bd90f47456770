//! The last entries of every row.

use serde::{Deserialize, Serialize};

/// The last `n` entries of `width` values of every row, oldest first; zero before there are any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History<T> {
    n: usize,
    width: usize,
    data: Vec<T>,
}

impl<T: Copy + Default> History<T> {
    pub(super) fn new(n: usize, width: usize) -> Self {
        Self { n, width, data: Vec::new() }
    }

    /// Whether saved rows can go on where these are.
    pub(super) fn accepts(&self, saved: &Self) -> bool {
        [saved.n, saved.width] == [self.n, self.width] && saved.is_whole()
    }

    /// Whether it consists of whole rows.
    pub(super) fn is_whole(&self) -> bool {
        self.data.len().is_multiple_of(self.row_len().max(1))
    }

    /// The number of entries of a row.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The number of values of a row.
    pub(super) fn row_len(&self) -> usize {
        self.n * self.width
    }

    /// The values of a row, oldest first.
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.row_len()..(row + 1) * self.row_len()]
    }

    /// The entries of a row, oldest first.
    pub(super) fn entries(&self, row: usize) -> impl Iterator<Item = &[T]> {
        self.row(row).chunks_exact(self.width.max(1))
    }

    /// Makes room for so many rows; all are forgotten if there were more or less before.
    pub(super) fn set_rows(&mut self, rows: usize) {
        if self.data.len() != rows * self.row_len() {
            self.forget_all(rows);
        }
    }

    /// Forgets all rows.
    pub(super) fn forget_all(&mut self, rows: usize) {
        self.data.clear();
        self.data.resize(rows * self.row_len(), T::default());
    }

    /// Forgets a row.
    pub(super) fn forget(&mut self, row: usize) {
        let start = row * self.row_len();
        let end = start + self.row_len();
        self.data[start..end].fill(T::default());
    }

    /// Drops the oldest entry of a row and returns the place of the newest, to be overwritten.
    pub(super) fn push(&mut self, row: usize) -> &mut [T] {
        let (start, len) = (row * self.row_len(), self.row_len());
        let entries = &mut self.data[start..start + len];
        entries.copy_within(self.width.min(len).., 0);
        &mut entries[len - self.width.min(len)..]
    }
}
