//! Contiguous storage of one leaf of a space.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Contents;
use super::stacks::Stacks;
use crate::error::Result as EnvResult;

/// Rows of one shape and element type, row-major: `[rows, ..shape]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "T: Element")]
pub(super) struct Leaf<T: Element> {
    pub(super) shape: Vec<usize>,
    #[serde(serialize_with = "Data::write", deserialize_with = "Data::read")]
    pub(super) data: Data<T>,
}

/// The elements of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Data<T: Element> {
    /// The elements in row-major order, unless there are stacks.
    plain: T::Store,
    stacks: Option<Box<Stacks<T>>>,
}

impl<T: Element> From<Vec<T>> for Data<T> {
    fn from(plain: Vec<T>) -> Self {
        Self { plain: plain.into(), stacks: None }
    }
}

impl<T: Element> From<Stacks<T>> for Data<T> {
    fn from(stacks: Stacks<T>) -> Self {
        Self { plain: Vec::new().into(), stacks: Some(Box::new(stacks)) }
    }
}

/// Memory of elements.
pub(super) trait Store<T>: From<Vec<T>> + Clone + Debug {
    fn as_slice(&self) -> &[T];
    fn as_mut(&mut self) -> &mut Vec<T>;
    fn into_vec(self) -> Vec<T>;
}

impl<T: Clone + Debug> Store<T> for Vec<T> {
    #[inline]
    fn as_slice(&self) -> &[T] {
        self
    }

    #[inline]
    fn as_mut(&mut self) -> &mut Self {
        self
    }

    fn into_vec(self) -> Self {
        self
    }
}

/// Memory that is copied when it is changed while it has several owners.
impl<T: Clone + Debug> Store<T> for Arc<Vec<T>> {
    #[inline]
    fn as_slice(&self) -> &[T] {
        self
    }

    #[inline]
    fn as_mut(&mut self) -> &mut Vec<T> {
        Self::make_mut(self)
    }

    fn into_vec(self) -> Vec<T> {
        Self::unwrap_or_clone(self)
    }
}

impl<T: Element> Data<T> {
    /// Returns the elements in row-major order.
    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        match &self.stacks {
            None => self.plain.as_slice(),
            Some(stacks) => stacks.rows(),
        }
    }

    /// Returns the elements for changes. Stacks become plain elements.
    #[inline]
    pub(super) fn as_mut(&mut self) -> &mut Vec<T> {
        if let Some(stacks) = self.stacks.take() {
            self.plain = stacks.into_rows().into();
        }
        self.plain.as_mut()
    }

    /// Returns the memory of the elements.
    pub(super) fn into_store(self) -> T::Store {
        match self.stacks {
            None => self.plain,
            Some(stacks) => stacks.into_rows().into(),
        }
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        self.into_store().into_vec()
    }

    /// Returns the stacks, unless the elements are plain.
    #[inline]
    pub(super) fn stacks(&self) -> Option<&Stacks<T>> {
        self.stacks.as_deref()
    }

    /// As [`stacks`](Self::stacks), for changes.
    pub(super) fn stacks_mut(&mut self) -> Option<&mut Stacks<T>> {
        self.stacks.as_deref_mut()
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self.as_slice(), to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(T::read(from)?.into())
    }
}

/// Compares the elements, however they are stored.
impl<T: Element> PartialEq for Data<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Element> Leaf<T> {
    pub(super) fn with_capacity(shape: &[usize], rows: usize) -> Self {
        let width: usize = shape.iter().product();
        Self { shape: shape.to_vec(), data: Vec::with_capacity(rows * width).into() }
    }

    /// Returns an empty leaf of the same shape whose rows stack frames, with room for `rows` rows.
    pub(super) fn of_stacks(&self, count: usize, rows: usize) -> Option<Self> {
        let data = Stacks::new(&self.shape, count, rows)?.into();
        Some(Self { shape: self.shape.clone(), data })
    }

