//! Columns of an episode, from the numbers that a file stores.

use rekindle_env::Buffer;

use super::space::{Kind, Leaf, Node};
use crate::error::{OfflineError, Result};

/// Numbers as a file stores them, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Byte(Vec<u8>),
}

/// A column as a file stores it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) rows: usize,
    /// The shape of a row; a flat one where the file does not know it.
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// A part of the path of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Key(String),
    Position(usize),
}

impl Part {
    pub(super) fn key(name: &str) -> Self {
        Self::Key(name.to_owned())
    }
}

/// Returns the text of a path for messages: `observations.position`.
pub(super) fn name(path: &[Part]) -> String {
    let parts = path.iter().map(|part| match part {
        Part::Key(key) => key.clone(),
        Part::Position(position) => position.to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// The columns of an episode in a file.
pub(super) trait EpisodeColumns {
    /// Reads a column of numbers.
    ///
    /// # Errors
    /// [`OfflineError::Jpeg`] for a column of encoded images; any other error for a column that is missing, has rows
    /// without a value, or holds no numbers.
    fn column(&self, path: &[Part]) -> Result<Column>;

    /// Returns the names of the infos, whatever they hold.
    fn infos(&self) -> Result<Vec<String>>;

    /// Whether the columns of the steps have a row after the last step, which means nothing.
    fn is_padded(&self) -> bool;
}

/// Reads a column of a space: `rows` rows, from all that the file has.
pub(super) fn read(
    file: &dyn EpisodeColumns,
    path: &mut Vec<Part>,
    node: &Node,
    rows: usize,
) -> Result<Buffer> {
    match node {
        Node::Leaf(leaf) => {
            read_leaf(file, path, leaf, rows).map_err(|error| error.in_column(&name(path)))
        }
        Node::Dict(parts) => {
            let mut buffers = Vec::with_capacity(parts.len());
            for (key, part) in parts {
                path.push(Part::key(key));
                buffers.push((key.clone(), read(file, path, part, rows)?));
                path.pop();
            }
            Ok(Buffer::from_dict(buffers)?)
        }
        Node::Tuple(parts) => {
            let mut buffers = Vec::with_capacity(parts.len());
            for (position, part) in parts.iter().enumerate() {
                path.push(Part::Position(position));
                buffers.push(read(file, path, part, rows)?);
                path.pop();
            }
            Ok(Buffer::from_tuple(buffers)?)
        }
    }
}

fn read_leaf(file: &dyn EpisodeColumns, path: &[Part], leaf: &Leaf, rows: usize) -> Result<Buffer> {
    let column = match file.column(path) {
        // Only images are stored as bytes of any number.
        Err(OfflineError::Jpeg) if !leaf.is_image => return Err(damaged("it holds no numbers")),
        column => column?,
    };
    let width: usize = column.shape.iter().product();
    let fits = column.shape == leaf.stored_shape || column.shape == [leaf.width];
    if !(fits || width == 1 && leaf.width == 1) {
        if leaf.is_image {
            return Err(OfflineError::Jpeg);
        }
        let (found, expected) = (column.shape, &leaf.stored_shape);
        return Err(damaged(format!("its rows have the shape {found:?} instead of {expected:?}")));
    }
    if column.rows != rows {
        return Err(damaged(format!("it has {} rows instead of {rows}", column.rows)));
    }
    leaf.buffer(column.numbers)
}

impl Leaf {
    fn buffer(&self, numbers: Numbers) -> Result<Buffer> {
        Ok(match self.kind {
            Kind::Float => Buffer::from_f32(numbers.into_f32(), &self.shape)?,
            Kind::Byte => Buffer::from_u8(numbers.into_u8()?, &self.shape)?,
            Kind::Int => {
                let mut numbers = numbers.into_i64()?;
                if !self.start.is_empty() {
                    let starts = self.start.iter().cycle();
                    let numbers = numbers.iter_mut().zip(starts);
                    numbers.for_each(|(number, start)| *number = number.wrapping_sub(*start));
                }
                Buffer::from_i64(numbers, &self.shape)?
            }
        })
    }
}

impl Numbers {
    /// Returns the numbers as a column of a recording.
    pub(super) fn into_buffer(self, shape: &[usize]) -> Result<Buffer> {
        Ok(match self {
            Self::F32(_) | Self::F64(_) => Buffer::from_f32(self.into_f32(), shape)?,
            Self::Byte(numbers) => Buffer::from_u8(numbers, shape)?,
            Self::Signed(_) | Self::Unsigned(_) => Buffer::from_i64(self.into_i64()?, shape)?,
        })
    }

    pub(super) fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(numbers) => numbers,
            Self::F64(numbers) => numbers.into_iter().map(|number| number as f32).collect(),
            Self::Signed(numbers) => numbers.into_iter().map(|number| number as f32).collect(),
            Self::Unsigned(numbers) => numbers.into_iter().map(|number| number as f32).collect(),
            Self::Byte(numbers) => numbers.into_iter().map(f32::from).collect(),
        }
    }

    fn into_i64(self) -> Result<Vec<i64>> {
        match self {
            Self::Signed(numbers) => Ok(numbers),
            Self::Byte(numbers) => Ok(numbers.into_iter().map(i64::from).collect()),
            Self::Unsigned(numbers) => {
                let numbers = numbers.into_iter().map(i64::try_from);
                numbers.collect::<Result<_, _>>().map_err(|_| damaged("a number is too large"))
            }
            Self::F32(_) | Self::F64(_) => Err(damaged("it holds floats instead of integers")),
        }
    }

    pub(super) fn into_u8(self) -> Result<Vec<u8>> {
        let beyond = |_| damaged("a number is no byte");
        match self {
            Self::Byte(numbers) => Ok(numbers),
            Self::Signed(numbers) => {
                let numbers = numbers.into_iter().map(u8::try_from);
                numbers.collect::<Result<_, _>>().map_err(beyond)
            }
            Self::Unsigned(numbers) => {
                let numbers = numbers.into_iter().map(u8::try_from);
                numbers.collect::<Result<_, _>>().map_err(beyond)
            }
            Self::F32(_) | Self::F64(_) => Err(damaged("it holds floats instead of integers")),
        }
    }
}

pub(super) fn damaged(reason: impl Into<String>) -> OfflineError {
    OfflineError::Damaged { reason: reason.into() }
}

impl Column {
    /// Appends the rows of another part of the same column.
    pub(super) fn append(&mut self, other: Self) -> Result<()> {
        if self.shape != other.shape {
            return Err(damaged("its rows have different lengths"));
        }
        match (&mut self.numbers, other.numbers) {
            (Numbers::F32(all), Numbers::F32(more)) => all.extend(more),
            (Numbers::F64(all), Numbers::F64(more)) => all.extend(more),
            (Numbers::Signed(all), Numbers::Signed(more)) => all.extend(more),
            (Numbers::Unsigned(all), Numbers::Unsigned(more)) => all.extend(more),
            (Numbers::Byte(all), Numbers::Byte(more)) => all.extend(more),
            _ => return Err(damaged("its parts hold different numbers")),
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Keeps some of the rows.
    pub(super) fn slice(&mut self, rows: std::ops::Range<usize>) {
        let width: usize = self.shape.iter().product();
        let (start, end) = (rows.start * width, rows.end * width);
        match &mut self.numbers {
            Numbers::F32(all) => keep(all, start, end),
            Numbers::F64(all) => keep(all, start, end),
            Numbers::Signed(all) => keep(all, start, end),
            Numbers::Unsigned(all) => keep(all, start, end),
            Numbers::Byte(all) => keep(all, start, end),
        }
        self.rows = rows.len();
    }
}

fn keep<T>(all: &mut Vec<T>, start: usize, end: usize) {
    all.truncate(end);
    all.drain(..start.min(all.len()));
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
            Self::Signed(numbers) => numbers.len(),
            Self::Unsigned(numbers) => numbers.len(),
            Self::Byte(numbers) => numbers.len(),
        }
    }
}
