//! The outputs of dueling networks.

use burn::prelude::*;

/// Returns the Q-values of a dueling network: `V + A − mean(A)` (Wang et al., 2016, equation 9). With a mask,
/// the mean is that of the allowed actions.
///
/// # Shapes
/// `advantages`: `[B, actions]`; `values`: `[B]`; `mask`: `[B, actions]`, 1 for an allowed action and 0 for a
/// masked one; result: `[B, actions]`.
#[must_use]
pub fn dueling(advantages: Tensor<2>, values: Tensor<1>, mask: Option<&Tensor<2>>) -> Tensor<2> {
    let mean = match mask {
        None => advantages.clone().mean_dim(1),
        Some(mask) => {
            // Without an allowed action, the sum is 0.
            (advantages.clone() * mask.clone()).sum_dim(1) / mask.clone().sum_dim(1).clamp_min(1.0)
        }
    };
    advantages - mean + values.unsqueeze_dim(1)
}

/// Returns the parameters of the value distributions of a dueling network: one per action and atom.
///
/// Advantages are centered over the actions that the mask allows, for each atom, and the value stream has a
/// parameter per atom. Both streams affect the probabilities of the atoms, so both learn. (RLlib centers over
/// atoms and adds one value to all of them. A softmax over atoms cancels that value.)
///
/// # Shapes
/// `advantages`: `[B, actions, atoms]`; `values`: `[B, atoms]`; `mask`: `[B, actions]`; result:
/// `[B, actions, atoms]`.
#[must_use]
pub fn dueling_logits(
    advantages: Tensor<3>,
    values: Tensor<2>,
    mask: Option<&Tensor<2>>,
) -> Tensor<3> {
    let mean = match mask {
        None => advantages.clone().mean_dim(1),
        Some(mask) => {
            let mask = mask.clone().unsqueeze_dim::<3>(2);
            (advantages.clone() * mask.clone()).sum_dim(1) / mask.sum_dim(1).clamp_min(1.0)
        }
    };
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
        let q = dueling(advantages, Tensor::from_floats([10.0], &device), None);
        assert_eq!(to_f32(q).unwrap(), [8.0, 9.0, 13.0]);
    }

    #[test]
    fn masked_advantages_do_not_count_in_the_mean() {
        let device = Device::flex();
        let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0, 0.0], [0.0; 4]], &device);
        let advantages = Tensor::<2>::from_floats([[1.0, 5.0, 2.0, 9.0]; 2], &device);
        let values = Tensor::<1>::zeros([2], &device);
        let q = to_f32(dueling(advantages.clone(), values, Some(&mask))).unwrap();
        // The reference mean of the allowed ones is 2.666667.
        assert!((q[1] - (5.0 - 2.666_667)).abs() < 1e-5, "{q:?}");
        assert_eq!(
            q[4..],
            [1.0, 5.0, 2.0, 9.0],
            "without an allowed action, nothing is subtracted"
        );
        let of_atoms = Tensor::stack::<3>(vec![advantages.clone(), advantages * 2.0], 2);
        let atoms = Tensor::<2>::zeros([2, 2], &device);
        let logits = to_f32(dueling_logits(of_atoms, atoms, Some(&mask))).unwrap();
        assert!((logits[2] - q[1]).abs() < 1e-5 && (logits[3] - 2.0 * q[1]).abs() < 1e-5);
    }

    #[test]
    fn the_value_stream_of_a_distributional_network_learns() {
        let device = Device::flex().autodiff();
        let advantages = Tensor::<3>::from_floats([[[0.5, -1.0, 2.0], [0.0, 1.0, 0.3]]], &device);
        let values = Tensor::<2>::from_floats([[0.1, 0.2, -0.4]], &device).require_grad();
        // The log-probability of the last atom under the first action.
        let logits = dueling_logits(advantages, values.clone(), None);
        let logp = log_softmax(logits, 2).slice([0..1, 0..1, 2..3]).sum();
        let gradient = to_f32(values.grad(&logp.backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|g| g.abs() > 1e-2), "{gradient:?}");
    }
}
