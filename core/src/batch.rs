//! Batches: the inputs and outputs of a module's forward pass.

mod deferred;

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int};

use crate::any_tensor::AnyTensor;
use crate::error::{CoreError, Result};

use deferred::Entry;

/// A column of a [`Batch`]: a tensor, or a nested batch (Dict and Tuple observations).
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
    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.rows(),
            Self::Nested(batch) => batch.rows(),
        }
    }

    /// Returns kind and shape in words, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tensor(tensor) => tensor.describe(),
            Self::Nested(batch) => format!("a nested batch of [{}]", batch.available()),
        }
    }

    /// Returns the column without the graphs of its gradients.
    ///
    /// # Errors
    /// None in practice.
    pub fn inner(self) -> Result<Self> {
        Ok(match self {
            Self::Tensor(tensor) => Self::Tensor(tensor.inner()?),
            Self::Nested(batch) => {
                let mut inner = Batch::new();
                for name in batch.names() {
                    inner.insert(name.to_owned(), batch.column(name)?.clone().inner()?);
                }
                Self::Nested(inner)
            }
        })
    }

    /// Returns a column without gradients as a constant among those with gradients: the inverse of
    /// [`inner`](Self::inner).
    ///
    /// # Errors
    /// If a deferred column cannot be loaded.
    pub fn from_inner(inner: &Self) -> Result<Self> {
        inner.map(&|tensor| AnyTensor::from_inner(tensor.clone()))
    }

    /// Gathers rows of the column in the given order, on its device.
    ///
    /// # Shapes
    /// `rows`: `[R]`; result `[R, …]`.
    ///
    /// # Errors
    /// If a deferred column cannot be loaded.
    pub fn select_rows(&self, rows: &Tensor<1, Int>) -> Result<Self> {
        self.map(&|tensor| tensor.select_rows(rows))
    }

    /// Appends the rows of a column of the same layout.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`] or [`CoreError::TensorKind`] if the layouts differ.
    pub fn cat(&self, other: &Self) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => {
                Ok(Self::Tensor(AnyTensor::cat(&[tensor.clone(), other.tensor()?.clone()])?))
            }
            Self::Nested(batch) => {
                let (other, mut all) = (other.nested()?, Batch::new());
                for name in batch.names() {
                    let joined = batch.column(name)?.cat(other.column(name)?)?;
                    all.insert(name.to_owned(), joined);
                }
                Ok(Self::Nested(all))
            }
        }
    }

    /// Applies a function to all tensors.
    fn map(&self, f: &impl Fn(&AnyTensor) -> Result<AnyTensor>) -> Result<Self> {
        match self {
            Self::Tensor(tensor) => Ok(Self::Tensor(f(tensor)?)),
            Self::Nested(batch) => {
                let mut mapped = Batch::new();
                for name in batch.names() {
                    mapped.insert(name.to_owned(), batch.column(name)?.map(f)?);
                }
                Ok(Self::Nested(mapped))
            }
        }
    }

    /// Returns the tensor of a column that is not nested.
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

    /// Returns the batch of a nested column.
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
/// Names are the constants of [`Columns`](crate::Columns) or any other string.
///
/// The columns of a minibatch are *deferred*: they are gathered and uploaded when they are first read, so
/// that a column that a loss does not read costs nothing.
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
    columns: BTreeMap<Cow<'static, str>, Entry>,
}

