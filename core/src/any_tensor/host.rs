//! Floats in host memory, read and wrapped without Burn's dispatch, which costs more than a small tensor.

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    BackendTensor, DispatchAutodiffContext, DispatchDevice, DispatchTensor, DispatchTensorKind,
    Flex,
};
use burn::prelude::*;
use burn::tensor::DType;

use super::AnyTensor;

/// Returns the elements of a float tensor that is contiguous in host memory and tracks no gradients.
pub(super) fn elements(tensor: &AnyTensor) -> Option<&[f32]> {
    match &tensor.as_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(plain)) => plain.as_slice::<f32>(),
        _ => None,
    }
}

/// Wraps 32-bit floats for the CPU. Returns other data, and data for other devices, as an error.
pub(super) fn from_data(data: TensorData, device: &Device) -> Result<AnyTensor, TensorData> {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) if data.dtype() == DType::F32 => {
            let plain: FloatTensor<Flex> = FloatTensor::<Flex>::from_data(data);
            Ok(AnyTensor::from_float_dispatch(DispatchTensor {
                kind: DispatchTensorKind::Flex(BackendTensor::Float(plain)),
                autodiff: DispatchAutodiffContext::Disabled,
            }))
        }
        _ => Err(data),
    }
}
