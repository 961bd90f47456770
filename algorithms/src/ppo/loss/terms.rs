//! The terms of PPO's loss, as a composition of tensor operations and, in host memory, in one pass.

use std::ops::Range;

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_kernels::host_op::{HostOp, Pass, apply};
use rekindle_learner::losses::{mean, ppo_surrogate, value_loss};
use rekindle_learner::{Losses, Result};

/// The names under which PPO reports the terms of its loss.
pub(super) mod keys {
    pub(in crate::ppo::loss) const POLICY_LOSS: &str = "policy_loss";
    pub(in crate::ppo::loss) const VF_LOSS: &str = "vf_loss";
    pub(in crate::ppo::loss) const VF_LOSS_UNCLIPPED: &str = "vf_loss_unclipped";
    pub(in crate::ppo::loss) const ENTROPY: &str = "entropy";
    pub(in crate::ppo::loss) const MEAN_KL_LOSS: &str = "mean_kl_loss";
}

/// Weights and bounds of the loss terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coefficients {
    pub(super) clip_param: f32,
    pub(super) vf_clip_param: f32,
    pub(super) vf_loss: f64,
    /// A value of 0 or less leaves the term out.
    pub(super) entropy: f64,
    /// A value of 0 leaves the term out.
    pub(super) kl: f64,
}

/// The columns of a minibatch that the loss reads, `[B]` each.
#[derive(Debug)]
pub(super) struct LossColumns {
    pub(super) old_logp: Tensor<1>,
    pub(super) advantages: Tensor<1>,
    /// Values and their targets; `None` without a critic.
    pub(super) critic: Option<[Tensor<1>; 2]>,
    /// 1 for rows that count and 0 for padding; `None` if all rows count.
    pub(super) mask: Option<Tensor<1>>,
}

/// The loss composed of its terms. `logp`, `entropy` and `kl`: `[B]`.
pub(super) fn composed(
    [logp, entropy, kl]: [Tensor<1>; 3],
    columns: LossColumns,
    coefficients: &Coefficients,
) -> Losses {
    let LossColumns { old_logp, advantages, critic, mask } = columns;
    let mean = |term: Tensor<1>| mean(term, mask.as_ref());
    let surrogate = ppo_surrogate(logp, old_logp, advantages, coefficients.clip_param);
    let policy_loss = mean(surrogate).neg();
    let (entropy, kl) = (mean(entropy), mean(kl));
    let mut total = policy_loss.clone();
    let mut metrics = vec![
        (keys::POLICY_LOSS, policy_loss),
        (keys::ENTROPY, entropy.clone()),
        (keys::MEAN_KL_LOSS, kl.clone()),
    ];
    if let Some([values, targets]) = critic {
        let (unclipped, clipped) = value_loss(values, targets, coefficients.vf_clip_param);
        let vf_loss = mean(clipped);
        let unclipped = match coefficients.vf_clip_param.is_finite() {
            true => mean(unclipped),
            false => vf_loss.clone(),
        };
        total = total + vf_loss.clone().mul_scalar(coefficients.vf_loss);
        metrics.push((keys::VF_LOSS, vf_loss));
        metrics.push((keys::VF_LOSS_UNCLIPPED, unclipped));
    }
    if coefficients.entropy > 0.0 {
        total = total - entropy.mul_scalar(coefficients.entropy);
    }
    if coefficients.kl > 0.0 {
        total = total + kl.mul_scalar(coefficients.kl);
    }
    let mut losses = Losses::new(total);
    losses.metrics = metrics;
    losses
}