impl Batch {
    /// Creates a batch without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a column and returns the batch.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, column: impl Into<Column>) -> Self {
        self.insert(name, column);
        self
    }

    /// Adds or replaces a column.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, column: impl Into<Column>) {
        self.columns.insert(name.into(), Entry::Ready(column.into()));
    }

    /// Adds or replaces a column of `rows` rows that `load` returns when it is first read.
    pub fn insert_deferred(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        rows: usize,
        load: impl Fn() -> Result<Column> + Send + Sync + 'static,
    ) {
        self.columns.insert(name.into(), Entry::deferred(rows, load));
    }

    /// Adds the columns of another batch. Columns of the same name are replaced.
    pub fn extend(&mut self, other: Self) {
        self.columns.extend(other.columns);
    }

    /// Removes a column. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.columns.remove(name).is_some()
    }

    /// Returns the column, or `None` if there is none of this name.
    ///
    /// # Errors
    /// If a deferred column cannot be loaded.
    pub fn get(&self, name: &str) -> Result<Option<&Column>> {
        self.columns.get(name).map(Entry::column).transpose()
    }

    /// Whether the batch has a column of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Returns the names of the columns, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(AsRef::as_ref)
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are no columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Returns the number of rows; 0 without columns.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.values().next().map_or(0, Entry::rows)
    }

    /// Returns a batch of the given rows of all columns, in that order. Each column is gathered, on its
    /// device, when it is first read.
    ///
    /// # Shapes
    /// `rows`: `[R]`; columns `[R, …]`.
    #[must_use]
    pub fn select_rows(&self, rows: &Tensor<1, Int>) -> Self {
        let count = rows.dims()[0];
        let select = |entry: &Entry| {
            let (entry, rows) = (entry.clone(), rows.clone());
            Entry::deferred(count, move || {
                Ok(match entry.column()? {
                    Column::Tensor(tensor) => Column::Tensor(tensor.select_rows(&rows)?),
                    Column::Nested(batch) => Column::Nested(batch.select_rows(&rows)),
                })
            })
        };
        let columns = self.columns.iter().map(|(name, entry)| (name.clone(), select(entry)));
        Self { columns: columns.collect() }
    }

    /// Returns the column.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], which lists the columns of the batch; otherwise if a deferred column
    /// cannot be loaded.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.get(name)?.ok_or_else(|| CoreError::MissingColumn {
            column: name.into(),
            available: self.available(),
        })
    }

    /// Returns the column as a float tensor of rank `D`.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], or [`CoreError::ColumnKind`] with the expected and the found
    /// kind and shape.
    pub fn float<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        self.typed(name, AnyTensor::float)
    }

    /// Returns the column as an int tensor of rank `D`.
    ///
    /// # Errors
    /// As [`Batch::float`].
    pub fn int<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>> {
        self.typed(name, AnyTensor::int)
    }

    /// Returns the column as a bool tensor of rank `D`.
    ///
    /// # Errors
    /// As [`Batch::float`].
    pub fn bool<const D: usize>(&self, name: &str) -> Result<Tensor<D, Bool>> {
        self.typed(name, AnyTensor::bool)
    }

    /// Returns the nested batch of a column.
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

    pub(crate) fn available(&self) -> String {
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
        assert!(message.contains("expected an int tensor of rank 2"), "{message}");
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
    fn a_deferred_column_is_loaded_once_and_only_if_it_is_read() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};

        let loads = Arc::new(AtomicUsize::new(0));
        let mut batch = batch();
        for name in ["read", "unread"] {
            let loads = Arc::clone(&loads);
            batch.insert_deferred(name, 3, move || {
                loads.fetch_add(1, Ordering::Relaxed);
                Ok(Tensor::<1>::from_floats([1.0, 2.0, 3.0], &Device::flex()).into())
            });
        }
        assert_eq!(batch.rows(), 3);
        assert!(batch.names().any(|name| name == "unread"));
        let copy = batch.clone();
        let rows = Tensor::<1, Int>::from_ints([2, 0], &Device::flex());
        let selected = batch.select_rows(&rows);
        assert_eq!((selected.rows(), loads.load(Ordering::Relaxed)), (2, 0));
        let values = crate::any_tensor::to_f32(selected.float::<1>("read").unwrap()).unwrap();
        assert_eq!(values, [3.0, 1.0]);
        copy.float::<1>("read").unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        batch.insert_deferred("broken", 3, || Err(CoreError::DeviceRead("lost".into())));
        assert!(batch.get("broken").is_err() && batch.get("absent").unwrap().is_none());
    }

    #[test]
    fn nested_columns_are_batches() {
        assert_eq!(batch().nested("nested").unwrap().float::<1>("a").unwrap().dims(), [3]);
        assert!(batch().nested("obs").is_err());
        assert_eq!(batch().rows(), 3);
    }
}
