//! Bytes that represent floats.

use std::sync::OnceLock;

use burn::prelude::*;
use burn::tensor::kind::BridgeTensor;

use super::MAX_RANK;
use crate::error::Result;

/// Bytes in host memory, and the float tensor with the same values once it has been read.
#[derive(Debug)]
pub struct Bytes {
    data: Vec<u8>,
    shape: Vec<usize>,
    device: Device,
    floats: OnceLock<BridgeTensor>,
}

impl Bytes {
    /// The shape has between 1 and [`MAX_RANK`] dimensions.
    pub(super) fn new(data: Vec<u8>, shape: Vec<usize>, device: &Device) -> Self {
        debug_assert!((1..=MAX_RANK).contains(&shape.len()));
        Self { data, shape, device: device.clone(), floats: OnceLock::new() }
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
