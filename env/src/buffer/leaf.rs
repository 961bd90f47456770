//! Contiguous storage of one leaf of a space.

use std::fmt::Debug;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Contents;
use crate::error::Result;

/// Rows of one shape and element type, row-major: `[rows, ..shape]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Element")]
pub(super) struct Leaf<T> {
    pub(super) shape: Vec<usize>,
    #[serde(serialize_with = "Element::write", deserialize_with = "Element::read")]
    pub(super) data: Vec<T>,
}

impl<T: Element> Leaf<T> {
    pub(super) fn with_capacity(shape: &[usize], rows: usize) -> Self {
        let width: usize = shape.iter().product();
        Self { shape: shape.to_vec(), data: Vec::with_capacity(rows * width) }
    }

    /// Elements per row.
    #[inline]
    pub(super) fn width(&self) -> usize {
        self.shape.iter().product()
    }

    #[inline]
    fn cells(&self, rows: Range<usize>) -> Option<Range<usize>> {
        let width = self.width();
        Some(rows.start.checked_mul(width)?..rows.end.checked_mul(width)?)
    }

    #[inline]
    pub(super) fn rows(&self, rows: Range<usize>) -> Option<&[T]> {
        self.data.get(self.cells(rows)?)
    }

    #[inline]
    pub(super) fn rows_mut(&mut self, rows: Range<usize>) -> Option<&mut [T]> {
        let cells = self.cells(rows)?;
        self.data.get_mut(cells)
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.data.resize(rows * self.width(), T::default());
    }

    /// Appends the `rows` of `source`, without those that do not exist.
    pub(super) fn append(&mut self, source: &Self, rows: &Rows<'_>) {
        match rows {
            Rows::Range(range) => {
                self.data.extend_from_slice(source.rows(range.clone()).unwrap_or_default());
            }
            // Short rows are copied as arrays: for them, a call of `memcpy` costs more than the
            // copy.
            Rows::At(indices) => match self.width() {
                1 => self.append_arrays::<1>(source, indices),
                2 => self.append_arrays::<2>(source, indices),
                3 => self.append_arrays::<3>(source, indices),
                4 => self.append_arrays::<4>(source, indices),
                width => {
                    self.data.reserve(indices.len() * width);
                    for &row in *indices {
                        self.data.extend_from_slice(source.rows(row..row + 1).unwrap_or_default());
                    }
                }
            },
        }
    }

    /// Appends rows of `W` elements.
    fn append_arrays<const W: usize>(&mut self, source: &Self, indices: &[usize]) {
        let start = self.data.len();
        self.data.resize(start + indices.len() * W, T::default());
        copy_arrays::<W, T>(&mut self.data[start..], &source.data, indices.iter().copied());
    }

    /// Appends rows of several sources, without those that do not exist.
    pub(super) fn append_from(&mut self, sources: &[&Self], rows: &[(usize, usize)]) {
        match self.width() {
            1 => self.append_arrays_from::<1>(sources, rows),
            2 => self.append_arrays_from::<2>(sources, rows),
            3 => self.append_arrays_from::<3>(sources, rows),
            4 => self.append_arrays_from::<4>(sources, rows),
            width => {
                self.data.reserve(rows.len() * width);
                for &(source, row) in rows {
                    let source = sources.get(source).and_then(|leaf| leaf.rows(row..row + 1));
                    self.data.extend_from_slice(source.unwrap_or_default());
                }
            }
        }
    }

    /// Appends rows of `W` elements of several sources.
    fn append_arrays_from<const W: usize>(&mut self, sources: &[&Self], rows: &[(usize, usize)]) {
        let start = self.data.len();
        self.data.resize(start + rows.len() * W, T::default());
        let (to, _) = self.data[start..].as_chunks_mut::<W>();
        for (to, &(source, row)) in to.iter_mut().zip(rows) {
            if let Some(row) = sources.get(source).and_then(|s| s.data.as_chunks::<W>().0.get(row))
            {
                *to = *row;
            }
        }
    }

    /// Overwrites the rows from `row` on with rows of `source`, without those that do not exist.
    #[inline]
    pub(super) fn copy_rows(
        &mut self,
        row: usize,
        source: &Self,
        source_rows: &(impl ExactSizeIterator<Item = usize> + Clone),
    ) {
        let width = self.width();
        let Some(to) = self.rows_mut(row..row + source_rows.len()) else { return };
        match width {
            0 => {}
            // Copying an array costs less than copying a short slice.
            1 => copy_arrays::<1, T>(to, &source.data, source_rows.clone()),
            2 => copy_arrays::<2, T>(to, &source.data, source_rows.clone()),
            3 => copy_arrays::<3, T>(to, &source.data, source_rows.clone()),
            4 => copy_arrays::<4, T>(to, &source.data, source_rows.clone()),
            width => {
                for (to, row) in to.chunks_exact_mut(width).zip(source_rows.clone()) {
                    if let Some(from) = source.rows(row..row + 1) {
                        to.copy_from_slice(from);
                    }
                }
            }
        }
    }

    /// Whether the data is exactly `rows` rows of the shape.
    pub(super) fn holds(&self, rows: usize) -> bool {
        let cells = checked_width(&self.shape).and_then(|width| width.checked_mul(rows));
        cells == Some(self.data.len())
    }
}

/// Elements per row of an untrusted shape, unless their number overflows.
pub(super) fn checked_width(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |width, &size| width.checked_mul(size))
}

/// A selection of rows.
pub(super) enum Rows<'a> {
    Range(Range<usize>),
    At(&'a [usize]),
}

/// An element type of a leaf.
pub(super) trait Element: Copy + Default + PartialEq + Debug {
    fn leaf(column: &Contents) -> Result<&Leaf<Self>>;
    fn leaf_mut(column: &mut Contents) -> Result<&mut Leaf<Self>>;
    fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error>;
}

macro_rules! element {
    ($type:ty, $name:literal, $column:ident, $write:expr, $read:expr) => {
        impl Element for $type {
            #[inline]
            fn leaf(column: &Contents) -> Result<&Leaf<Self>> {
                match column {
                    Contents::$column(leaf) => Ok(leaf),
                    other => Err(other.wrong_kind($name)),
                }
            }

            #[inline]
            fn leaf_mut(column: &mut Contents) -> Result<&mut Leaf<Self>> {
                match column {
                    Contents::$column(leaf) => Ok(leaf),
                    other => Err(other.refuse($name)),
                }
            }

            fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error> {
                $write(data, to)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error> {
                $read(from)
            }
        }
    };
}

element!(f32, "float32", Float, crate::float::list::serialize, crate::float::list::deserialize);
element!(u8, "uint8", Byte, Serialize::serialize, Vec::deserialize);
element!(i64, "int64", Int, Serialize::serialize, Vec::deserialize);

/// Overwrites rows of `W` elements.
fn copy_arrays<const W: usize, T: Element>(
    to: &mut [T],
    source: &[T],
    source_rows: impl Iterator<Item = usize>,
) {
    let (source, _) = source.as_chunks::<W>();
    for (to, row) in to.as_chunks_mut::<W>().0.iter_mut().zip(source_rows) {
        if let Some(from) = source.get(row) {
            *to = *from;
        }
    }
}
