//! Loss terms of distributions of returns.

use burn::prelude::*;
use burn::tensor::IndexingUpdateOp;
use burn::tensor::activation::log_softmax;

/// Projects the distribution of `r + discount · Z` onto the atoms of `Z`, which are spaced evenly from `v_min` to
/// `v_max` (Bellemare et al., 2017, equation 7). Returns beyond the atoms count as the nearest atom, and no
/// probability is lost.
///
/// # Shapes
/// `probabilities`: `[B, atoms]`, those of the returns that follow; `rewards`, `discounts`: `[B]`; result
/// `[B, atoms]`.
#[must_use]
pub fn categorical_projection(
    probabilities: Tensor<2>,
    rewards: Tensor<1>,
    discounts: Tensor<1>,
    [v_min, v_max]: [f64; 2],
) -> Tensor<2> {
    let ([_, count], device) = (probabilities.dims(), probabilities.device());
    let last = count as f64 - 1.0;
    let step = (v_max - v_min) / last.max(1.0);
    let atoms = (0..count).map(|atom| (v_min + step * atom as f64) as f32);
    let atoms = TensorData::new(atoms.collect::<Vec<_>>(), [1, count]);
    let atoms = Tensor::<2>::from_data(atoms, &device);
    let returns = rewards.unsqueeze_dim::<2>(1) + discounts.unsqueeze_dim::<2>(1) * atoms;
    // Clamped after the division, which may round beyond the last atom.
    let position = ((returns - v_min) / step).clamp(0.0, last);
    let lower = position.clone().floor();
    let to_upper = position - lower.clone();
    let upper = (lower.clone() + 1.0).clamp_max(last);
    let share_of_upper = probabilities.clone() * to_upper;
    let share_of_lower = probabilities.clone() - share_of_upper.clone();
    probabilities
        .zeros_like()
        .scatter(1, lower.int(), share_of_lower, IndexingUpdateOp::Add)
        .scatter(1, upper.int(), share_of_upper, IndexingUpdateOp::Add)
}

/// Computes the cross entropies `−Σ p·log softmax(logits)`.
///
/// # Shapes
/// `logits`, `probabilities`: `[B, atoms]`; result `[B]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, probabilities: Tensor<2>) -> Tensor<1> {
    (probabilities * log_softmax(logits, 1)).sum_dim(1).neg().squeeze_dim(1)
}

