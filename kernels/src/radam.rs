//! Steps of RAdam, in place for parameters in host memory.

use burn::prelude::*;

#[cfg(feature = "flex")]
use rekindle_core::AnyTensor;

#[cfg(feature = "flex")]
use crate::eager::is_eager;

/// The settings of a step of RAdam (Liu et al., 2020).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RAdamStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Divisor of the first moment: `1 − β₁ᵗ`.
    pub bias: f32,
    /// The factor of a step whose variance is tractable, `r·√(1 − β₂ᵗ)`; `None` for a step of plain momentum.
    pub factor: Option<f32>,
}

impl RAdamStep {
    /// Creates the settings of step number `time`, from 1.
    #[must_use]
    pub fn new(lr: f64, [beta_1, beta_2, epsilon]: [f32; 3], time: usize) -> Self {
        let power = i32::try_from(time).unwrap_or(i32::MAX);
        let factor = rectification(beta_2, time).1.map(|factor| {
            let root = (1.0 - f64::from(beta_2).powi(power)).sqrt();
            (factor * root) as f32
        });
        Self { lr, beta_1, beta_2, epsilon, bias: 1.0 - beta_1.powi(power), factor }
    }
}

/// Takes one step of RAdam, as PyTorch computes it: with `m ← β₁·m + (1 − β₁)·g` and `v ← β₂·v + (1 − β₂)·g²`,
/// `p ← p − lr·f·m̂ / (√v + ε)`, or `p ← p − lr·m̂` where there is no factor `f`, for `m̂ = m / (1 − β₁ᵗ)`. `tensors`
/// are parameter, gradient and both moments. Returns the parameter and the moments after the step.
///
/// The step is in place for tensors whose storage has one owner. Every operation rounds as Burn's operation
/// does, so that the composition of these gives the same bits.
///
/// Finite values stay finite: squares of gradients count up to 1e38, and an element whose step is not finite
/// keeps its value and its moments.
///
/// # Shapes
/// All of one shape.
///
/// # Errors
/// The tensors, unchanged, if they are not all in host memory and of one shape, and in an
/// [`eager`](crate::eager) scope.
#[expect(clippy::result_large_err, reason = "the tensors themselves are the error")]
pub fn radam<const D: usize>(
    step: &RAdamStep,
    tensors: [Tensor<D>; 4],
) -> Result<[Tensor<D>; 3], [Tensor<D>; 4]> {
    #[cfg(feature = "flex")]
    if !is_eager() {
        let [parameter, gradient, first, second] = tensors.map(AnyTensor::from);
        let changed = [parameter, first, second];
        return match crate::host_op::flex::in_place(changed, &gradient, |[p, m, v], g| {
            crate::cpu::radam(step, p, g, [m, v]);
        }) {
            Ok(changed) => Ok(changed.map(AnyTensor::into_float_unchecked)),
            Err([parameter, first, second]) => {
                Err([parameter, gradient, first, second].map(AnyTensor::into_float_unchecked))
            }
        };
    }
    #[cfg(not(feature = "flex"))]
    let _ = step;
    Err(tensors)
}

/// Returns the length of the approximated moving average at a step, and the factor by which RAdam
/// corrects the step; `None` where the variance is not tractable, which is up to step 5 for a decay of 0.999.
fn rectification(beta_2: f32, time: usize) -> (f64, Option<f64>) {
    let (beta_2, t) = (f64::from(beta_2), time as f64);
    let power = beta_2.powf(t);
    let longest = 2.0 / (1.0 - beta_2) - 1.0;
    let length = longest - 2.0 * t * power / (1.0 - power);
    let factor = || {
        let of = |length: f64| (length - 4.0) * (length - 2.0);
        (of(length) * longest / (of(longest) * length)).sqrt()
    };
    (length, (length > 5.0).then(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radam_rectifies_from_step_6() {
        for (time, length, factor) in [
            (1, 1.000_000, None),
            (5, 4.995_998, None),
            (6, 5.994_164, Some(0.025_821)),
            (100, 98.332_944, Some(0.215_335)),
        ] {
            // The decay 0.999 is rounded to single precision, which moves the length a little.
            let (found, of_step) = rectification(0.999, time);
            assert!((found - length).abs() < 1e-3, "{found}");
            match (of_step, factor) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-4, "{a}"),
                (a, b) => assert_eq!(a, b, "step {time}"),
            }
        }
    }
}
