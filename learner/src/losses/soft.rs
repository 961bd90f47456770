//! Terms of SAC: values with an entropy bonus, and the loss of its weight.

use burn::prelude::*;

/// Log-probabilities count from here on: smaller ones belong to actions that are never taken.
const LEAST_LOGP: f32 = -1e4;

/// Computes the soft values of a policy over finitely many actions: `Σ π(a)·(Q(a) − α·log π(a))` (Christodoulou,
/// 2019, equation 10). Actions that a mask forbids, with log-probability −∞, do not count.
///
/// # Shapes
/// `logp`, `q`: `[B, actions]`; `alpha`: `[1]`; result `[B]`.
pub fn soft_values(logp: Tensor<2>, q: Tensor<2>, alpha: Tensor<1>) -> Tensor<1> {
    let probabilities = logp.clone().exp();
    let bonus = logp.clamp_min(LEAST_LOGP) * alpha.unsqueeze_dim(0);
    (probabilities * (q - bonus)).sum_dim(1).squeeze_dim(1)
}

/// Computes the losses of SAC's temperature: `−log α·(log π + H)` with the target entropy `H`, as in
/// Stable-Baselines3 and RLlib. CleanRL and the paper multiply by α instead of log α, so their gradients are α times
/// as large.
///
/// # Shapes
/// `log_alpha`: `[1]`; `logp`, without gradients: `[B]`; result `[B]`.
pub fn temperature_loss(log_alpha: Tensor<1>, logp: Tensor<1>, target_entropy: f64) -> Tensor<1> {
    (logp + target_entropy) * log_alpha.neg()
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn close(found: Vec<f32>, expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn soft_values_and_the_gradients_of_the_policy_equal_the_reference_figures() {
        let device = Device::flex().autodiff();
        let probabilities = Tensor::<2>::from_floats([[0.7, 0.2, 0.1]], &device);
        let logits = probabilities.log().detach().require_grad();
        let q = Tensor::from_floats([[1.0, 1.0, 3.0]], &device);
        let alpha = Tensor::from_floats([0.2], &device);
        let values = soft_values(log_softmax(logits.clone(), 1), q, alpha);
        close(to_f32(values.clone()).unwrap(), &[1.360_364]);
        let gradients = values.neg().sum().backward();
        let found = to_f32(logits.grad(&gradients).unwrap()).unwrap();
        close(found, &[0.202_320, 0.007_695, -0.210_015]);
    }

    #[test]
    fn forbidden_actions_count_neither_in_values_nor_in_gradients() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[0.0, 1.0, f32::NEG_INFINITY]], &device);
        let logits = logits.require_grad();
        let q = Tensor::from_floats([[0.0, 0.0, 50.0]], &device);
        let logp = log_softmax(logits.clone(), 1);
        let values = soft_values(logp, q, Tensor::ones([1], &device));
        close(to_f32(values.clone()).unwrap(), &[0.582_203]);
        let gradient = to_f32(logits.grad(&values.sum().backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()) && gradient[2] == 0.0, "{gradient:?}");
    }

    #[test]
    fn the_loss_of_the_temperature_and_its_gradient_equal_the_reference_figures() {
        let device = Device::flex().autodiff();
        let log_alpha = Tensor::<1>::from_floats([0.2f32.ln()], &device).require_grad();
        let of = |logp: &[f32], target_entropy: f64| {
            let logp = Tensor::from_floats(logp, &device);
            let loss = temperature_loss(log_alpha.clone(), logp, target_entropy).mean();
            let value = to_f32(loss.clone()).unwrap()[0];
            [value, to_f32(log_alpha.grad(&loss.backward()).unwrap()).unwrap()[0]]
        };
        close(of(&[-1.2, -0.4], -1.0).to_vec(), &[-2.896_988, 1.8]);
        // A policy with the probabilities 0.7, 0.2 and 0.1, and a target of 0.98·ln 3.
        close(vec![of(&[-0.801_819], 1.076_640)[1]], &[-0.274_821]);
        // If the entropy of the policy is below the target, a step against the gradient raises the temperature.
        assert!(of(&[0.5, 1.5], -0.9)[1] < 0.0);
    }
}