/// Computes the loss in one pass. Returns `None` without a critic, or if the tensors are not in
/// host memory.
///
/// # Shapes
/// `terms`: `[B, 3]`, log-probabilities, entropies and divergences.
///
/// # Errors
/// If the device fails.
pub(super) fn fused(
    terms: &Tensor<2>,
    columns: &LossColumns,
    coefficients: &Coefficients,
) -> Result<Option<Losses>> {
    let LossColumns { old_logp, advantages, critic: Some([values, targets]), mask } = columns
    else {
        return Ok(None);
    };
    let rows = terms.dims()[0];
    if [old_logp, advantages, values, targets].into_iter().any(|column| column.dims() != [rows]) {
        return Ok(None);
    }
    let mask = mask.clone().map(rekindle_core::any_tensor::to_f32).transpose()?;
    let op = FusedLoss { coefficients: *coefficients, mask };
    let [old_logp, advantages, values, targets] =
        [old_logp, advantages, values, targets].map(|column| AnyTensor::from(column.clone()));
    let operands = [&terms.clone().into(), &old_logp, &advantages, &values, &targets];
    let device = terms.device().inner();
    Ok(apply(op, operands, [1]).map(|(total, means)| {
        let metric = |mean: f64| Tensor::from_floats([mean as f32], &device);
        let metrics = vec![
            (keys::POLICY_LOSS, metric(-means.surrogate)),
            (keys::ENTROPY, metric(means.entropy)),
            (keys::MEAN_KL_LOSS, metric(means.kl)),
            (keys::VF_LOSS, metric(means.clipped_error)),
            (keys::VF_LOSS_UNCLIPPED, metric(means.error)),
        ];
        let mut losses = Losses::new(total);
        losses.metrics = metrics;
        losses
    }))
}

/// Rows that one thread takes at once.
const BLOCK: usize = 1 << 11;

/// The operation over terms (`[B, 3]`), old log-probabilities, advantages, values and targets.
#[derive(Debug)]
struct FusedLoss {
    coefficients: Coefficients,
    mask: Option<Vec<f32>>,
}

/// Means over the rows that count.
#[derive(Debug, Default)]
struct Means {
    /// Number of rows that count.
    count: f64,
    surrogate: f64,
    entropy: f64,
    kl: f64,
    error: f64,
    clipped_error: f64,
}

/// Returns the surrogate of a row, and its derivative with respect to the log-probability.
fn surrogate(logp: f32, old_logp: f32, advantage: f32, clip_param: f32) -> [f32; 2] {
    let ratio = (logp - old_logp).exp();
    let free = ratio * advantage;
    let clipped = ratio.clamp(1.0 - clip_param, 1.0 + clip_param) * advantage;
    // At the bound and beyond, the clipped surrogate is constant.
    if free <= clipped { [free, free] } else { [clipped, 0.0 * clipped] }
}

impl HostOp<5> for FusedLoss {
    type Saved = Means;

    fn forward(&self, inputs: [&[f32]; 5], _tracked: bool) -> (Vec<f32>, Means) {
        let rows = inputs[3].len();
        // Sums of blocks of one length, so that the result does not depend on the threads.
        let mut sums = vec![[0.0; 6]; rows.div_ceil(BLOCK).max(1)];
        let tasks = sums.iter_mut().enumerate();
        rekindle_parallel::for_each(tasks, |(block, sums)| {
            *sums = self.sums(inputs, block * BLOCK..rows.min((block + 1) * BLOCK));
        });
        let total = |i: usize| sums.iter().map(|sums| sums[i]).sum::<f64>();
        let count = total(0);
        let mean = |i| total(i) / count;
        let means = Means {
            count,
            surrogate: mean(1),
            entropy: mean(2),
            kl: mean(3),
            error: mean(4),
            clipped_error: mean(5),
        };
        let mut total = self.coefficients.vf_loss * means.clipped_error - means.surrogate;
        if self.coefficients.entropy > 0.0 {
            total -= self.coefficients.entropy * means.entropy;
        }
        if self.coefficients.kl > 0.0 {
            total += self.coefficients.kl * means.kl;
        }
        (vec![total as f32], means)
    }