/// Computes the quantile Huber losses `ρ_τ(u) = |τ − 1(u < 0)|·L_κ(u)` of the errors `u` of all pairs of a target and
/// a quantile, for each of several estimates of one distribution (Dabney et al., 2018, equation 10): the sum over
/// quantiles of the mean over targets, as in the paper and in QR-DQN of sb3-contrib. TQC of sb3-contrib takes the mean
/// over both, and RLlib's TQC the sum over both.
///
/// `L_κ` is half the square up to `kappa`, and linear beyond. It is not divided by κ. With `kappa` 0, it is the
/// absolute error.
///
/// # Shapes
/// `quantiles`: `[B, estimates, N]`, at `τ_i = (2i + 1)/2N`; `targets`: `[B, M]`; result `[B, estimates]`.
#[must_use]
pub fn quantile_huber(quantiles: Tensor<3>, targets: Tensor<2>, kappa: f64) -> Tensor<2> {
    let ([rows, estimates, count], device) = (quantiles.dims(), quantiles.device());
    let middles = (0..count).map(|i| (i as f32 + 0.5) / count as f32);
    let tau = TensorData::new(middles.collect::<Vec<_>>(), [1, 1, count, 1]);
    let tau = Tensor::<4>::from_data(tau, &device);
    let [_, samples] = targets.dims();
    let error = targets.reshape([rows, 1, 1, samples]) - quantiles.unsqueeze_dim::<4>(3);
    let weight = (tau - error.clone().detach().lower_elem(0.0).float()).abs();
    let size = error.clone().abs();
    let huber = match kappa > 0.0 {
        true => {
            let linear = (size.clone() - kappa / 2.0) * kappa;
            (error.square() * 0.5).mask_where(size.greater_elem(kappa), linear)
        }
        false => size,
    };
    (weight * huber).mean_dim(3).sum_dim(2).reshape([rows, estimates])
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    const P: [f32; 5] = [0.1, 0.2, 0.4, 0.2, 0.1];
    const LOGITS: [f32; 5] = [0.0, 0.5, 1.0, -0.5, 0.2];

    fn projected(reward: f32, discount: f32) -> Vec<f32> {
        let device = Device::flex();
        let of = |value| Tensor::<1>::from_floats([value], &device);
        let p = Tensor::<2>::from_floats([P], &device);
        to_f32(categorical_projection(p, of(reward), of(discount), [-2.0, 2.0])).unwrap()
    }

    fn close(found: &[f32], expected: &[f32]) {
        let differ = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-5);
        assert!(found.len() == expected.len() && !differ, "{found:?} {expected:?}");
    }

    #[test]
    fn projections_are_those_of_the_reference_and_lose_no_probability() {
        close(&projected(0.3, 0.9), &[0.05, 0.17, 0.36, 0.28, 0.14]);
        // Three steps.
        close(&projected(1.5, 0.729), &[0.0, 0.0, 0.1416, 0.3584, 0.5]);
        close(&projected(0.0, 1.0), &P);
        // After the end of an episode: beyond the last atom, and between two.
        close(&projected(5.0, 0.0), &[0.0, 0.0, 0.0, 0.0, 1.0]);
        close(&projected(-0.25, 0.0), &[0.0, 0.25, 0.75, 0.0, 0.0]);
        for (reward, discount) in [(1e30, 0.99), (-7.7, 0.5), (0.333, 0.123)] {
            let total: f32 = projected(reward, discount).iter().sum();
            assert!((total - 1.0).abs() < 1e-6, "{reward} {discount}: {total}");
        }
    }

    /// RLlib's figures for three atoms in [−1, 1].
    #[test]
    fn three_atoms_are_projected_as_by_rllib() {
        let device = Device::flex();
        let of = |value| Tensor::<1>::from_floats([value; 2], &device);
        let p = Tensor::<2>::from_floats([[0.2, 0.3, 0.5]; 2], &device);
        let discounts = Tensor::<1>::from_floats([0.9, 0.0], &device);
        let found = to_f32(categorical_projection(p, of(0.5), discounts, [-1.0, 1.0])).unwrap();
        close(&found, &[0.08, 0.27, 0.65, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn random_projections_sum_to_1_keep_unclipped_means_and_follow_their_rows() {
        const ROWS: usize = 10_000;
        let device = Device::flex();
        let mut rng = Generator::from_seed(5);
        let mut row = || {
            let weights: Vec<f32> = (0..5).map(|_| rng.random() as f32 + 1e-3).collect();
            let total: f32 = weights.iter().sum();
            let p: Vec<f32> = weights.iter().map(|weight| weight / total).collect();
            (p, 8.0 * rng.random() as f32 - 4.0, rng.random() as f32)
        };
        let rows: Vec<_> = (0..ROWS).map(|_| row()).collect();
        let project = |rows: &[(Vec<f32>, f32, f32)]| {
            let p: Vec<f32> = rows.iter().flat_map(|(p, ..)| p.clone()).collect();
            let p = Tensor::from_data(TensorData::new(p, [rows.len(), 5]), &device);
            let column = |of: fn(&(Vec<f32>, f32, f32)) -> f32| {
                let values: Vec<f32> = rows.iter().map(of).collect();
                Tensor::<1>::from_floats(&values[..], &device)
            };
            let found = categorical_projection(p, column(|r| r.1), column(|r| r.2), [-2.0, 2.0]);
            to_f32(found).unwrap()
        };
        let mean = |p: &[f32]| p.iter().zip(-2..=2).map(|(p, z)| p * z as f32).sum::<f32>();
        let found = project(&rows);
        let mut unclipped = 0;
        for (found, (p, reward, discount)) in found.chunks(5).zip(&rows) {
            let total: f32 = found.iter().sum();
            assert!((total - 1.0).abs() < 1e-6, "{total}");
            if reward.abs() + 2.0 * discount <= 2.0 {
                unclipped += 1;
                let expected = reward + discount * mean(p);
                assert!((mean(found) - expected).abs() < 1e-5, "{} {expected}", mean(found));
            }
        }
        assert!(unclipped > 500, "{unclipped}");
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        let of_reversed = project(&reversed);
        assert!(of_reversed.chunks(5).rev().eq(found.chunks(5)), "rows are independent");
    }

    #[test]
    fn the_quantile_huber_loss_is_convex_in_each_quantile() {
        let device = Device::flex();
        let of = |quantile: f32| {
            let row = Tensor::from_floats([[[quantile, 0.4, 2.0]]], &device);
            let targets = Tensor::from_floats([[0.0, 1.0]], &device);
            to_f32(quantile_huber(row, targets, 1.0)).unwrap()[0]
        };
        // One quantile moves from −3 to 3, past the others, because quantiles may cross.
        let losses: Vec<f32> = (0..61).map(|i| of(i as f32 * 0.1 - 3.0)).collect();
        for three in losses.windows(3) {
            assert!(three[0] + three[2] - 2.0 * three[1] > -1e-5, "{three:?}");
        }
    }

    #[test]
    fn rllibs_reductions_of_quantile_losses_are_multiples_of_this_one() {
        let device = Device::flex();
        // RLlib sums over quantiles and targets, which is twice the mean over two targets.
        let current = Tensor::<3>::from_floats([[[0.0, 1.0]]], &device);
        let targets = Tensor::<2>::from_floats([[0.5, 2.0]], &device);
        close(&to_f32(quantile_huber(current, targets, 1.0) * 2.0).unwrap(), &[0.8125]);
        let current = Tensor::<3>::from_floats([[[-0.5, 0.4, 2.0]]], &device);
        let targets = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
        let loss = quantile_huber(current, targets, 1.0);
        close(&to_f32(loss.clone() * 2.0).unwrap(), &[0.650_833]);
        // sb3-contrib's TQC takes the mean over quantiles, too.
        close(&to_f32(loss / 3.0).unwrap(), &[0.108_472]);
    }

    #[test]
    fn clipping_moves_the_mean_as_in_the_reference() {
        let mean: f32 =
            projected(0.3, 0.9).iter().zip([-2.0, -1.0, 0.0, 1.0, 2.0]).map(|(p, z)| p * z).sum();
        assert!((mean - 0.29).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn a_return_between_two_of_51_atoms_is_shared_by_both() {
        let device = Device::flex();
        let mut p = [0.0f32; 51];
        p[25] = 1.0;
        let of = |value| Tensor::<1>::from_floats([value], &device);
        let p = Tensor::<2>::from_floats([p], &device);
        let found = categorical_projection(p, of(1.0), of(0.99), [-10.0, 10.0]);
        close(&to_f32(found).unwrap()[26..29], &[0.0, 0.5, 0.5]);
    }

    #[test]
    fn the_cross_entropy_and_its_gradient_are_those_of_the_reference() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([LOGITS], &device).require_grad();
        let target = Tensor::<2>::from_floats([[0.05, 0.17, 0.36, 0.28, 0.14]], &device);
        let loss = cross_entropy(logits.clone(), target.clone());
        close(&to_f32(loss.clone()).unwrap(), &[1.640_378]);
        // Minus the entropy of the target, it is the divergence.
        let entropy = cross_entropy(target.clone().log(), target.clone());
        close(&to_f32(loss.clone() - entropy).unwrap(), &[0.189_878]);
        let gradient = to_f32(logits.grad(&loss.backward()).unwrap()).unwrap();
        close(&gradient, &[0.088_987, 0.059_150, 0.017_805, -0.195_700, 0.029_759]);
        let expected = to_f32(softmax(logits, 1) - target).unwrap();
        close(&gradient, &expected);
    }

    #[test]
    fn the_quantile_huber_loss_and_its_gradient_are_those_of_the_reference() {
        let device = Device::flex().autodiff();
        let of = |kappa| {
            let current = Tensor::<3>::from_floats([[[-0.5, 0.4, 2.0]]], &device).require_grad();
            let targets = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
            let loss = quantile_huber(current.clone(), targets, kappa);
            let gradient = current.grad(&loss.clone().backward()).unwrap();
            (to_f32(loss).unwrap()[0], to_f32(gradient).unwrap())
        };
        close(&[of(1.0).0, of(0.5).0, of(0.0).0], &[0.325_417, 0.230_417, 0.666_667]);
        // Some libraries divide by the threshold.
        close(&[of(0.5).0 / 0.5], &[0.460_833]);
        close(&of(1.0).1, &[-0.125, -0.05, 0.166_667]);
    }

    #[test]
    fn each_pair_of_quantiles_has_the_reference_loss() {
        let device = Device::flex();
        // One current quantile and one target leave the middle τ only: scale by the weight of the pair.
        let pair = |tau: f32, current: f32, target: f32| {
            let below = target < current;
            let current = Tensor::from_floats([[[current]]], &device);
            let target = Tensor::from_floats([[target]], &device);
            let loss = to_f32(quantile_huber(current, target, 1.0)).unwrap()[0];
            let below = f32::from(below);
            loss / 0.5 * (tau - below).abs()
        };
        let tau = [1.0 / 6.0, 0.5, 5.0 / 6.0];
        let matrix = [[0.020_833, 0.166_667], [0.04, 0.09], [0.25, 0.083_333]];
        for (row, (tau, current)) in tau.into_iter().zip([-0.5, 0.4, 2.0]).enumerate() {
            let found = [pair(tau, current, 0.0), pair(tau, current, 1.0)];
            close(&found, &matrix[row]);
        }
    }

    #[test]
    fn true_quantiles_of_two_equal_samples_have_no_loss() {
        let device = Device::flex().autodiff();
        let row = Tensor::<3>::from_floats([[[2.0, 2.0]]], &device).require_grad();
        let loss = quantile_huber(row.clone(), Tensor::from_floats([[2.0, 2.0]], &device), 1.0);
        assert_eq!(to_f32(loss.clone()).unwrap(), [0.0]);
        assert_eq!(to_f32(row.grad(&loss.sum().backward()).unwrap()).unwrap(), [0.0, 0.0]);
    }
}
