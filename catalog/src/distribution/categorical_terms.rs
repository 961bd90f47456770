//! The terms of losses of categorical distributions, in one pass over host memory.

use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::any_tensor::to_i64;
use rekindle_kernels::host_op::{HostOp, Pass, applies, apply};
use rekindle_kernels::{exp, ln};

use super::logits::LOG_ZERO;

/// Computes log-probabilities, entropies and divergences from `old`. `None` if the tensors are not
/// in host memory or an action is not one of the choices.
///
/// # Shapes
/// `logits`, `old`: `[B, n]`; `actions`: `[B]`, counted from `start`; result `[B, 3]`.
///
/// # Errors
/// If the device fails.
pub(super) fn fused(
    logits: &Tensor<2>,
    old: &Tensor<2>,
    actions: Tensor<1, Int>,
    start: i64,
) -> rekindle_core::Result<Option<Tensor<2>>> {
    let [rows, n] = logits.dims();
    let operands = [logits, old].map(|logits| AnyTensor::from(logits.clone()));
    let operands = operands.each_ref();
    if !applies(operands) {
        return Ok(None);
    }
    let choices = to_i64(actions)?.into_iter();
    let choices = choices.map(|action| usize::try_from(action - start).ok().filter(|&i| i < n));
    let Some(choices) = choices.collect() else { return Ok(None) };
    Ok(apply(Terms { n, choices }, operands, [rows, 3]).map(|(terms, _)| terms))
}

#[derive(Debug)]
struct Terms {
    n: usize,
    /// Index of the action of each row.
    choices: Vec<usize>,
}

/// Smallest number of rows per thread.
const GRAIN: usize = 1 << 11;

/// Log-probabilities of all choices and their exponentials, `[B, n]`.
#[derive(Debug)]
struct LogProbs {
    log: Vec<f32>,
    probs: Vec<f32>,
}

impl LogProbs {
    fn zeros(len: usize) -> Self {
        Self { log: vec![0.0; len], probs: vec![0.0; len] }
    }

    /// Splits into parts of `len` elements and copies the logits into them.
    fn parts_mut<'a>(
        &'a mut self,
        logits: &'a [f32],
        len: usize,
    ) -> impl Iterator<Item = [&'a mut [f32]; 2]> {
        self.log.copy_from_slice(logits);
        self.log.chunks_mut(len).zip(self.probs.chunks_mut(len)).map(|(log, probs)| [log, probs])
    }
}

/// Turns logits, row by row, into log-probabilities and probabilities.
fn normalize(log: &mut [f32], probs: &mut [f32], n: usize) {
    for row in log.chunks_exact_mut(n) {
        let mut max = f32::NEG_INFINITY;
        for &logit in row.iter() {
            max = if logit > max { logit } else { max };
        }
        for logit in row {
            *logit -= max;
        }
    }
    probs.copy_from_slice(log);
    exp(probs);
    let mut totals = vec![0.0; log.len() / n];
    for (total, row) in totals.iter_mut().zip(probs.chunks_exact_mut(n)) {
        for p in row.iter() {
            *total += p;
        }
        for p in row {
            *p /= *total;
        }
    }
    ln(&mut totals);
    for (log_total, row) in totals.iter().zip(log.chunks_exact_mut(n)) {
        for log in row {
            // `max` would turn NaN into a number.
            let value = *log - log_total;
            *log = if value < LOG_ZERO { LOG_ZERO } else { value };
        }
    }
}

impl HostOp<2> for Terms {
    /// The log-probabilities of the logits and of the old logits.
    type Saved = [LogProbs; 2];

    fn forward(&self, [logits, old]: [&[f32]; 2], _tracked: bool) -> (Vec<f32>, Self::Saved) {
        let n = self.n;
        let rows = rekindle_parallel::share(self.choices.len(), GRAIN);
        let mut terms = vec![0.0; 3 * self.choices.len()];
        let mut saved = [logits, old].map(|logits| LogProbs::zeros(logits.len()));
        let [of_new, of_old] = &mut saved;
        let parts = of_new.parts_mut(logits, rows * n).zip(of_old.parts_mut(old, rows * n));
        let tasks = terms.chunks_mut(3 * rows).zip(self.choices.chunks(rows)).zip(parts);
        rekindle_parallel::for_each(tasks, |((terms, choices), (mut new, mut old))| {
            for [log, probs] in [&mut new, &mut old] {
                normalize(log, probs, n);
            }
            terms_of(terms, choices, n, &new, &old);
        });
        (terms, saved)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, 2>) -> [Option<Vec<f32>>; 2] {
        let n = self.n;
        let [new, old] = pass.saved;
        let rows = rekindle_parallel::share(self.choices.len(), GRAIN);
        let mut gradients = vec![0.0; new.log.len()];
        let parts = gradients.chunks_mut(rows * n).zip(pass.gradient.chunks(3 * rows));
        let saved = new.log.chunks(rows * n).zip(new.probs.chunks(rows * n));
        let saved = saved.zip(old.probs.chunks(rows * n));
        let tasks = parts.zip(self.choices.chunks(rows)).zip(saved);
        rekindle_parallel::for_each(tasks, |(((gradients, above), choices), saved)| {
            let ((log, probs), old_probs) = saved;
            gradients_of(gradients, above, choices, n, [log, probs, old_probs]);
        });
        [Some(gradients), None]
    }
}

