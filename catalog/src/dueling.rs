//! The outputs of dueling networks.

use burn::prelude::*;

/// Returns the Q-values of a dueling network: `V + A − mean(A)` (Wang et al., 2016, equation 9).
///
/// # Shapes
/// `advantages`: `[B, actions]`; `values`: `[B]`; result: `[B, actions]`.
#[must_use]
pub fn dueling(advantages: Tensor<2>, values: Tensor<1>) -> Tensor<2> {
    let mean = advantages.clone().mean_dim(1);
    advantages - mean + values.unsqueeze_dim(1)
}

/// Returns the logits of a distributional dueling network: one per action and return atom.
///
/// Advantages are centered over actions, and the value stream has a logit per atom. Both streams
/// affect the probabilities of the atoms, so both learn. (RLlib centers over atoms and adds one
/// value to all of them. A softmax over atoms cancels that value.)
///
/// # Shapes
/// `advantages`: `[B, actions, atoms]`; `values`: `[B, atoms]`; result: `[B, actions, atoms]`.
#[must_use]
pub fn dueling_logits(advantages: Tensor<3>, values: Tensor<2>) -> Tensor<3> {
    let mean = advantages.clone().mean_dim(1);
    advantages - mean + values.unsqueeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn dueling_q_values_are_centered_advantages_around_the_value() {
        let device = Device::flex();
        let advantages = Tensor::<2>::from_floats([[1.0, 2.0, 6.0]], &device);
        let q = dueling(advantages, Tensor::from_floats([10.0], &device));
        assert_eq!(to_f32(q).unwrap(), [8.0, 9.0, 13.0]);
    }

    #[test]
    fn the_value_stream_of_a_distributional_network_learns() {
        let device = Device::flex().autodiff();
        let advantages = Tensor::<3>::from_floats([[[0.5, -1.0, 2.0], [0.0, 1.0, 0.3]]], &device);
        let values = Tensor::<2>::from_floats([[0.1, 0.2, -0.4]], &device).require_grad();
        // The log-probability of the last atom under the first action.
        let logits = dueling_logits(advantages, values.clone());
        let logp = log_softmax(logits, 2).slice([0..1, 0..1, 2..3]).sum();
        let gradient = to_f32(values.grad(&logp.backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|g| g.abs() > 1e-2), "{gradient:?}");
    }
}
