//! The norm that gradients are clipped by, and that decides whether a step is taken.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;

use crate::Result;

/// The 2-norm of some gradients together.
///
/// On the CPU it is a number. On other devices reading it would make the host wait for the device
/// in every minibatch, so there it stays a tensor that later operations take.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum GlobalNorm {
    /// Computed in double precision: finite whenever the gradients are.
    Known(f64),
    /// `[1]`, on the device, in single precision: infinite for gradients beyond 1e19.
    OnDevice(Tensor<1>),
}

impl GlobalNorm {
    /// Of gradients; `None` without any.
    ///
    /// # Errors
    /// If a gradient is of an unsupported rank.
    pub(crate) fn of<'a>(
        gradients: impl Iterator<Item = &'a AnyTensor> + Clone,
    ) -> Result<Option<Self>> {
        if gradients.clone().next().is_none() {
            return Ok(None);
        }
        if let Some(sum) = rekindle_kernels::square_sum(gradients.clone()) {
            return Ok(Some(Self::Known(sum.sqrt())));
        }
        // One sum over all: a sum for each would launch three times as many kernels.
        let flat: rekindle_core::Result<Vec<_>> = gradients.map(AnyTensor::flatten).collect();
        Ok(Some(Self::OnDevice(Tensor::cat(flat?, 0).square().sum().sqrt())))
    }

    /// The number; waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn value(&self) -> Result<f64> {
        match self {
            Self::Known(norm) => Ok(*norm),
            Self::OnDevice(norm) => {
                Ok(to_f32(norm.clone())?.first().copied().map_or(0.0, f64::from))
            }
        }
    }

    /// What gradients of this norm are scaled by to have one of at most `bound`.
    pub(crate) fn scale_to(&self, bound: f64) -> Scale {
        match self {
            Self::Known(norm) if *norm > bound => Scale::Known(bound / norm),
            Self::Known(_) => Scale::Known(1.0),
            // Without a branch, which the host would have to decide.
            Self::OnDevice(norm) => {
                Scale::OnDevice(norm.clone().recip().mul_scalar(bound).clamp_max(1.0))
            }
        }
    }
}

/// A factor, known or on the device.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Scale {
    Known(f64),
    /// `[1]`.
    OnDevice(Tensor<1>),
}

impl Scale {
    pub(crate) fn apply(&self, gradient: AnyTensor) -> Result<AnyTensor> {
        Ok(match self {
            Self::Known(1.0) => gradient,
            Self::Known(factor) => gradient.scale(*factor)?,
            Self::OnDevice(factor) => gradient.scale_by(factor)?,
        })
    }
}