    /// Stores the rows as stacks, unless they are stored as stacks already or do not stack `count` frames.
    pub(super) fn share_frames(&mut self, count: usize) {
        if self.data.stacks().is_some() {
            return;
        }
        let Some(mut stacks) = Stacks::new(&self.shape, count, 0) else { return };
        let mut rows = self.data.as_slice().chunks_exact(self.width());
        if rows.all(|row| stacks.push(row, None)) {
            self.data = stacks.into();
        }
    }

    /// Appends a row that stacks frames. Returns `false` if this leaf has no stacks.
    pub(super) fn push_stack(&mut self, row: &[T], previous: Option<usize>) -> bool {
        self.data.stacks_mut().is_some_and(|stacks| stacks.push(row, previous))
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
        self.data.as_slice().get(self.cells(rows)?)
    }

    #[inline]
    pub(super) fn rows_mut(&mut self, rows: Range<usize>) -> Option<&mut [T]> {
        let cells = self.cells(rows)?;
        self.data.as_mut().get_mut(cells)
    }

    pub(super) fn resize(&mut self, rows: usize) {
        let width = self.width();
        match self.data.stacks_mut() {
            None => self.data.as_mut().resize(rows * width, T::default()),
            Some(stacks) => stacks.resize(rows),
        }
    }

    /// Appends the `rows` of `source`, without those that do not exist.
    pub(super) fn append(&mut self, source: &Self, rows: &Rows<'_>) {
        if let Some(stacks) = source.data.stacks() {
            self.append_stacks(stacks, rows);
            return;
        }
        match rows {
            Rows::Range(range) => {
                self.data
                    .as_mut()
                    .extend_from_slice(source.rows(range.clone()).unwrap_or_default());
            }
            // Short rows are copied as arrays: for them, a call of `memcpy` costs more than the
            // copy.
            Rows::At(indices) => match self.width() {
                1 => self.append_arrays::<1>(source, indices),
                2 => self.append_arrays::<2>(source, indices),
                3 => self.append_arrays::<3>(source, indices),
                4 => self.append_arrays::<4>(source, indices),
                width => {
                    let data = self.data.as_mut();
                    data.reserve(indices.len() * width);
                    for &row in *indices {
                        data.extend_from_slice(source.rows(row..row + 1).unwrap_or_default());
                    }
                }
            },
        }
    }

    /// Appends rows of stacks. An empty leaf then refers to their frames.
    fn append_stacks(&mut self, source: &Stacks<T>, rows: &Rows<'_>) {
        let is_appended = match self.data.stacks_mut() {
            Some(stacks) => stacks.append(source, rows),
            None => false,
        };
        if is_appended {
            return;
        }
        let data = self.data.as_mut();
        match data.is_empty() {
            true => self.data = source.select(rows).into(),
            false => source.write(rows, data),
        }
    }

    /// Appends rows of `W` elements.
    fn append_arrays<const W: usize>(&mut self, source: &Self, indices: &[usize]) {
        let data = self.data.as_mut();
        let start = data.len();
        data.resize(start + indices.len() * W, T::default());
        let rows = indices.iter().copied();
        copy_arrays::<W, T>(&mut data[start..], source.data.as_slice(), rows);
    }

    /// Appends rows of several sources, without those that do not exist.
    pub(super) fn append_from(&mut self, sources: &[&Self], rows: &[(usize, usize)]) {
        if sources.iter().any(|source| source.data.stacks().is_some()) {
            let data = self.data.as_mut();
            for &(source, row) in rows {
                let source = sources.get(source);
                match source.and_then(|source| source.data.stacks()) {
                    Some(stacks) => stacks.write(&Rows::Range(row..row + 1), data),
                    None => {
                        let row = source.and_then(|source| source.rows(row..row + 1));
                        data.extend_from_slice(row.unwrap_or_default());
                    }
                }
            }
            return;
        }
        match self.width() {
            1 => self.append_arrays_from::<1>(sources, rows),
            2 => self.append_arrays_from::<2>(sources, rows),
            3 => self.append_arrays_from::<3>(sources, rows),
            4 => self.append_arrays_from::<4>(sources, rows),
            width => {
                let data = self.data.as_mut();
                data.reserve(rows.len() * width);
                for &(source, row) in rows {
                    let source = sources.get(source).and_then(|leaf| leaf.rows(row..row + 1));
                    data.extend_from_slice(source.unwrap_or_default());
                }
            }
        }
    }