    fn backward(&self, pass: Pass<'_, Means, 5>) -> [Option<Vec<f32>>; 5] {
        let [terms, .., values, _] = pass.inputs;
        let share = f64::from(pass.gradient[0]) / pass.saved.count;
        let (mut of_terms, mut of_values) = (vec![0.0; terms.len()], vec![0.0; values.len()]);
        let tasks = of_terms.chunks_mut(3 * BLOCK).zip(of_values.chunks_mut(BLOCK)).enumerate();
        rekindle_parallel::for_each(tasks, |(block, (of_terms, of_values))| {
            let of_terms = of_terms.as_chunks_mut::<3>().0;
            let rows = (block * BLOCK..).zip(of_terms.iter_mut().zip(of_values));
            for (row, (of_terms, of_value)) in rows {
                (*of_terms, *of_value) = self.slopes(pass.inputs, row, share);
            }
        });
        let [terms, .., values, _] = pass.needs;
        [terms.then_some(of_terms), None, None, values.then_some(of_values), None]
    }
}

impl FusedLoss {
    fn weight(&self, row: usize) -> f64 {
        self.mask.as_ref().map_or(1.0, |mask| f64::from(mask[row]))
    }

    /// Weight, surrogate, entropy, divergence, error and clipped error, summed over some rows.
    fn sums(&self, inputs: [&[f32]; 5], rows: Range<usize>) -> [f64; 6] {
        let [terms, old_logp, advantages, values, targets] = inputs;
        let Coefficients { clip_param, vf_clip_param, .. } = self.coefficients;
        let mut sums = [0.0; 6];
        for row in rows {
            let weight = self.weight(row);
            if weight == 0.0 {
                // Padding, which need not be finite.
                continue;
            }
            let [logp, entropy, kl] = [0, 1, 2].map(|i| terms[3 * row + i]);
            let [surrogate, _] = surrogate(logp, old_logp[row], advantages[row], clip_param);
            let error = (values[row] - targets[row]).powi(2);
            // `min` would turn NaN into a number.
            let clipped = if error > vf_clip_param { vf_clip_param } else { error };
            sums[0] += weight;
            for (sum, term) in sums[1..].iter_mut().zip([surrogate, entropy, kl, error, clipped]) {
                *sum += weight * f64::from(term);
            }
        }
        sums
    }

