//! Batches on the host, which runners record and learners cut into minibatches.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_env::{Buffer, Parts};

use crate::any_tensor::{AnyTensor, TensorKind};
use crate::batch::{Batch, Column};
use crate::error::{CoreError, Result};

/// Named columns in host memory, each a contiguous [`Buffer`] of the same number of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostBatch {
    columns: BTreeMap<Cow<'static, str>, Buffer>,
}

impl HostBatch {
    /// Creates a batch without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of rows; 0 without columns.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.values().next().map_or(0, Buffer::rows)
    }

    /// Adds or replaces a column.
    ///
    /// # Errors
    /// [`CoreError::RowCount`] if it has more or fewer rows than the other columns.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, column: Buffer) -> Result<()> {
        let name = name.into();
        let others = self.columns.iter().find(|(other, _)| **other != name);
        if let Some((_, other)) = others
            && other.rows() != column.rows()
        {
            return Err(CoreError::RowCount {
                column: name.into_owned(),
                expected: other.rows(),
                found: column.rows(),
            });
        }
        self.columns.insert(name, column);
        Ok(())
    }

    /// Adds or replaces a column of one float per row.
    ///
    /// # Errors
    /// As [`HostBatch::insert`].
    pub fn insert_f32(&mut self, name: impl Into<Cow<'static, str>>, data: Vec<f32>) -> Result<()> {
        self.insert(name, Buffer::from_f32(data, &[])?)
    }

    /// Returns the column.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], which lists the columns of the batch.
    pub fn column(&self, name: &str) -> Result<&Buffer> {
        self.columns.get(name).ok_or_else(|| CoreError::MissingColumn {
            column: name.into(),
            available: self.columns.keys().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
        })
    }

    /// Returns the elements of a float column, row-major.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`], or [`CoreError::Env`] if the column does not hold floats.
    pub fn as_f32(&self, name: &str) -> Result<&[f32]> {
        Ok(self.column(name)?.as_f32()?)
    }

    /// Whether the batch has a column of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// Removes a column and returns it, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<Buffer> {
        self.columns.remove(name)
    }

    /// Returns names and columns, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Buffer)> {
        self.columns.iter().map(|(name, column)| (name.as_ref(), column))
    }

    /// Returns a batch of all rows. Each column is uploaded when it is first read.
    #[must_use]
    pub fn to_device(self: &Arc<Self>, device: &Device) -> Batch {
        self.deferred(self.rows(), device, upload)
    }

    /// Returns a batch of the given rows, in that order. Each column is gathered and uploaded when it
    /// is first read, with [`CoreError::Env`] if a row is out of range, and otherwise the errors of
    /// [`upload`].
    #[must_use]
    pub fn gather_to_device(
        self: &Arc<Self>,
        rows: impl Into<Arc<Vec<usize>>>,
        device: &Device,
    ) -> Batch {
        let rows = rows.into();
        self.deferred(rows.len(), device, move |column, device| {
            upload_owned(column.gather(&rows)?, device)
        })
    }

    fn deferred(
        self: &Arc<Self>,
        rows: usize,
        device: &Device,
        load: impl Fn(&Buffer, &Device) -> Result<Column> + Clone + Send + Sync + 'static,
    ) -> Batch {
        let mut batch = Batch::new();
        for name in self.columns.keys() {
            let (columns, device, load) = (Arc::clone(self), device.clone(), load.clone());
            let of = name.clone();
            batch.insert_deferred(name.clone(), rows, move || load(columns.column(&of)?, &device));
        }
        batch
    }
}

/// Uploads a buffer. Leaves become tensors `[rows, …]`, Dict and Tuple become nested batches.
///
/// Bytes (images, MultiBinary) become floats with the same values. In host memory, images share the memory of the
/// buffer until the buffer is changed. Accelerators get the bytes of images and convert them.
///
/// # Errors
/// [`CoreError::Rank`] for a leaf with more dimensions than tensors may have,
/// [`CoreError::IntRange`] for an integer that does not fit into the integers of the device.
pub fn upload(buffer: &Buffer, device: &Device) -> Result<Column> {
    upload_owned(buffer.clone(), device)
}