    /// Appends rows of `W` elements of several sources.
    fn append_arrays_from<const W: usize>(&mut self, sources: &[&Self], rows: &[(usize, usize)]) {
        let sources: Vec<&[[T; W]]> =
            sources.iter().map(|leaf| leaf.data.as_slice().as_chunks::<W>().0).collect();
        let data = self.data.as_mut();
        let start = data.len();
        data.resize(start + rows.len() * W, T::default());
        let (to, _) = data[start..].as_chunks_mut::<W>();
        for (to, &(source, row)) in to.iter_mut().zip(rows) {
            if let Some(row) = sources.get(source).and_then(|rows| rows.get(row)) {
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
        let (width, rows) = (self.width(), source_rows.clone());
        let Some(to) = self.rows_mut(row..row + rows.len()) else { return };
        if let Some(stacks) = source.data.stacks() {
            let mut written = Vec::with_capacity(width);
            for (to, row) in to.chunks_exact_mut(width.max(1)).zip(rows) {
                written.clear();
                stacks.write(&Rows::Range(row..row + 1), &mut written);
                if written.len() == width {
                    to.copy_from_slice(&written);
                }
            }
            return;
        }
        let from = source.data.as_slice();
        match width {
            0 => {}
            // Copying an array costs less than copying a short slice.
            1 => copy_arrays::<1, T>(to, from, rows),
            2 => copy_arrays::<2, T>(to, from, rows),
            3 => copy_arrays::<3, T>(to, from, rows),
            4 => copy_arrays::<4, T>(to, from, rows),
            width => {
                for (to, row) in to.chunks_exact_mut(width).zip(rows) {
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
        match self.data.stacks() {
            None => cells == Some(self.data.as_slice().len()),
            Some(stacks) => stacks.len() == rows,
        }
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

impl Rows<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::At(indices) => indices.len(),
        }
    }
}

/// An element type of a leaf.
pub(super) trait Element: Copy + Default + PartialEq + Debug {
    /// Memory of elements. Bytes, such as those of images, are shared by their owners.
    type Store: Store<Self>;
    fn leaf(column: &Contents) -> EnvResult<&Leaf<Self>>;
    fn leaf_mut(column: &mut Contents) -> EnvResult<&mut Leaf<Self>>;
    fn write<S: Serializer>(data: &[Self], to: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Self>, D::Error>;
    /// Whether the bits are those of `T::default()`.
    fn is_zero(self) -> bool;
}

macro_rules! element {
    ($type:ty, $store:ty, $name:literal, $column:ident, $write:expr, $read:expr) => {
        impl Element for $type {
            type Store = $store;

            #[inline]
            fn leaf(column: &Contents) -> EnvResult<&Leaf<Self>> {
                match column {
                    Contents::$column(leaf) => Ok(leaf),
                    other => Err(other.wrong_kind($name)),
                }
            }

            #[inline]
            fn leaf_mut(column: &mut Contents) -> EnvResult<&mut Leaf<Self>> {
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

            fn is_zero(self) -> bool {
                self.to_ne_bytes() == Self::default().to_ne_bytes()
            }
        }
    };
}

element!(
    f32,
    Vec<f32>,
    "float32",
    Float,
    crate::float::list::serialize,
    crate::float::list::deserialize
);
element!(u8, Arc<Vec<u8>>, "uint8", Byte, Serialize::serialize, Vec::deserialize);
element!(i64, Vec<i64>, "int64", Int, Serialize::serialize, Vec::deserialize);

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