    /// Returns the derivatives with respect to the terms and the value of a row.
    fn slopes(&self, inputs: [&[f32]; 5], row: usize, share: f64) -> ([f32; 3], f32) {
        let [terms, old_logp, advantages, values, targets] = inputs;
        let Coefficients { clip_param, vf_clip_param, vf_loss, entropy, kl } = self.coefficients;
        let weight = (share * self.weight(row)) as f32;
        if weight == 0.0 {
            return ([0.0; 3], 0.0);
        }
        let [_, slope] = surrogate(terms[3 * row], old_logp[row], advantages[row], clip_param);
        let (entropy, kl) = (entropy.max(0.0) as f32, kl.max(0.0) as f32);
        let of_terms = [-weight * slope, -weight * entropy, weight * kl];
        let difference = values[row] - targets[row];
        let inside = difference * difference <= vf_clip_param;
        let slope = if inside { 2.0 * difference } else { 0.0 * difference };
        (of_terms, weight * vf_loss as f32 * slope)
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    /// Terms, old log-probabilities, advantages, values, targets and mask of some rows.
    struct Rows {
        terms: Tensor<2>,
        columns: [Tensor<1>; 5],
    }

    impl Rows {
        fn random(rows: usize, device: &Device) -> Self {
            let mut rng = Generator::from_seed(0);
            let mut normal = |count: usize| {
                let values = (0..count).map(|_| rng.standard_normal() as f32).collect::<Vec<_>>();
                Tensor::<1>::from_data(TensorData::new(values, [count]), device)
            };
            let mask = normal(rows).greater_elem(0.0).float();
            let [old_logp, advantages, values, targets] = [(); 4].map(|()| normal(rows));
            Self {
                terms: (normal(3 * rows) * 0.5).reshape([rows, 3]),
                columns: [old_logp * 0.5, advantages, values, targets, mask],
            }
        }
    }

    /// Total, metrics and the gradients of terms and values, in one pass or composed.
    fn run(rows: &Rows, in_one_pass: bool, masked: bool, vf_clip_param: f32) -> Vec<f32> {
        let terms = rows.terms.clone().require_grad();
        let [old_logp, advantages, values, targets, mask] = rows.columns.clone();
        let values = values.require_grad();
        let columns = LossColumns {
            old_logp,
            advantages,
            critic: Some([values.clone(), targets]),
            mask: masked.then_some(mask),
        };
        let coefficients =
            Coefficients { clip_param: 0.2, vf_clip_param, vf_loss: 0.5, entropy: 0.01, kl: 0.2 };
        let loss = if in_one_pass {
            fused(&terms, &columns, &coefficients).unwrap().unwrap()
        } else {
            let column = |i| terms.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
            composed([column(0), column(1), column(2)], columns, &coefficients)
        };
        let gradients = loss.total.backward();
        let metrics = loss.metrics.into_iter().flat_map(|(_, m)| to_f32(m.inner()).unwrap());
        to_f32(loss.total.inner())
            .unwrap()
            .into_iter()
            .chain(metrics)
            .chain(to_f32(terms.grad(&gradients).unwrap()).unwrap())
            .chain(to_f32(values.grad(&gradients).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn one_pass_equals_the_composition() {
        let rows = Rows::random(97 + BLOCK, &Device::flex().autodiff());
        for (masked, vf_clip_param) in [(false, f32::INFINITY), (true, 0.5), (false, 1.0)] {
            let [fused, composed] =
                [true, false].map(|in_one_pass| run(&rows, in_one_pass, masked, vf_clip_param));
            assert_eq!(fused.len(), composed.len());
            for (index, (a, b)) in fused.iter().zip(&composed).enumerate() {
                assert!((a - b).abs() < 2e-6 * a.abs().max(1.0), "{index}: {a} and {b}");
            }
        }
    }

    #[test]
    fn padding_need_not_be_finite() {
        let device = Device::flex().autodiff();
        let column = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device);
        let loss = |padding: f32, in_one_pass: bool| {
            let terms = Tensor::<2>::from_floats([[0.1, 0.2, 0.3], [padding; 3]], &device);
            let terms = terms.require_grad();
            let columns = LossColumns {
                old_logp: column([0.2, padding]),
                advantages: column([1.5, padding]),
                critic: Some([column([0.5, padding]), column([1.0, padding])]),
                mask: Some(column([1.0, 0.0])),
            };
            let coefficients = Coefficients {
                clip_param: 0.2,
                vf_clip_param: 10.0,
                vf_loss: 0.5,
                entropy: 0.01,
                kl: 0.2,
            };
            if in_one_pass {
                let loss = fused(&terms, &columns, &coefficients).unwrap().unwrap();
                let gradients = loss.total.backward();
                let gradient = to_f32(terms.grad(&gradients).unwrap()).unwrap();
                assert!(gradient.iter().all(|x| x.is_finite()), "{gradient:?}");
                return to_f32(loss.total.inner()).unwrap();
            }
            let term = |i| terms.clone().slice([0..2, i..i + 1]).squeeze_dim::<1>(1);
            let loss = composed([term(0), term(1), term(2)], columns, &coefficients);
            to_f32(loss.total.inner()).unwrap()
        };
        for in_one_pass in [true, false] {
            let expected = loss(0.0, in_one_pass);
            assert!(expected[0].is_finite());
            for padding in [f32::NAN, f32::INFINITY] {
                assert_eq!(loss(padding, in_one_pass), expected, "{in_one_pass}");
            }
        }
    }

    #[test]
    fn a_ratio_or_an_advantage_that_is_nan_makes_the_surrogate_nan() {
        for [logp, advantage] in [[f32::NAN, 1.0], [0.0, f32::NAN]] {
            assert!(surrogate(logp, 0.0, advantage, 0.2).iter().all(|x| x.is_nan()));
        }
    }
}