fn upload_owned(buffer: Buffer, device: &Device) -> Result<Column> {
    let rows = buffer.rows();
    let shaped = |shape: Vec<usize>| -> Shape { std::iter::once(rows).chain(shape).collect() };
    // The bytes of images are a quarter of the size of their floats. Kernels on the CPU read them, and accelerators
    // convert them.
    let is_image = buffer.shape().is_ok_and(|shape| shape.len() > 1);
    let buffer = match is_image {
        true => match buffer.into_shared_u8() {
            Ok((bytes, shape)) => {
                let shape = shaped(shape).into();
                return Ok(AnyTensor::from_shared_bytes(bytes, shape, device)?.into());
            }
            Err(buffer) => buffer,
        },
        false => buffer,
    };
    let tensor = match buffer.into_parts() {
        Parts::Float(data, shape) => TensorData::new(data, shaped(shape)),
        Parts::Int(data, shape) => TensorData::new(data, shaped(shape)),
        Parts::Byte(data, shape) => {
            let floats: Vec<f32> = data.into_iter().map(f32::from).collect();
            TensorData::new(floats, shaped(shape))
        }
        Parts::Dict(parts) => {
            let mut batch = Batch::new();
            for (key, part) in parts {
                batch.insert(key, upload_owned(part, device)?);
            }
            return Ok(Column::Nested(batch));
        }
        Parts::Tuple(parts) => {
            let mut batch = Batch::new();
            for (index, part) in parts.into_iter().enumerate() {
                batch.insert(index.to_string(), upload_owned(part, device)?);
            }
            return Ok(Column::Nested(batch));
        }
    };
    Ok(AnyTensor::from_data(tensor, device)?.into())
}

/// Reads a column into a new buffer: floats, integers (also for booleans, as 0 and 1), and a Dict for a
/// nested batch.
///
/// # Errors
/// [`CoreError::Env`] if the parts of a nested batch differ in their rows, [`CoreError::DeviceRead`] if
/// the device fails.
pub fn download(column: &Column) -> Result<Buffer> {
    let tensor = match column {
        Column::Tensor(tensor) => tensor,
        Column::Nested(batch) => {
            let parts = batch.names().map(|name| Ok((name, download(batch.column(name)?)?)));
            return Ok(Buffer::from_dict(parts.collect::<Result<Vec<_>>>()?)?);
        }
    };
    let shape = tensor.shape();
    let of_row = shape.get(1..).unwrap_or_default();
    Ok(match tensor.kind() {
        TensorKind::Float => Buffer::from_f32(tensor.to_f32()?, of_row)?,
        TensorKind::Int | TensorKind::Bool => Buffer::from_i64(tensor.to_i64()?, of_row)?,
    })
}

/// Reads a column back into a buffer of the same layout and number of rows. A nested batch has exactly the
/// parts of the Dict or Tuple, by key or position.
///
/// # Errors
/// [`CoreError::ColumnParts`] if a nested batch lacks a part or has another one,
/// [`CoreError::TensorKind`] if kind or number of values differ, [`CoreError::DeviceRead`] if the
/// device fails.
pub fn download_into(column: &Column, buffer: &mut Buffer) -> Result<()> {
    match column {
        Column::Nested(batch) => {
            let parts: Vec<String> = match buffer.as_dict() {
                Ok(parts) => parts.keys().cloned().collect(),
                Err(_) => (0..buffer.as_tuple()?.len()).map(|part| part.to_string()).collect(),
            };
            if batch.len() != parts.len() || !parts.iter().all(|part| batch.contains(part)) {
                let (expected, found) = (parts.join(", "), batch.available());
                return Err(CoreError::ColumnParts { expected, found });
            }
            for part in parts {
                download_into(batch.column(&part)?, buffer.part_mut(&part)?)?;
            }
            Ok(())
        }
        Column::Tensor(tensor) => download_leaf(tensor, buffer),
    }
}

