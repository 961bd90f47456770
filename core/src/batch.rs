//! Batches: what goes into a module's forward pass and what comes out of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int};

use crate::{AnyTensor, CoreError, Result};

/// One column: a tensor, or a batch of columns of its own (Dict and Tuple observations).
#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all columns are tensors; a box would cost each one an allocation"
)]
pub enum Column {
    /// A tensor whose first dimension is the batch.
    Tensor(AnyTensor),
    /// A column per key; the keys of a Tuple are `"0"`, `"1"`, ….
    Nested(Batch),
}

impl<const D: usize, K: Basic> From<Tensor<D, K>> for Column {
    fn from(tensor: Tensor<D, K>) -> Self {
        Self::Tensor(tensor.into())
    }
}

impl From<AnyTensor> for Column {
    fn from(tensor: AnyTensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<Batch> for Column {
    fn from(batch: Batch) -> Self {
        Self::Nested(batch)
    }
}

impl Column {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.rows(),
            Self::Nested(batch) => batch.rows(),
        }
    }

    /// Kind and shape in words, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Tensor(tensor) => tensor.describe(),
            Self::Nested(batch) => format!("a nested batch of [{}]", batch.available()),
        }
    }

    /// The tensor of a column that is not nested.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if the column is nested.
    pub fn tensor(&self) -> Result<&AnyTensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Nested(_) => {
                Err(CoreError::TensorKind { expected: "a tensor".into(), found: self.describe() })
            }
        }
    }

    /// The batch of a column that is nested.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if the column is a tensor.
    pub fn nested(&self) -> Result<&Batch> {
        match self {
            Self::Nested(batch) => Ok(batch),
            Self::Tensor(_) => {
                let expected = "a nested batch".into();
                Err(CoreError::TensorKind { expected, found: self.describe() })
            }
        }
    }
}

/// Named columns of tensors with the same number of rows.
///
/// The names are those of [`Columns`](crate::Columns) and any other string.
///
/// ```
/// use burn::prelude::*;
/// use rekindle_core::{Batch, Columns};
///
/// let device = Device::flex();
/// let batch = Batch::new().with(Columns::OBS, Tensor::<2>::zeros([8, 4], &device));
/// let obs = batch.float::<2>(Columns::OBS)?;
/// assert_eq!(obs.dims(), [8, 4]);
/// assert!(batch.float::<3>(Columns::OBS).is_err()); // names column, expected and found
/// # Ok::<(), rekindle_core::CoreError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    columns: BTreeMap<Cow<'static, str>, Column>,
}

impl Batch {
    /// A batch without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a column, by value.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, column: impl Into<Column>) -> Self {
        self.insert(name, column);
        self
    }

    /// Adds or replaces a column.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, column: impl Into<Column>) {
        self.columns.insert(name.into(), column.into());
    }

    /// Takes a column out.
    pub fn remove(&mut self, name: &str) -> Option<Column> {
        self.columns.remove(name)
    }

    /// The column, if there.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// Whether the column is there.
    pub fn contains(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Names and columns, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_ref(), column))
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The number of rows (0 without columns).
    pub fn rows(&self) -> usize {
        self.columns.values().next().map_or(0, Column::rows)
    }

    /// Rows of all columns, in that order, gathered where they are.
    ///
    /// # Shapes
    /// `rows`: `[R]`; columns `[R, …]`.
    ///
    /// # Errors
    /// [`CoreError::Rank`] for a column of an unsupported rank.
    pub fn select_rows(&self, rows: &Tensor<1, Int>) -> Result<Self> {
        let select = |column: &Column| -> Result<Column> {
            Ok(match column {
                Column::Tensor(tensor) => Column::Tensor(tensor.select_rows(rows)?),
                Column::Nested(batch) => Column::Nested(batch.select_rows(rows)?),
            })
        };
        let columns = self.columns.iter().map(|(name, column)| Ok((name.clone(), select(column)?)));
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }

    /// The column.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`] with the columns there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.get(name).ok_or_else(|| CoreError::MissingColumn {
            column: name.into(),
            available: self.available(),
        })
    }

    /// The column as a float tensor of rank `D`.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], or [`CoreError::ColumnKind`] with the expected and the found
    /// kind and shape.
    pub fn float<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        self.typed(name, AnyTensor::float)
    }

    /// The column as an int tensor of rank `D`.
    ///
    /// # Errors
    /// As [`Batch::float`].
    pub fn int<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>> {
        self.typed(name, AnyTensor::int)
    }

    /// The column as a bool tensor of rank `D`.
    ///
    /// # Errors
    /// As [`Batch::float`].
    pub fn bool<const D: usize>(&self, name: &str) -> Result<Tensor<D, Bool>> {
        self.typed(name, AnyTensor::bool)
    }

    /// The column as a batch of its own.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], or [`CoreError::ColumnKind`] if it is a tensor.
    pub fn nested(&self, name: &str) -> Result<&Self> {
        match self.column(name)? {
            Column::Nested(batch) => Ok(batch),
            column @ Column::Tensor(_) => Err(CoreError::ColumnKind {
                column: name.into(),
                expected: "a nested batch".into(),
                found: column.describe(),
            }),
        }
    }

    fn typed<T>(&self, name: &str, cast: impl Fn(&AnyTensor) -> Result<T>) -> Result<T> {
        self.column(name)?.tensor().and_then(cast).map_err(|error| match error {
            CoreError::TensorKind { expected, found } => {
                CoreError::ColumnKind { column: name.into(), expected, found }
            }
            other => other,
        })
    }

    fn available(&self) -> String {
        self.columns.keys().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let device = Device::flex();
        Batch::new()
            .with("obs", Tensor::<2>::zeros([3, 4], &device))
            .with("actions", Tensor::<1, Int>::zeros([3], &device))
            .with("nested", Batch::new().with("a", Tensor::<1>::zeros([3], &device)))
    }

    #[test]
    fn typed_access_names_the_column_and_both_kinds() {
        let message = batch().float::<1>("obs").unwrap_err().to_string();
        assert_eq!(
            message,
            "column `obs`: expected a float tensor of rank 1, found a float tensor of shape [3, 4]"
        );
        let message = batch().int::<2>("obs").unwrap_err().to_string();
        assert!(message.contains("expected a int tensor of rank 2"), "{message}");
        let message = batch().float::<1>("nested").unwrap_err().to_string();
        assert!(message.contains("a nested batch of [a]"), "{message}");
    }

    #[test]
    fn a_missing_column_lists_the_columns_there_are() {
        let message = batch().float::<2>("rewards").unwrap_err().to_string();
        assert_eq!(
            message,
            "column `rewards` is not in the batch; available: [actions, nested, obs]"
        );
    }

    #[test]
    fn nested_columns_are_batches() {
        assert_eq!(batch().nested("nested").unwrap().float::<1>("a").unwrap().dims(), [3]);
        assert!(batch().nested("obs").is_err());
        assert_eq!(batch().rows(), 3);
    }
}
