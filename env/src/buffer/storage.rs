//! Operations on the rows of all leaves.

use std::ops::Range;

use super::leaf::{Element, Leaf, Rows};
use super::{Buffer, Contents};
use crate::error::{EnvError, Result};

impl Buffer {
    pub(super) fn empty_like(&self, rows: usize) -> Self {
        let column = match &self.column {
            Contents::Float(leaf) => Contents::Float(Leaf::with_capacity(&leaf.shape, rows)),
            Contents::Byte(leaf) => Contents::Byte(Leaf::with_capacity(&leaf.shape, rows)),
            Contents::Int(leaf) => Contents::Int(Leaf::with_capacity(&leaf.shape, rows)),
            Contents::Dict(parts) => Contents::Dict(
                parts.iter().map(|(key, part)| (key.clone(), part.empty_like(rows))).collect(),
            ),
            Contents::Tuple(parts) => {
                Contents::Tuple(parts.iter().map(|part| part.empty_like(rows)).collect())
            }
        };
        Self { rows: 0, column }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        match &mut self.column {
            Contents::Float(leaf) => leaf.resize(rows),
            Contents::Byte(leaf) => leaf.resize(rows),
            Contents::Int(leaf) => leaf.resize(rows),
            Contents::Dict(parts) => parts.values_mut().for_each(|part| part.resize(rows)),
            Contents::Tuple(parts) => parts.iter_mut().for_each(|part| part.resize(rows)),
        }
        self.rows = rows;
    }

    /// Appends `count` rows. The caller has checked the layout of `source` and the rows.
    pub(super) fn append(&mut self, source: &Self, rows: &Rows<'_>, count: usize) {
        match (&mut self.column, &source.column) {
            (Contents::Float(to), Contents::Float(from)) => to.append(from, rows),
            (Contents::Byte(to), Contents::Byte(from)) => to.append(from, rows),
            (Contents::Int(to), Contents::Int(from)) => to.append(from, rows),
            (Contents::Dict(to), Contents::Dict(from)) => {
                to.values_mut()
                    .zip(from.values())
                    .for_each(|(to, from)| to.append(from, rows, count));
            }
            (Contents::Tuple(to), Contents::Tuple(from)) => {
                to.iter_mut().zip(from).for_each(|(to, from)| to.append(from, rows, count));
            }
            _ => {}
        }
        self.rows += count;
    }

    /// Appends rows of several sources, each the number of a source and a row of it. The caller has checked
    /// the layouts and the rows.
    pub(super) fn append_from(&mut self, sources: &[&Self], rows: &[(usize, usize)]) {
        match &mut self.column {
            Contents::Float(to) => to.append_from(&leaves(sources), rows),
            Contents::Byte(to) => to.append_from(&leaves(sources), rows),
            Contents::Int(to) => to.append_from(&leaves(sources), rows),
            Contents::Dict(to) => {
                for (key, to) in to {
                    let parts = sources.iter().filter_map(|source| source.get(key).ok());
                    to.append_from(&parts.collect::<Vec<_>>(), rows);
                }
            }
            Contents::Tuple(to) => {
                for (position, to) in to.iter_mut().enumerate() {
                    let parts = sources.iter().filter_map(|source| source.index(position).ok());
                    to.append_from(&parts.collect::<Vec<_>>(), rows);
                }
            }
        }
        self.rows += rows.len();
    }

    /// Overwrites the rows from `row` on. The caller has checked the layout of `source` and all rows.
    pub(super) fn copy_checked_rows(
        &mut self,
        row: usize,
        source: &Self,
        source_rows: &(impl ExactSizeIterator<Item = usize> + Clone),
    ) {
        match (&mut self.column, &source.column) {
            (Contents::Float(to), Contents::Float(from)) => to.copy_rows(row, from, source_rows),
            (Contents::Byte(to), Contents::Byte(from)) => to.copy_rows(row, from, source_rows),
            (Contents::Int(to), Contents::Int(from)) => to.copy_rows(row, from, source_rows),
            (Contents::Dict(to), Contents::Dict(from)) => {
                for (to, from) in to.values_mut().zip(from.values()) {
                    to.copy_checked_rows(row, from, source_rows);
                }
            }
            (Contents::Tuple(to), Contents::Tuple(from)) => {
                for (to, from) in to.iter_mut().zip(from) {
                    to.copy_checked_rows(row, from, source_rows);
                }
            }
            _ => {}
        }
    }

    #[inline]
    pub(super) fn check_row(&self, row: usize) -> Result<()> {
        if row < self.rows { Ok(()) } else { Err(EnvError::RowOutOfRange { row, rows: self.rows }) }
    }

    pub(super) fn check_range(&self, rows: &Range<usize>) -> Result<()> {
        if rows.start <= rows.end && rows.end <= self.rows {
            Ok(())
        } else {
            Err(EnvError::RowOutOfRange { row: rows.end.max(rows.start), rows: self.rows })
        }
    }

    /// Fails on the first difference in kind or shape to the `expected` buffer.
    pub(super) fn check_layout(&self, expected: &Self) -> Result<()> {
        match (&self.column, &expected.column) {
            (Contents::Dict(ours), Contents::Dict(theirs)) => {
                if !ours.keys().eq(theirs.keys()) {
                    return Err(EnvError::wrong_kind(
                        expected.column.describe(),
                        self.column.describe(),
                    ));
                }
                ours.values().zip(theirs.values()).try_for_each(|(a, b)| a.check_layout(b))
            }
            (Contents::Tuple(ours), Contents::Tuple(theirs)) if ours.len() == theirs.len() => {
                ours.iter().zip(theirs).try_for_each(|(a, b)| a.check_layout(b))
            }
            (Contents::Float(Leaf { shape: a, .. }), Contents::Float(Leaf { shape: b, .. }))
            | (Contents::Byte(Leaf { shape: a, .. }), Contents::Byte(Leaf { shape: b, .. }))
            | (Contents::Int(Leaf { shape: a, .. }), Contents::Int(Leaf { shape: b, .. }))
                if a == b =>
            {
                Ok(())
            }
            _ => Err(EnvError::wrong_kind(expected.column.describe(), self.column.describe())),
        }
    }
}

/// Returns the leaves of sources, whose layouts have been checked.
fn leaves<'a, T: Element>(sources: &[&'a Buffer]) -> Vec<&'a Leaf<T>> {
    sources.iter().filter_map(|source| T::leaf(&source.column).ok()).collect()
}

impl Contents {
    #[cold]
    pub(super) fn wrong_kind(&self, expected: &str) -> EnvError {
        EnvError::wrong_kind(expected, self.describe())
    }

    /// The error of writing data of another kind.
    #[cold]
    pub(super) fn refuse(&self, written: &str) -> EnvError {
        EnvError::wrong_kind(
            format!(
                "{} in the row that is written (in `reset` and `step`: the observation)",
                self.describe()
            ),
            written,
        )
    }

    /// The kind and row shape in words: `float32 of shape [4]`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Float(leaf) => format!("float32 of shape {:?}", leaf.shape),
            Self::Byte(leaf) => format!("uint8 of shape {:?}", leaf.shape),
            Self::Int(leaf) => format!("int64 of shape {:?}", leaf.shape),
            Self::Dict(parts) => format!("a Dict of {:?}", parts.keys().collect::<Vec<_>>()),
            Self::Tuple(parts) => format!("a Tuple of {} parts", parts.len()),
        }
    }
}
