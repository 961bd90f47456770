//! Bytes that represent floats.

use std::sync::{Arc, OnceLock};

use burn::prelude::*;
use burn::tensor::kind::BridgeTensor;

use super::MAX_RANK;
use crate::error::Result;

/// Bytes in host memory, and the float tensor with the same values once it has been read.
#[derive(Debug)]
pub struct Bytes {
    data: Arc<Vec<u8>>,
    shape: Vec<usize>,
    device: Device,
    floats: OnceLock<BridgeTensor>,
}

impl Bytes {
    /// The shape has between 1 and [`MAX_RANK`] dimensions.
    pub(super) fn new(data: Arc<Vec<u8>>, shape: Vec<usize>, device: &Device) -> Self {
        debug_assert!((1..=MAX_RANK).contains(&shape.len()));
        Self { data, shape, device: device.clone(), floats: OnceLock::new() }
    }

    /// Returns the same bytes as a tensor of another device.
    pub(super) fn on(&self, device: Device) -> Self {
        let (data, shape) = (self.data.clone(), self.shape.clone());
        Self { data, shape, device, floats: OnceLock::new() }
    }

    /// Returns rows in the given order, or `None` if one does not exist.
    pub(super) fn select_rows(&self, rows: &[i64]) -> Option<Self> {
        let (count, of_row) = self.shape.split_first()?;
        let len = self.data.len().checked_div(*count)?;
        let mut data = Vec::with_capacity(rows.len() * len);
        for row in rows {
            let start = usize::try_from(*row).ok()?.checked_mul(len)?;
            data.extend_from_slice(self.data.get(start..start + len)?);
        }
        Some(Self::new(Arc::new(data), [&[rows.len()], of_row].concat(), &self.device))
    }

    /// Concatenates bytes along their first dimension, or returns `None` if their rows or devices differ.
    pub(super) fn cat(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        // Devices with and without gradients are equal.
        let fits = |part: &&Self| {
            part.shape[1..] == first.shape[1..]
                && part.device == first.device
                && part.device.is_autodiff() == first.device.is_autodiff()
        };
        if !parts.iter().all(fits) {
            return None;
        }
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        let slices: Vec<&[u8]> = parts.iter().map(|part| &part.data[..]).collect();
        Some(Self::new(Arc::new(slices.concat()), shape, &first.device))
    }

    /// Returns the bytes in row-major order.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the shape, rows first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the device of the tensor.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn floats(&self) -> &BridgeTensor {
        self.floats.get_or_init(|| {
            let floats: Vec<f32> = self.data.iter().copied().map(f32::from).collect();
            let shape = self.shape.clone();
            let data = TensorData::new(floats, shape.clone());
            let tensor: Result<BridgeTensor> = with_rank!(shape.len(), shape, D => {
                Ok(Tensor::<D>::from_data(data, &self.device).into_bridge())
            });
            // Unreachable, because the rank was checked.
            tensor.unwrap_or_else(|_| Tensor::<1>::zeros([0], &self.device).into_bridge())
        })
    }
}