fn download_leaf(tensor: &AnyTensor, buffer: &mut Buffer) -> Result<()> {
    let mismatch = |what: &str, len: usize| CoreError::TensorKind {
        expected: format!("a {what} tensor with {len} values"),
        found: tensor.describe(),
    };
    if let Ok(target) = buffer.as_f32_mut() {
        let values = tensor.as_f32().map_err(|_| mismatch("float", target.len()))?;
        if values.len() != target.len() {
            return Err(mismatch("float", target.len()));
        }
        target.copy_from_slice(&values);
    } else if let Ok(target) = buffer.as_i64_mut() {
        let values = tensor.to_i64().map_err(|_| mismatch("int", target.len()))?;
        if values.len() != target.len() {
            return Err(mismatch("int", target.len()));
        }
        target.copy_from_slice(&values);
    } else {
        let target = buffer.as_u8_mut()?;
        let values = tensor.to_i64().map_err(|_| mismatch("int", target.len()))?;
        if values.len() != target.len() {
            return Err(mismatch("int", target.len()));
        }
        target.iter_mut().zip(values).for_each(|(t, v)| *t = v.clamp(0, 255) as u8);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rekindle_env::Space;

    use super::*;

    fn dict() -> Space {
        Space::dict([
            ("goal", Space::discrete(3).unwrap()),
            ("pose", Space::boxed(-1.0, 1.0, &[2]).unwrap()),
        ])
        .unwrap()
    }

    #[test]
    fn columns_keep_their_kind_and_nesting_on_the_device_and_back() {
        let mut buffer = Buffer::zeros(&dict(), 2);
        buffer.row_mut(1).get_mut("pose").unwrap().write_f32(&[0.5, -0.5]).unwrap();
        buffer.row_mut(0).get_mut("goal").unwrap().write_discrete(2).unwrap();
        let column = upload(&buffer, &Device::flex()).unwrap();
        let Column::Nested(batch) = &column else { panic!("a Dict is a nested batch") };
        assert_eq!(batch.float::<2>("pose").unwrap().dims(), [2, 2]);
        assert_eq!(batch.int::<1>("goal").unwrap().dims(), [2]);
        let mut back = Buffer::zeros(&dict(), 2);
        download_into(&column, &mut back).unwrap();
        assert_eq!(back, buffer);
        assert_eq!(download(&column).unwrap(), buffer);
    }

    #[test]
    fn a_column_is_gathered_only_when_it_is_read() {
        let mut columns = HostBatch::new();
        columns.insert_f32("a", vec![1.0, 2.0]).unwrap();
        // Row 2 does not exist. This is noticed only when the column is gathered.
        let batch = Arc::new(columns).gather_to_device(vec![0, 2], &Device::flex());
        assert_eq!(batch.rows(), 2);
        batch.float::<1>("a").unwrap_err();
    }

    #[test]
    fn a_nested_batch_has_exactly_the_parts_of_the_buffer() {
        let device = Device::flex();
        let pair = Space::tuple([Space::discrete(2).unwrap(), Space::discrete(2).unwrap()]);
        for (space, parts) in [(dict(), ["goal", "pose"]), (pair.unwrap(), ["0", "1"])] {
            let mut buffer = Buffer::zeros(&space, 2);
            let Column::Nested(whole) = upload(&buffer, &device).unwrap() else { panic!("nested") };
            download_into(&Column::Nested(whole.clone()), &mut buffer).unwrap();
            for part in parts {
                let mut lacking = whole.clone();
                lacking.remove(part);
                let mut renamed = lacking.clone();
                renamed.insert(format!("0{part}"), Tensor::<1>::zeros([2], &device));
                let more = whole.clone().with("other", Tensor::<1>::zeros([2], &device));
                for wrong in [lacking, renamed, more] {
                    let error = download_into(&Column::Nested(wrong), &mut buffer).unwrap_err();
                    assert!(matches!(error, CoreError::ColumnParts { .. }), "{error}");
                    assert!(error.to_string().contains(&parts.join(", ")), "{error}");
                }
            }
        }
    }

    #[test]
    fn images_stay_bytes_on_the_host_and_are_floats_for_readers() {
        let image = Buffer::from_u8(vec![0, 1, 2, 255], &[2, 1]).unwrap();
        let mut batch = HostBatch::new();
        batch.insert("obs", image.clone()).unwrap();
        let batch = Arc::new(batch).gather_to_device(vec![1, 0], &Device::flex());
        let column = batch.column("obs").unwrap();
        assert_eq!(column.tensor().unwrap().as_bytes().unwrap().data(), [2, 255, 0, 1]);
        let floats = crate::any_tensor::to_f32(batch.float::<3>("obs").unwrap()).unwrap();
        assert_eq!(floats, [2.0, 255.0, 0.0, 1.0]);
    }

    #[test]
    fn an_integer_beyond_those_of_the_device_is_an_error() {
        let start = i64::from(i32::MAX) + 1;
        let buffer = Buffer::from_i64(vec![0, start], &[]).unwrap();
        let error = upload(&buffer, &Device::flex()).unwrap_err();
        assert!(matches!(error, CoreError::IntRange { value, .. } if value == start), "{error}");
        let mut batch = HostBatch::new();
        batch.insert("actions", buffer).unwrap();
        let batch = Arc::new(batch);
        let read = |batch: Batch| batch.int::<1>("actions").map(|_| ());
        assert!(read(batch.to_device(&Device::flex())).is_err());
        assert!(read(batch.gather_to_device(vec![0], &Device::flex())).is_ok());
        assert!(read(batch.gather_to_device(vec![1], &Device::flex())).is_err());
    }

    #[test]
    fn minibatches_are_gathered_in_the_given_order() {
        let mut batch = HostBatch::new();
        batch.insert_f32("rewards", vec![0.0, 1.0, 2.0, 3.0]).unwrap();
        let batch = Arc::new(batch);
        let minibatch = batch.gather_to_device(vec![3, 0, 3], &Device::flex());
        let rewards = minibatch.float::<1>("rewards").unwrap();
        assert_eq!(crate::any_tensor::to_f32(rewards).unwrap(), [3.0, 0.0, 3.0]);
        let beyond = batch.gather_to_device(vec![4], &Device::flex());
        assert!(beyond.float::<1>("rewards").is_err());
    }

    #[test]
    fn columns_of_different_length_are_refused() {
        let mut batch = HostBatch::new();
        batch.insert_f32("rewards", vec![0.0; 4]).unwrap();
        let message = batch.insert_f32("values", vec![0.0; 3]).unwrap_err().to_string();
        assert!(message.contains("column `values` has 3 rows, the batch has 4"), "{message}");
    }
}