/// Computes log-probability of the choice, entropy, and divergence from `old` for each row.
fn terms_of(
    terms: &mut [f32],
    choices: &[usize],
    n: usize,
    [log, probs]: &[&mut [f32]; 2],
    [old_log, old_probs]: &[&mut [f32]; 2],
) {
    let rows = terms.as_chunks_mut::<3>().0.iter_mut().zip(choices);
    for (row, (terms, &choice)) in rows.enumerate() {
        let range = row * n..(row + 1) * n;
        let (log, probs) = (&log[range.clone()], &probs[range.clone()]);
        let (old_log, old_probs) = (&old_log[range.clone()], &old_probs[range]);
        let (mut entropy, mut kl) = (0.0, 0.0);
        for i in 0..n {
            entropy -= probs[i] * log[i];
            kl += old_probs[i] * (old_log[i] - log[i]);
        }
        *terms = [log[choice], entropy, kl];
    }
}

/// Computes the gradients of the logits.
///
/// With the gradients `a`, `h` and `k` of the three terms, `g = ∂L/∂log p` is
/// `a·[chosen] − h·p·(1 + log p) − k·p_old`, and `∂L/∂logit = g − p·Σg` through the softmax. A
/// log-probability at its bound has no gradient.
fn gradients_of(
    gradients: &mut [f32],
    above: &[f32],
    choices: &[usize],
    n: usize,
    [log, probs, old_probs]: [&[f32]; 3],
) {
    let rows = gradients.chunks_exact_mut(n).zip(above.as_chunks::<3>().0);
    for ((row, (gradients, [a, h, k])), &choice) in rows.enumerate().zip(choices) {
        let range = row * n..(row + 1) * n;
        let (log, probs) = (&log[range.clone()], &probs[range.clone()]);
        let old_probs = &old_probs[range];
        let mut sum = 0.0;
        for (i, gradient) in gradients.iter_mut().enumerate() {
            if log[i] == LOG_ZERO {
                continue;
            }
            *gradient = -h * probs[i] * (1.0 + log[i]) - k * old_probs[i];
            if i == choice {
                *gradient += a;
            }
            sum += *gradient;
        }
        for (gradient, p) in gradients.iter_mut().zip(probs) {
            *gradient -= p * sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution as Random;
    use proptest::prelude::*;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::Discrete;

    use super::super::{Categorical, Distribution};
    use super::*;

    /// Terms of the rows and the gradient of a weighted sum of them, fused and composed.
    fn both(logits: Vec<f32>, n: usize) -> [[Vec<f32>; 2]; 2] {
        let device = Device::flex().autodiff();
        let rows = logits.len() / n;
        let distribution = Categorical::new(&Discrete::with_start(n, 2).unwrap());
        let actions = (0..rows).map(|i| (i % n) as i64 + 2).collect::<Vec<_>>();
        let actions = Tensor::<1, Int>::from_data(TensorData::new(actions, [rows]), &device).into();
        let old = Tensor::random([rows, n], Random::Normal(0.0, 1.0), &device);
        let weights = Tensor::random([rows, 3], Random::Normal(0.0, 1.0), &device);
        [true, false].map(|fused| {
            let data = TensorData::new(logits.clone(), [rows, n]);
            let logits = Tensor::<2>::from_data(data, &device).require_grad();
            let terms = if fused {
                distribution.fused_logp_entropy_kl(&logits, &actions, &old).unwrap().unwrap()
            } else {
                let logp = distribution.logp(logits.clone(), &actions).unwrap();
                let entropy = distribution.entropy(logits.clone()).unwrap();
                let kl = distribution.kl(old.clone(), logits.clone()).unwrap();
                Tensor::stack(vec![logp, entropy, kl], 1)
            };
            let gradients = (terms.clone() * weights.clone()).sum().backward();
            [to_f32(terms).unwrap(), to_f32(logits.grad(&gradients).unwrap()).unwrap()]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn terms_and_gradients_equal_the_composition(
            n in 1usize..20, rows in 1usize..20, scale in 0.1f32..20.0,
        ) {
            let logits = (0..n * rows).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 * scale);
            let [fused, composed] = both(logits.collect(), n);
            for (a, b) in fused.iter().flatten().zip(composed.iter().flatten()) {
                prop_assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{a} and {b}");
            }
        }
    }

    #[test]
    fn rows_that_are_split_among_threads_equal_the_composition() {
        let logits = (0..2 * (3 * GRAIN + 5)).map(|i| ((i * 7919) % 1009) as f32 / 1009.0);
        let [fused, composed] = both(logits.collect(), 2);
        for (a, b) in fused.iter().flatten().zip(composed.iter().flatten()) {
            assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{a} and {b}");
        }
    }

    #[test]
    fn what_is_masked_is_impossible_in_both_and_has_no_gradient() {
        let logits = vec![1.0, f32::NEG_INFINITY, 0.5, 0.3, -1.0, f32::MIN];
        let [fused, composed] = both(logits, 3);
        // Rows 0 and 1 take the first and second choice; the old distribution allows all.
        assert!((fused[0][0] - composed[0][0]).abs() < 1e-6);
        assert!((fused[0][1] - composed[0][1]).abs() < 1e-6);
        assert_eq!((fused[1][1], fused[1][5]), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let [fused, _] = both(vec![f32::NAN, 1.0, 0.0, 1.0], 2);
        assert!(fused[0][..3].iter().all(|term| term.is_nan()), "{fused:?}");
        assert!(fused[0][3..].iter().all(|term| term.is_finite()), "{fused:?}");
    }
}
