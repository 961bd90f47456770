//! The norm of gradients: it scales clipped gradients, and decides whether a step is taken.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;

use crate::Result;

/// The 2-norm of several gradients together.
///
/// On the CPU it is a number. On other devices it stays a tensor for later operations, because
/// reading it would make the host wait for the device in every minibatch.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum GlobalNorm {
    /// Computed in double precision: finite for all finite gradients.
    Known(f64),
    /// `[1]`, on the device, in single precision: infinite for a norm beyond 1e19.
    OnDevice(Tensor<1>),
}

impl GlobalNorm {
    /// Computes the norm of gradients, or `None` without gradients.
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
        // One sum over all gradients: a sum for each would launch three times as many kernels.
        let flat: rekindle_core::Result<Vec<_>> = gradients.map(AnyTensor::flatten).collect();
        Ok(Some(Self::OnDevice(Tensor::cat(flat?, 0).square().sum().sqrt())))
    }

    /// Returns the number. Waits for the device.
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

    /// The factor that scales gradients of this norm to a norm of at most `bound`.
    pub(crate) fn scale_to(&self, bound: f64) -> Scale {
        match self {
            Self::Known(norm) if *norm > bound => Scale::Known(bound / norm),
            Self::Known(_) => Scale::Known(1.0),
            // A branch would make the host wait for the device.
            Self::OnDevice(norm) => {
                Scale::OnDevice(norm.clone().recip().mul_scalar(bound).clamp_max(1.0))
            }
        }
    }
}

/// A factor, on the host or on the device.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Scale {
    Known(f64),
    /// `[1]`.
    OnDevice(Tensor<1>),
}
