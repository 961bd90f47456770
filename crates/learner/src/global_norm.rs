//! The norm that gradients are clipped by, and that decides whether a step is taken.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::kernels;

use crate::Result;

/// The 2-norm of some gradients together.
///
/// On the CPU it is a number. On other devices reading it would make the host wait for the device
/// in every minibatch, so there it stays a tensor that later operations take.
#[derive(Debug, Clone)]
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
        if let Some(sum) = kernels::square_sum(gradients.clone()) {
            return Ok(Some(Self::Known(sum.sqrt())));
        }
        let mut total: Option<Tensor<1>> = None;
        for gradient in gradients {
            let sum = gradient.flatten()?.square().sum();
            total = Some(match total {
                Some(total) => total + sum,
                None => sum,
            });
        }
        Ok(total.map(|total| Self::OnDevice(total.sqrt())))
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

    /// The gradient that has this norm, or that others have it with, scaled so that it is at most
    /// `bound`.
    pub(crate) fn limit(&self, gradient: AnyTensor, bound: f64) -> Result<AnyTensor> {
        Ok(match self {
            Self::Known(norm) if *norm > bound => gradient.scale(bound / norm)?,
            Self::Known(_) => gradient,
            // Without a branch, which the host would have to decide.
            Self::OnDevice(norm) => {
                gradient.scale_by(&norm.clone().recip().mul_scalar(bound).clamp_max(1.0))?
            }
        })
    }
}
