//! Action masks.

use burn::prelude::*;
use rekindle_onnx::{Graph, Value};

/// Masks actions by adding `log(mask)` to their logits, bounded below by float-min.
///
/// A masked action has probability 0. It is never drawn, never the deterministic choice, and
/// contributes nothing to entropies, divergences and gradients. Float-min instead of −∞ keeps
/// gradients finite. Acting fails with [`CatalogError::AllMasked`](crate::CatalogError::AllMasked)
/// if all actions are masked.
///
/// A module calls it on its logits, with the mask from its observation, as in RLlib's example of
/// action masking.
///
/// # Shapes
/// `logits` and `mask`: `[B, n]`, 1 for an allowed action and 0 for a masked one; result `[B, n]`.
#[must_use]
pub fn mask_logits(logits: Tensor<2>, mask: Tensor<2>) -> Tensor<2> {
    // The sum is bounded again, because a very negative logit would make it −∞.
    (logits + mask.detach().log().clamp_min(f32::MIN)).clamp_min(f32::MIN)
}

/// Adds [`mask_logits`] to an ONNX graph.
///
/// # Shapes
/// As [`mask_logits`]; the mask is of floats.
pub fn export_mask_logits(graph: &mut Graph, logits: &Value, mask: &Value) -> Value {
    let smallest = graph.scalar(f32::MIN);
    let logarithm = graph.node("Log", &[mask], &[]);
    let bounded = graph.max(&logarithm, &smallest);
    let sum = graph.add(logits, &bounded);
    graph.max(&sum, &smallest)
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::{Column, Generator};
    use rekindle_env::{Buffer, Space};

    use super::*;
    use crate::catalog::{Catalog, DefaultCatalog};

    fn masked(logits: [f32; 4], mask: [f32; 4], device: &Device) -> Tensor<2> {
        mask_logits(Tensor::from_floats([logits], device), Tensor::from_floats([mask], device))
    }

    #[test]
    fn masked_actions_are_never_drawn_nor_chosen_and_have_probability_zero() {
        let device = Device::flex();
        let mask = [1.0, 0.0, 1.0, 0.0];
        let row = to_f32(masked([0.0, 50.0, 1.0, f32::MIN], mask, &device)).unwrap();
        assert!(row.iter().all(|logit| logit.is_finite()), "{row:?}");
        let space = Space::discrete(4).unwrap();
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let mut rng = Generator::from_seed(1);
        let mut action = Buffer::zeros(&space, 1);
        for _ in 0..5_000 {
            dist.sample(&row, &mut rng, action.row_mut(0)).unwrap();
            assert!([0, 2].contains(&action.row(0).as_discrete().unwrap()));
        }
        dist.deterministic(&row, action.row_mut(0)).unwrap();
        assert_eq!(action.row(0).as_discrete().unwrap(), 2);
        action.row_mut(0).write_discrete(1).unwrap();
        assert_eq!(dist.row_logp(&row, action.row(0)).unwrap().exp(), 0.0);
    }

    #[test]
    fn entropies_divergences_and_gradients_are_those_of_the_allowed_actions() {
        let device = Device::flex().autodiff();
        let space = Space::discrete(4).unwrap();
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let logits = Tensor::<2>::from_floats([[0.0, 3.0, 1.0, -2.0]], &device).require_grad();
        let mask = Tensor::from_floats([[1.0, 0.0, 1.0, 0.0]], &device);
        let p = mask_logits(logits.clone(), mask);
        let q = masked([1.0, 9.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], &device);
        let entropy = dist.entropy(p.clone()).unwrap();
        let kl = dist.kl(p.clone(), q).unwrap();
        // Two actions with logits 0 and 1 are left, against 1 and 0.
        let sigmoid = 1.0 / (1.0 + 1f32.exp());
        let expected = -(sigmoid * sigmoid.ln() + (1.0 - sigmoid) * (1.0 - sigmoid).ln());
        assert!((to_f32(entropy.clone()).unwrap()[0] - expected).abs() < 1e-6);
        assert!((to_f32(kl.clone()).unwrap()[0] - (1.0 - 2.0 * sigmoid)).abs() < 1e-6);

        // A large weight must not turn "zero times almost infinite" into "not a number".
        let actions = Column::from(Tensor::<1, Int>::from_ints([1], &device));
        let loss = (entropy + kl + dist.logp(p, &actions).unwrap()).mul_scalar(1e3).sum();
        let gradient = to_f32(logits.grad(&loss.backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        assert_eq!((gradient[1], gradient[3]), (0.0, 0.0));
    }

    #[test]
    fn the_entropy_of_masked_logits_is_the_reference_figure() {
        let device = Device::flex();
        let space = Space::discrete(3).unwrap();
        let logits = Tensor::<2>::from_floats([[0.0, 1.0, 2.0]], &device);
        let mask = Tensor::from_floats([[1.0, 1.0, 0.0]], &device);
        let dist = DefaultCatalog.action_distribution(&space).unwrap();
        let entropy = to_f32(dist.entropy(mask_logits(logits, mask)).unwrap()).unwrap()[0];
        assert!((entropy - 0.582_203).abs() < 1e-5, "{entropy}");
    }

    #[test]
    fn acting_with_every_action_masked_says_so() {
        let row = to_f32(masked([0.0; 4], [0.0; 4], &Device::flex())).unwrap();
        for (space, row) in [
            (Space::discrete(4).unwrap(), row.clone()),
            (Space::multi_discrete([2, 4]).unwrap(), [vec![0.0; 2], row].concat()),
        ] {
            let dist = DefaultCatalog.action_distribution(&space).unwrap();
            let mut action = Buffer::zeros(&space, 1);
            let mut rng = Generator::from_seed(0);
            let errors = [
                dist.sample(&row, &mut rng, action.row_mut(0)).unwrap_err(),
                dist.deterministic(&row, action.row_mut(0)).unwrap_err(),
                dist.row_logp(&row, action.row(0)).unwrap_err(),
            ];
            for error in errors {
                assert!(error.to_string().contains("all 4 actions are masked"), "{error}");
            }
        }
    }
}
