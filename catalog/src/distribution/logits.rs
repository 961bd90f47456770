//! The softmax over logits, on rows and on tensors, for the distributions over finite choices.
//!
//! A choice is masked if its logit is −∞ or about float-min (see
//! [`mask_logits`](super::mask_logits)). It has probability 0, is never drawn and never the mode.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_core::Generator;

use crate::error::{CatalogError, Result};

/// Log-probability of an impossible choice.
///
/// It replaces −∞, whose products with probability 0 and whose gradients would be NaN. It leaves
/// room for sums and scaled gradients in single precision.
pub(super) const LOG_ZERO: f32 = -1e30;

/// Largest masked logit: half of float-min, because the mask is added to a logit.
const MASKED: f32 = f32::MIN / 2.0;

/// The largest logit, and the sum of the exponentials relative to it.
struct Softmax {
    max: f32,
    total: f32,
}

impl Softmax {
    fn of(distribution: &'static str, logits: &[f32]) -> Result<Self> {
        if let Some(index) = logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY) {
            let value = logits[index];
            return Err(CatalogError::InvalidInput { distribution, index, value });
        }
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if max <= MASKED {
            return Err(CatalogError::AllMasked { distribution, choices: logits.len() });
        }
        Ok(Self { max, total: logits.iter().map(|l| (l - max).exp()).sum() })
    }
}

/// Draws a choice by inverting the cumulative distribution at one uniform number.
///
/// # Errors
/// [`CatalogError::AllMasked`] or [`CatalogError::InvalidInput`].
pub(super) fn draw(
    distribution: &'static str,
    logits: &[f32],
    rng: &mut Generator,
) -> Result<usize> {
    let Softmax { max, total } = Softmax::of(distribution, logits)?;
    let mut left = rng.random() as f32 * total;
    // Rounding may leave a remainder after the last choice. Draw the last possible choice then.
    let mut drawn = 0;
    for (index, logit) in logits.iter().enumerate() {
        let weight = (logit - max).exp();
        if weight > 0.0 {
            drawn = index;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    Ok(drawn)
}

/// Returns the most probable choice, the first of equals as in NumPy and PyTorch.
///
/// # Errors
/// The errors of [`draw`].
pub(super) fn mode(distribution: &'static str, logits: &[f32]) -> Result<usize> {
    let max = Softmax::of(distribution, logits)?.max;
    Ok(logits.iter().position(|logit| *logit == max).unwrap_or(0))
}

/// Returns the log-probability of choice `index`.
///
/// # Errors
/// The errors of [`draw`].
pub(super) fn row_log_prob(
    distribution: &'static str,
    logits: &[f32],
    index: usize,
) -> Result<f32> {
    let Softmax { max, total } = Softmax::of(distribution, logits)?;
    Ok((logits[index] - max - total.ln()).max(LOG_ZERO))
}

/// Computes the log-probabilities of all choices, [`LOG_ZERO`] for impossible ones.
///
/// # Shapes
/// `[B, n]` to `[B, n]`.
fn log_probs(logits: Tensor<2>) -> Tensor<2> {
    log_softmax(logits, 1).clamp_min(LOG_ZERO)
}

/// Computes the log-probability of one choice per row.
///
/// # Shapes
/// `[B, n]` and `[B]` to `[B]`.
pub(super) fn log_prob(logits: Tensor<2>, choices: Tensor<1, Int>) -> Tensor<1> {
    log_probs(logits).gather(1, choices.unsqueeze_dim(1)).squeeze_dim(1)
}

/// Computes the entropies `−Σ p·log p`.
///
/// # Shapes
/// `[B, n]` to `[B]`.
pub(super) fn entropy(logits: Tensor<2>) -> Tensor<1> {
    let logp = log_probs(logits);
    (logp.clone().exp() * logp).sum_dim(1).neg().squeeze_dim(1)
}

/// Computes the divergences `Σ p·(log p − log q)`.
///
/// # Shapes
/// Both `[B, n]`; result `[B]`.
pub(super) fn kl(p: Tensor<2>, q: Tensor<2>) -> Tensor<1> {
    let (p, q) = (log_probs(p), log_probs(q));
    (p.clone().exp() * (p - q)).sum_dim(1).squeeze_dim(1)
}

/// Computes the log-probability of one choice per row, the entropies, and the divergences from old logits, from one
/// softmax of each.
///
/// A sum over the row instead of [`log_prob`]'s gather: the gradient of a gather would be scattered, which takes
/// kernels of its own.
///
/// # Shapes
/// Both logits `[B, n]`, choices `[B]`; results `[B]`.
pub(super) fn terms(logits: Tensor<2>, choices: Tensor<1, Int>, old: Tensor<2>) -> [Tensor<1>; 3] {
    let [_, n] = logits.dims();
    let (logp, old) = (log_probs(logits), log_probs(old));
    let all = Tensor::<1, Int>::arange(0..n as i64, &choices.device()).unsqueeze::<2>();
    let chosen = choices.unsqueeze_dim::<2>(1).equal(all).float();
    let sum = |terms: Tensor<2>| terms.sum_dim(1).squeeze_dim::<1>(1);
    [
        sum(logp.clone() * chosen),
        sum(logp.clone().exp() * logp.clone()).neg(),
        sum(old.clone().exp() * (old - logp)),
    ]
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn terms_of_one_softmax_are_those_of_separate_ones() {
        let device = Device::flex().autodiff();
        let rows = [[0.3, -1.0, 2.0, f32::MIN], [f32::MIN, 0.0, 0.5, -0.5]];
        let old = Tensor::<2>::from_floats([[0.1, 0.2, -0.3, f32::MIN], [0.0; 4]], &device);
        let choices = Tensor::<1, Int>::from_ints([2, 1], &device);
        let run = |together: bool| {
            let logits = Tensor::<2>::from_floats(rows, &device).require_grad();
            let [logp, entropy, kl] = match together {
                true => terms(logits.clone(), choices.clone(), old.clone()),
                false => [
                    log_prob(logits.clone(), choices.clone()),
                    super::entropy(logits.clone()),
                    super::kl(old.clone(), logits.clone()),
                ],
            };
            // The divergence of the second row is about 1e29.
            let kl = kl.narrow(0, 0, 1);
            let all = Tensor::cat(vec![logp, entropy * 0.3, kl * 0.2], 0);
            let gradients = all.clone().sum().backward();
            let gradient = to_f32(logits.grad(&gradients).unwrap()).unwrap();
            (to_f32(all.inner()).unwrap(), gradient)
        };
        let ((values, gradient), (expected, of_expected)) = (run(true), run(false));
        for (a, b) in values.iter().zip(&expected).chain(gradient.iter().zip(&of_expected)) {
            assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{a} and {b}");
        }
        assert!(gradient.iter().any(|x| *x != 0.0));
    }
}
