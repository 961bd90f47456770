//! Number formats of layers.

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::FloatDType;
use rekindle_core::ConfigError;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Floating-point format of the computations of a layer. Parameters, their gradients and the
/// optimizer keep single precision, as in PyTorch's `autocast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ComputeDType {
    /// Single precision.
    #[default]
    F32,
    /// Brain floating point: the range of single precision with 8 bits of mantissa.
    Bf16,
    /// Half precision: 11 bits of mantissa. The largest number is 65 504, and gradients below 6e-8
    /// become 0.
    F16,
}

impl ComputeDType {
    fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// Checks that the device supports the format.
    ///
    /// # Errors
    /// [`CatalogError::Config`](crate::CatalogError::Config) that names `field`.
    pub(crate) fn check(self, field: &'static str, device: &Device) -> Result<()> {
        if self == Self::F32 || device.supports_dtype(self.dtype()) {
            return Ok(());
        }
        let value = serde_json::to_string(&self).unwrap_or_default();
        let constraint = format!("{device:?} does not support it; use \"f32\"");
        Err(ConfigError::new(field, value, constraint).into())
    }

    /// Converts a tensor to this format.
    pub(crate) fn convert<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let dtype = self.dtype();
        if x.dtype() == dtype.into() { x } else { x.cast(dtype) }
    }

    /// Copies layers into this format. Gradients reach the parameters of `layers`.
    pub(crate) fn convert_module<M: Module>(self, layers: &M) -> M {
        layers.clone().map(&mut Caster(self))
    }
}

struct Caster(ComputeDType);

impl ModuleMapper for Caster {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, self.0.convert(tensor), mapper)
    }
}
