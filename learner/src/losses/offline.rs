//! Terms of algorithms that learn from recorded data: CQL's penalty, IQL's expectile and weights.

use burn::prelude::*;

/// Computes CQL's gap: how much larger a soft maximum of values is than the values of the data,
/// `T·log Σ exp(x/T) − Q(s, a)` (Kumar et al., 2020, equation 4). It is not divided by the number of values.
///
/// # Shapes
/// `values`: `[B, critics, N]`, in a `Box` of sampled actions, each minus the logarithm of its density; `data`:
/// `[B, critics]`; result `[B, critics]`.
#[must_use]
pub fn conservative_gap(values: Tensor<3>, data: Tensor<2>, temperature: f64) -> Tensor<2> {
    let scaled = values / temperature;
    // Shifted by the largest value, as a constant: nothing overflows, and the gradient is the same.
    let largest = scaled.clone().detach().max_dim(2);
    let sum = (scaled - largest.clone()).exp().sum_dim(2);
    ((sum.log() + largest) * temperature).squeeze_dim(2) - data
}

/// Computes the expectile losses `|τ − 1(d < 0)|·d²` of differences `d` (Kostrikov et al., 2022, equation 5): ½ is
/// half the squared error, and larger τ lead to larger values.
///
/// # Shapes
/// `[B]` to `[B]`.
#[must_use]
pub fn expectile(differences: Tensor<1>, tau: f64) -> Tensor<1> {
    let negative = differences.clone().detach().lower_elem(0.0);
    let weights = differences.full_like(tau).mask_fill(negative, 1.0 - tau);
    weights * differences.square()
}

/// Computes the weights `min(exp(β·A), largest)` of actions from their advantages, as IQL and AWAC do.
///
/// # Shapes
/// `[B]` to `[B]`.
#[must_use]
pub fn advantage_weights(advantages: Tensor<1>, beta: f64, largest: f64) -> Tensor<1> {
    // Bounded before, so that none is infinite.
    (advantages * beta).clamp_max(largest.ln()).exp()
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn close(found: Vec<f32>, expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{found:?} {expected:?}");
        }
    }

    fn gap(values: &[f32], data: f32, temperature: f64) -> f32 {
        let device = Device::flex();
        let count = values.len();
        let values = Tensor::<1>::from_floats(values, &device).reshape([1, 1, count]);
        let data = Tensor::<2>::from_floats([[data]], &device);
        to_f32(conservative_gap(values, data, temperature)).unwrap()[0]
    }

    #[test]
    fn gaps_of_cql_equal_the_reference_figures() {
        let weighted = [1.693_147, 2.693_147, 1.0, 3.0, 1.0, 5.0];
        close(vec![gap(&weighted, 0.0, 1.0), gap(&weighted, 1.2, 1.0)], &[5.268_631, 4.068_631]);
        close(vec![gap(&weighted, 0.0, 5.0)], &[11.562_621]);
        // Other ports divide the sum by the number of values.
        close(vec![gap(&weighted, 0.0, 1.0) - 6.0_f32.ln()], &[3.476_871]);
        let unweighted = [1.0, 2.0, 0.0, 3.0, 0.5, 1.5, 1.2];
        close(
            vec![gap(&unweighted, 0.0, 1.0), gap(&unweighted, 1.2, 1.0)],
            &[3.704_837, 2.504_837],
        );
        close(vec![gap(&[1000.0, 1000.0], 0.0, 1.0)], &[1000.0 + 2.0_f32.ln()]);
    }

    #[test]
    fn the_gap_of_all_actions_and_its_gradient_equal_the_reference_figures() {
        let device = Device::flex().autodiff();
        let q = Tensor::<2>::from_floats([[1.0, 2.0, 3.0]], &device).require_grad();
        let data = q.clone().narrow(1, 0, 1);
        let gap = conservative_gap(q.clone().unsqueeze_dim(1), data, 1.0);
        close(to_f32(gap.clone()).unwrap(), &[2.407_606]);
        let gradients = gap.sum().backward();
        let found = to_f32(q.grad(&gradients).unwrap()).unwrap();
        close(found, &[-0.909_969, 0.244_728, 0.665_241]);
    }

    #[test]
    fn expectile_losses_and_their_minima_equal_the_reference_figures() {
        let device = Device::flex().autodiff();
        let of = |numbers: [f32; 3]| Tensor::<1>::from_floats(numbers, &device);
        let v = Tensor::<1>::from_floats([0.0], &device).require_grad();
        let terms = expectile(of([1.0, -2.0, 0.5]) - v.clone(), 0.7);
        close(to_f32(terms.clone()).unwrap(), &[0.7, 1.2, 0.175]);
        let mean = terms.mean();
        close(to_f32(mean.clone()).unwrap(), &[0.691_667]);
        close(to_f32(v.grad(&mean.backward()).unwrap()).unwrap(), &[-0.3]);
        for (tau, least) in [(0.7, 0.264_706_f32), (0.9, 0.681_818)] {
            let v = Tensor::<1>::from_floats([least], &device).require_grad();
            let sum = expectile(of([1.0, -2.0, 0.5]) - v.clone(), tau).sum();
            close(to_f32(v.grad(&sum.backward()).unwrap()).unwrap(), &[0.0]);
        }
        close(to_f32(expectile(of([1.0, -1.0, 0.0]), 0.8)).unwrap(), &[0.8, 0.2, 0.0]);
    }

    #[test]
    fn weights_of_advantages_equal_the_reference_figures() {
        let of = |advantages: [f32; 3]| {
            let advantages = Tensor::<1>::from_floats(advantages, &Device::flex());
            to_f32(advantage_weights(advantages, 3.0, 100.0)).unwrap()
        };
        close(of([0.5, 2.0, -1.0]), &[4.481_689, 100.0, 0.049_787]);
        close(of([2.0, -1.0, 0.5]), &[100.0, 0.049_787, 4.481_689]);
        close(of([1e30, -1e30, 0.0]), &[100.0, 0.0, 1.0]);
    }
}
