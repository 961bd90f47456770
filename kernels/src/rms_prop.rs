//! Steps of RMSprop, in place for parameters in host memory.

use burn::prelude::*;

#[cfg(feature = "flex")]
use rekindle_core::AnyTensor;

#[cfg(feature = "flex")]
use crate::eager::is_eager;
#[cfg(feature = "flex")]
use crate::host_op::flex::{in_place, into_plain, recycle};

/// The settings of a step of RMSprop (Tieleman and Hinton, 2012).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RmsPropStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the average of squared gradients.
    pub alpha: f32,
    /// Added to the root of the average.
    pub epsilon: f32,
}

impl RmsPropStep {
    /// Creates the settings of a step.
    #[must_use]
    pub fn new(lr: f64, alpha: f32, epsilon: f32) -> Self {
        Self { lr, alpha, epsilon }
    }
}

/// Takes one step of RMSprop, as PyTorch computes it: `v ← α·v + (1 − α)·g²`, `p ← p − lr·g / (√v + ε)`.
/// `tensors` are parameter, gradient and average. Returns the parameter and the average after the step.
///
/// The step is in place for tensors whose storage has one owner. Every operation rounds as Burn's operation
/// does, so that the composition of these gives the same bits.
///
/// Finite values stay finite: squares of gradients count up to 1e38, and an element whose step is not finite
/// keeps its value and its average.
///
/// # Shapes
/// All of one shape.
///
/// # Errors
/// The tensors, unchanged, if they are not all in host memory and of one shape, and in an
/// [`eager`](crate::eager) scope.
#[expect(clippy::result_large_err, reason = "the tensors themselves are the error")]
pub fn rms_prop<const D: usize>(
    step: &RmsPropStep,
    tensors: [Tensor<D>; 3],
) -> Result<[Tensor<D>; 2], [Tensor<D>; 3]> {
    #[cfg(feature = "flex")]
    if !is_eager() {
        let [parameter, gradient, average] = tensors.map(AnyTensor::from);
        return match in_place([parameter, average], &gradient, |[p, v], g| {
            crate::cpu::rms_prop(step, p, g, v);
        }) {
            Ok(changed) => {
                into_plain(gradient).into_iter().for_each(recycle);
                Ok(changed.map(AnyTensor::into_float_unchecked))
            }
            Err([parameter, average]) => {
                Err([parameter, gradient, average].map(AnyTensor::into_float_unchecked))
            }
        };
    }
    #[cfg(not(feature = "flex"))]
    let _ = step;
    Err(tensors)
}
