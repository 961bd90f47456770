//! The operations that know how rows are stored.

use std::ops::Range;

use super::leaf::{Leaf, Rows};
use super::{Buffer, Column};
use crate::{EnvError, Result};

impl Buffer {
    pub(super) fn empty_like(&self, rows: usize) -> Self {
        let column = match &self.column {
            Column::Float(leaf) => Column::Float(Leaf::with_capacity(&leaf.shape, rows)),
            Column::Byte(leaf) => Column::Byte(Leaf::with_capacity(&leaf.shape, rows)),
            Column::Int(leaf) => Column::Int(Leaf::with_capacity(&leaf.shape, rows)),
            Column::Dict(parts) => Column::Dict(
                parts.iter().map(|(key, part)| (key.clone(), part.empty_like(rows))).collect(),
            ),
            Column::Tuple(parts) => {
                Column::Tuple(parts.iter().map(|part| part.empty_like(rows)).collect())
            }
        };
        Self { rows: 0, column }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        match &mut self.column {
            Column::Float(leaf) => leaf.resize(rows),
            Column::Byte(leaf) => leaf.resize(rows),
            Column::Int(leaf) => leaf.resize(rows),
            Column::Dict(parts) => parts.values_mut().for_each(|part| part.resize(rows)),
            Column::Tuple(parts) => parts.iter_mut().for_each(|part| part.resize(rows)),
        }
        self.rows = rows;
    }

    /// Appends `count` rows of a buffer whose layout and rows have been checked.
    pub(super) fn append(&mut self, source: &Self, rows: &Rows<'_>, count: usize) {
        match (&mut self.column, &source.column) {
            (Column::Float(to), Column::Float(from)) => to.append(from, rows),
            (Column::Byte(to), Column::Byte(from)) => to.append(from, rows),
            (Column::Int(to), Column::Int(from)) => to.append(from, rows),
            (Column::Dict(to), Column::Dict(from)) => {
                to.values_mut()
                    .zip(from.values())
                    .for_each(|(to, from)| to.append(from, rows, count));
            }
            (Column::Tuple(to), Column::Tuple(from)) => {
                to.iter_mut().zip(from).for_each(|(to, from)| to.append(from, rows, count));
            }
            _ => {}
        }
        self.rows += count;
    }

    /// Copies one row of a buffer whose layout has been checked, as have both rows.
    pub(super) fn copy_checked_row(&mut self, row: usize, source: &Self, source_row: usize) {
        match (&mut self.column, &source.column) {
            (Column::Float(to), Column::Float(from)) => to.copy_row(row, from, source_row),
            (Column::Byte(to), Column::Byte(from)) => to.copy_row(row, from, source_row),
            (Column::Int(to), Column::Int(from)) => to.copy_row(row, from, source_row),
            (Column::Dict(to), Column::Dict(from)) => {
                for (to, from) in to.values_mut().zip(from.values()) {
                    to.copy_checked_row(row, from, source_row);
                }
            }
            (Column::Tuple(to), Column::Tuple(from)) => {
                for (to, from) in to.iter_mut().zip(from) {
                    to.copy_checked_row(row, from, source_row);
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

    /// The first difference in kind or shape to a buffer which this one should resemble.
    pub(super) fn check_layout(&self, expected: &Self) -> Result<()> {
        match (&self.column, &expected.column) {
            (Column::Dict(ours), Column::Dict(theirs)) => {
                if !ours.keys().eq(theirs.keys()) {
                    return Err(EnvError::wrong_kind(
                        expected.column.describe(),
                        self.column.describe(),
                    ));
                }
                ours.values().zip(theirs.values()).try_for_each(|(a, b)| a.check_layout(b))
            }
            (Column::Tuple(ours), Column::Tuple(theirs)) if ours.len() == theirs.len() => {
                ours.iter().zip(theirs).try_for_each(|(a, b)| a.check_layout(b))
            }
            (Column::Float(Leaf { shape: a, .. }), Column::Float(Leaf { shape: b, .. }))
            | (Column::Byte(Leaf { shape: a, .. }), Column::Byte(Leaf { shape: b, .. }))
            | (Column::Int(Leaf { shape: a, .. }), Column::Int(Leaf { shape: b, .. }))
                if a == b =>
            {
                Ok(())
            }
            _ => Err(EnvError::wrong_kind(expected.column.describe(), self.column.describe())),
        }
    }
}

impl Column {
    #[cold]
    pub(super) fn wrong_kind(&self, expected: &str) -> EnvError {
        EnvError::wrong_kind(expected, self.describe())
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
