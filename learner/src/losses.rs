//! Loss terms: pure, differentiable functions over tensors.

mod distributional;
mod offline;
mod soft;

use burn::prelude::*;

pub use distributional::{categorical_projection, cross_entropy, quantile_huber};
pub use offline::{advantage_weights, conservative_gap, expectile};
pub use soft::{soft_values, temperature_loss};

/// Computes the mean of a loss term over the rows that count.
///
/// # Shapes
/// `values`, `mask`: `[B]`. `mask` is 1 where a row counts and 0 where it is padding, which need not be
/// finite; `None` if all rows count. Result: `[1]`.
#[must_use]
pub fn mean(values: Tensor<1>, mask: Option<&Tensor<1>>) -> Tensor<1> {
    match mask {
        // Left out, not multiplied by 0: padding need not be finite.
        Some(mask) => {
            values.mask_fill(mask.clone().equal_elem(0.0), 0.0).sum() / mask.clone().sum()
        }
        None => values.mean(),
    }
}

/// Computes PPO's clipped surrogate, which is to be maximized: `min(A·r, A·clip(r, 1 ± clip_param))` with
/// `r = exp(logp − old_logp)` (Schulman et al., 2017).
///
/// # Shapes
/// All `[B]`.
#[must_use]
pub fn ppo_surrogate(
    logp: Tensor<1>,
    old_logp: Tensor<1>,
    advantages: Tensor<1>,
    clip_param: f32,
) -> Tensor<1> {
    let ratio = (logp - old_logp).exp();
    let clipped = ratio.clone().clamp(1.0 - clip_param, 1.0 + clip_param);
    (ratio * advantages.clone()).min_pair(clipped * advantages)
}

/// Computes the squared errors of the value function, and these errors clipped to `[0, clip_param]`.
///
/// As in RLlib, the squared error is clipped, not the change of the value: large errors have no
/// gradient.
///
/// # Shapes
/// `values`, `targets`: `[B]`. Both results: `[B]`.
#[must_use]
pub fn value_loss(
    values: Tensor<1>,
    targets: Tensor<1>,
    clip_param: f32,
) -> (Tensor<1>, Tensor<1>) {
    let error = (values - targets).square();
    (error.clone(), if clip_param.is_finite() { error.clamp(0.0, clip_param) } else { error })
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn t(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    #[test]
    fn ppo_surrogate_equals_the_reference_figures() {
        let logp = t(&[-0.5, -0.5, -1.5, -1.5, -1.0]);
        let old = t(&[-1.0; 5]);
        let advantages = t(&[2.0, -2.0, 2.0, -2.0, 2.0]);
        let surrogate = to_f32(ppo_surrogate(logp, old, advantages, 0.3)).unwrap();
        for (found, expected) in surrogate.iter().zip([2.6, -3.297443, 1.213061, -1.4, 2.0]) {
            assert!((found - expected).abs() < 1e-5, "{surrogate:?}");
        }
    }

    #[test]
    fn padding_does_not_count_in_a_mean() {
        let values = t(&[1.0, 2.0, 30.0, 6.0]);
        let infinite = t(&[1.0, 2.0, f32::NAN, 6.0]);
        let mask = t(&[1.0, 1.0, 0.0, 1.0]);
        assert_eq!(to_f32(mean(values.clone(), Some(&mask))).unwrap(), [3.0]);
        assert_eq!(to_f32(mean(infinite, Some(&mask))).unwrap(), [3.0]);
        assert_eq!(to_f32(mean(values, None)).unwrap(), [9.75]);
    }

    #[test]
    fn large_value_errors_are_clipped_and_give_no_gradient() {
        let device = Device::flex().autodiff();
        let values = Tensor::<1>::from_floats([5.0, 1.0], &device).require_grad();
        let (error, clipped) = value_loss(values.clone(), Tensor::zeros([2], &device), 10.0);
        assert_eq!(to_f32(error).unwrap(), [25.0, 1.0]);
        assert_eq!(to_f32(clipped.clone()).unwrap(), [10.0, 1.0]);
        let grads = clipped.sum().backward();
        assert_eq!(to_f32(values.grad(&grads).unwrap()).unwrap(), [0.0, 2.0]);
    }
}
