//! The distribution over the actions of a `Discrete` space.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_core::{Column, Generator};
use rekindle_env::{Discrete, Row, RowMut};

use super::{Distribution, check_inputs};
use crate::{CatalogError, Result};

/// A categorical distribution given by unnormalised log-probabilities (logits).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categorical {
    n: usize,
    start: i64,
}

impl Categorical {
    /// The distribution over a `Discrete` space.
    pub fn new(space: &Discrete) -> Self {
        Self { n: space.n(), start: space.start() }
    }

    /// The index of an action among the logits.
    fn index(&self, action: i64) -> Result<usize> {
        usize::try_from(action - self.start).ok().filter(|&i| i < self.n).ok_or_else(|| {
            CatalogError::Env(rekindle_env::EnvError::InvalidAction {
                space: format!("Discrete({}, start={})", self.n, self.start),
                action: action.to_string(),
            })
        })
    }
}

/// `log Σ exp`, shifted by the largest logit so that nothing overflows.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    max + logits.iter().map(|l| (l - max).exp()).sum::<f32>().ln()
}

impl Distribution for Categorical {
    fn name(&self) -> &'static str {
        "Categorical"
    }

    fn required_input_dim(&self) -> usize {
        self.n
    }

    /// Inverts the cumulative distribution at one uniform number.
    fn sample(&self, inputs: &[f32], rng: &mut Generator, mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        let max = inputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = inputs.iter().map(|l| (l - max).exp()).sum();
        let mut left = rng.random() as f32 * total;
        // Rounding may leave a rest after the last action: the last possible one is drawn then.
        let mut drawn = 0;
        for (index, logit) in inputs.iter().enumerate() {
            let weight = (logit - max).exp();
            if weight > 0.0 {
                drawn = index;
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        Ok(action.set_discrete(self.start + drawn as i64)?)
    }

    fn deterministic(&self, inputs: &[f32], mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        // The first of equal maxima, as NumPy and PyTorch choose.
        let mut best = 0;
        for (index, logit) in inputs.iter().enumerate() {
            if *logit > inputs[best] {
                best = index;
            }
        }
        Ok(action.set_discrete(self.start + best as i64)?)
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_inputs(self, inputs.len())?;
        let index = self.index(action.discrete()?)?;
        Ok(inputs[index] - log_sum_exp(inputs))
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        check_inputs(self, inputs.dims()[1])?;
        let actions = actions.tensor()?.int::<1>()? - self.start;
        let logp = log_softmax(inputs, 1).gather(1, actions.unsqueeze_dim(1));
        Ok(logp.squeeze_dim(1))
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, inputs.dims()[1])?;
        let logp = log_softmax(inputs, 1);
        Ok((logp.clone().exp() * logp).sum_dim(1).neg().squeeze_dim(1))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, p.dims()[1])?;
        check_inputs(self, q.dims()[1])?;
        let (p, q) = (log_softmax(p, 1), log_softmax(q, 1));
        Ok((p.clone().exp() * (p - q)).sum_dim(1).squeeze_dim(1))
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::{Buffer, Space};

    use super::*;

    fn three() -> Categorical {
        Categorical { n: 3, start: 0 }
    }

    #[test]
    fn a22_categorical_logp_entropy_and_kl_equal_the_reference_figures() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 3.0]], &device).repeat_dim(0, 3);
        let actions: Column = Tensor::<1, Int>::from_ints([0, 1, 2], &device).into();
        let logp = to_f32(three().logp(logits.clone(), &actions).unwrap()).unwrap();
        for (found, expected) in logp.iter().zip([-2.407606, -1.407606, -0.407606]) {
            assert!((found - expected).abs() < 1e-6);
        }
        let entropy = to_f32(three().entropy(logits).unwrap()).unwrap();
        assert!((entropy[0] - 0.832396).abs() < 1e-6);

        let two = Categorical { n: 2, start: 0 };
        let log = |p: [f32; 2]| Tensor::<2>::from_floats([p.map(f32::ln)], &device);
        let kl = to_f32(two.kl(log([0.5, 0.5]), log([0.9, 0.1])).unwrap()).unwrap();
        assert!((kl[0] - 0.510826).abs() < 1e-6);
        let entropy = to_f32(two.entropy(log([0.5, 0.5])).unwrap()).unwrap();
        assert!((entropy[0] - std::f32::consts::LN_2).abs() < 1e-6);
    }

    #[test]
    fn samples_follow_the_softmax_and_the_start_of_the_space() {
        let space = Space::Discrete(Discrete::with_start(3, -1).unwrap());
        let dist = Categorical::new(space.as_discrete().unwrap());
        let mut action = Buffer::zeros(&space, 1);
        let mut rng = Generator::from_seed(3);
        let mut counts = [0f64; 3];
        let n = 100_000;
        for _ in 0..n {
            dist.sample(&[1.0, 2.0, 3.0], &mut rng, action.row_mut(0)).unwrap();
            counts[(action.row(0).discrete().unwrap() + 1) as usize] += 1.0;
        }
        let expected = [0.090030, 0.244728, 0.665241];
        let l1: f64 = counts.iter().zip(expected).map(|(c, e)| (c / n as f64 - e).abs()).sum();
        assert!(l1 < 0.01, "{counts:?}");
        let logp = dist.row_logp(&[1.0, 2.0, 3.0], action.row(0)).unwrap();
        assert!(logp < 0.0);
    }

    #[test]
    fn impossible_actions_are_never_drawn_and_extreme_logits_are_finite() {
        let space = Space::discrete(3).unwrap();
        let dist = Categorical::new(space.as_discrete().unwrap());
        let mut action = Buffer::zeros(&space, 1);
        let mut rng = Generator::from_seed(0);
        for _ in 0..2000 {
            dist.sample(&[f32::NEG_INFINITY, 1e8, f32::NEG_INFINITY], &mut rng, action.row_mut(0))
                .unwrap();
            assert_eq!(action.row(0).discrete().unwrap(), 1);
        }
        assert_eq!(dist.row_logp(&[f32::MIN, 1e8, 0.0], action.row(0)).unwrap(), 0.0);
    }

    #[test]
    fn the_deterministic_twin_takes_the_first_largest_logit() {
        let mut action = Buffer::zeros(&Space::discrete(3).unwrap(), 1);
        three().deterministic(&[0.0, 5.0, 5.0], action.row_mut(0)).unwrap();
        assert_eq!(action.row(0).discrete().unwrap(), 1);
        let error = three().deterministic(&[0.0], action.row_mut(0)).unwrap_err();
        assert_eq!(error.to_string(), "Categorical takes 3 inputs a row, got 1");
    }
}
