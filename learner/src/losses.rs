//! Loss terms: pure, differentiable functions over tensors.

mod soft;

use burn::prelude::*;

pub use soft::{soft_values, temperature_loss};

/// Computes the mean of a loss term over the rows that count.
///
/// # Shapes
/// `values`, `mask`: `[B]`. `mask` is 1 where a row counts and 0 where it is padding, which need not be
/// finite; `None` if all rows count. Result: `[1]`.
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
pub fn value_loss(
    values: Tensor<1>,
    targets: Tensor<1>,
    clip_param: f32,
) -> (Tensor<1>, Tensor<1>) {
    let error = (values - targets).square();
    (error.clone(), if clip_param.is_finite() { error.clamp(0.0, clip_param) } else { error })
}

/// Computes the quantile Huber losses of estimates of a distribution against samples of it (Dabney et al., 2018,
/// equation 10, with κ = 1): `|τ − 1(u < 0)|·L(u)` of each difference `u = target − quantile`, where
/// `τ = (2i + 1)/2N` for quantile `i` of `N`. The means over quantiles and targets.
///
/// TQC of sb3-contrib takes this mean. The paper, and QR-DQN of sb3-contrib, take the sum over quantiles, which is
/// `N` times the result; RLlib's TQC the sum over both.
///
/// # Shapes
/// `quantiles`: `[B, critics, N]`; `targets`: `[B, M]`; result `[B, critics]`.
pub fn quantile_huber(quantiles: Tensor<3>, targets: Tensor<2>) -> Tensor<2> {
    let [rows, critics, count] = quantiles.dims();
    let device = quantiles.device();
    let levels: Vec<f32> = (0..count).map(|i| (i as f32 + 0.5) / count as f32).collect();
    let levels = Tensor::<4>::from_data(TensorData::new(levels, [1, 1, count, 1]), &device);
    let [_, samples] = targets.dims();
    let targets = targets.reshape([rows, 1, 1, samples]);
    let difference = targets - quantiles.unsqueeze_dim::<4>(3);
    let below = difference.clone().detach().lower_elem(0.0).float();
    let weights = (levels - below).abs();
    let size = difference.clone().abs();
    let huber = difference.square() * 0.5;
    let huber = huber.mask_where(size.clone().greater_elem(1.0), size - 0.5);
    (weights * huber).mean_dim(3).mean_dim(2).reshape([rows, critics])
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

    #[test]
    fn quantile_huber_losses_equal_the_reference_figures() {
        let device = Device::flex().autodiff();
        let row = Tensor::<3>::from_floats([[[-0.5, 0.4, 2.0]]], &device).require_grad();
        let targets = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
        let loss = quantile_huber(row.clone(), targets);
        assert_eq!(loss.dims(), [1, 1]);
        let found = to_f32(loss.clone()).unwrap()[0];
        // The mean over all, as in TQC; times 3, the sum over quantiles; times 6, the sum over both.
        for (factor, expected) in [(1.0, 0.108_472), (3.0, 0.325_417), (6.0, 0.650_833)] {
            assert!((found * factor - expected).abs() < 1e-5, "{found}");
        }
        let gradient = to_f32(row.grad(&loss.sum().backward()).unwrap()).unwrap();
        for (found, of_sum) in gradient.iter().zip([-0.125, -0.05, 0.166_667]) {
            assert!((found * 3.0 - of_sum).abs() < 1e-5, "{gradient:?}");
        }
    }

    #[test]
    fn true_quantiles_of_two_equal_samples_have_no_loss() {
        let device = Device::flex().autodiff();
        let row = Tensor::<3>::from_floats([[[2.0, 2.0]]], &device).require_grad();
        let loss = quantile_huber(row.clone(), Tensor::from_floats([[2.0, 2.0]], &device));
        assert_eq!(to_f32(loss.clone()).unwrap(), [0.0]);
        assert_eq!(to_f32(row.grad(&loss.sum().backward()).unwrap()).unwrap(), [0.0, 0.0]);
    }
}
