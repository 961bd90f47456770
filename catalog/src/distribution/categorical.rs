//! The distribution over the actions of a `Discrete` space.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_core::device::is_host;
use rekindle_core::{Column, Generator};
use rekindle_env::{Discrete, Row, RowMut};
use rekindle_onnx::{Graph, Value, Values};

use super::{Distribution, categorical_terms, check_actions, check_inputs, logits, separate_terms};
use crate::error::{CatalogError, Result};

/// A categorical distribution. The inputs are unnormalized log-probabilities (logits).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Categorical {
    n: usize,
    start: i64,
}

impl Categorical {
    /// Creates the distribution over a `Discrete` space.
    #[must_use]
    pub fn new(space: &Discrete) -> Self {
        Self { n: space.n(), start: space.start() }
    }

    /// Returns drawn actions as one-hot vectors with the gradient of the softmax: the
    /// straight-through estimator (Bengio, Léonard and Courville, 2013), RLlib's `rsample`.
    ///
    /// # Shapes
    /// `inputs`: `[B, n]`; `actions`: `[B]`; result `[B, n]`.
    ///
    /// # Errors
    /// [`CatalogError::InputDim`] or [`CatalogError::ActionShape`] if a shape is wrong.
    pub fn rsample(&self, inputs: Tensor<2>, actions: Tensor<1, Int>) -> Result<Tensor<2>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        check_actions(self, &actions.clone().into(), &[rows])?;
        let probs = softmax(inputs, 1);
        let one_hot = (actions - self.start).one_hot::<2>(self.n).float();
        Ok(one_hot + probs.clone() - probs.detach())
    }

    /// Returns the index of an action among the logits.
    fn index(&self, action: i64) -> Result<usize> {
        usize::try_from(action - self.start).ok().filter(|&i| i < self.n).ok_or_else(|| {
            CatalogError::Env(rekindle_env::EnvError::InvalidAction {
                space: format!("Discrete({}, start={})", self.n, self.start),
                action: action.to_string(),
            })
        })
    }
}

impl Distribution for Categorical {
    fn name(&self) -> &'static str {
        "Categorical"
    }

    fn required_input_dim(&self) -> usize {
        self.n
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        let drawn = logits::draw(self.name(), inputs, rng)?;
        Ok(action.write_discrete(self.start + drawn as i64)?)
    }

    fn deterministic(&self, inputs: &[f32], mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        let best = logits::mode(self.name(), inputs)?;
        Ok(action.write_discrete(self.start + best as i64)?)
    }

    fn export_onnx(&self, graph: &mut Graph, inputs: &Value) -> Result<Values> {
        let best = graph.argmax(inputs);
        let start = graph.ints(&[self.start], &[1]);
        Ok(graph.add(&best, &start).into())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_inputs(self, inputs.len())?;
        logits::row_log_prob(self.name(), inputs, self.index(action.as_discrete()?)?)
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        check_actions(self, actions, &[rows])?;
        Ok(logits::log_prob(inputs, actions.tensor()?.int::<1>()? - self.start))
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, inputs.dims()[1])?;
        Ok(logits::entropy(inputs))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, p.dims()[1])?;
        check_inputs(self, q.dims()[1])?;
        Ok(logits::kl(p, q))
    }

    fn fused_logp_entropy_kl(
        &self,
        inputs: &Tensor<2>,
        actions: &Column,
        old_inputs: &Tensor<2>,
    ) -> Result<Option<Tensor<2>>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        check_actions(self, actions, &[rows])?;
        if old_inputs.dims() != [rows, found] {
            return Ok(None);
        }
        let actions = actions.tensor()?.int::<1>()?;
        Ok(categorical_terms::fused(inputs, old_inputs, actions, self.start)?)
    }

    fn logp_entropy_kl(
        &self,
        inputs: Tensor<2>,
        actions: &Column,
        old_inputs: Tensor<2>,
    ) -> Result<[Tensor<1>; 3]> {
        // The terms of the CPU are those of its kernel, or of its separate operations.
        if is_host(&inputs.device()) || old_inputs.dims() != inputs.dims() {
            return separate_terms(self, inputs, actions, old_inputs);
        }
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        check_actions(self, actions, &[rows])?;
        let choices = actions.tensor()?.int::<1>()? - self.start;
        Ok(logits::terms(inputs, choices, old_inputs))
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
    fn categorical_logp_entropy_and_kl_equal_the_reference_figures() {
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
            counts[(action.row(0).as_discrete().unwrap() + 1) as usize] += 1.0;
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
            assert_eq!(action.row(0).as_discrete().unwrap(), 1);
        }
        assert_eq!(dist.row_logp(&[f32::MIN, 1e8, 0.0], action.row(0)).unwrap(), 0.0);
    }

    #[test]
    fn rsample_works_from_logits_and_carries_the_gradient_of_the_softmax() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 3.0]], &device).require_grad();
        let drawn = Tensor::<1, Int>::from_ints([0], &device);
        let sample = three().rsample(logits.clone(), drawn).unwrap();
        let found = to_f32(sample.clone()).unwrap();
        assert!(found.iter().zip([1.0, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        // d p₀ / d logits = p₀·(δ₀ − p).
        let loss = sample.slice([0..1, 0..1]).sum();
        let gradient = to_f32(logits.grad(&loss.backward()).unwrap()).unwrap();
        let p = [0.090031, 0.244728, 0.665241];
        let expected = [p[0] * (1.0 - p[0]), -p[0] * p[1], -p[0] * p[2]];
        for (found, expected) in gradient.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    /// Boltzmann exploration: action values over a temperature as logits.
    #[test]
    fn values_over_a_temperature_have_the_reference_probabilities() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 5.0, 2.0]; 3], &device) / 0.5;
        let actions = Column::from(Tensor::<1, Int>::from_ints([0, 1, 2], &device));
        let logp = three().logp(logits, &actions).unwrap();
        let found = to_f32(logp.exp()).unwrap();
        for (found, expected) in found.into_iter().zip([0.000_335, 0.997_194, 0.002_472]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_named() {
        let mut action = Buffer::zeros(&Space::discrete(3).unwrap(), 1);
        for bad in [f32::NAN, f32::INFINITY] {
            let error = three().deterministic(&[0.0, bad, 1.0], action.row_mut(0)).unwrap_err();
            assert!(error.to_string().contains("input 1"), "{error}");
        }
    }

    #[test]
    fn actions_of_another_number_of_rows_or_kind_are_refused() {
        let device = Device::flex();
        let inputs = Tensor::<2>::zeros([2, 3], &device);
        let rows: Column = Tensor::<1, Int>::zeros([3], &device).into();
        let message = three().logp(inputs.clone(), &rows).unwrap_err().to_string();
        assert!(message.contains("actions of shape [2]"), "{message}");
        assert!(three().logp(inputs, &Tensor::<1>::zeros([2], &device).into()).is_err());
    }

    #[test]
    fn the_deterministic_twin_takes_the_first_largest_logit() {
        let mut action = Buffer::zeros(&Space::discrete(3).unwrap(), 1);
        three().deterministic(&[0.0, 5.0, 5.0], action.row_mut(0)).unwrap();
        assert_eq!(action.row(0).as_discrete().unwrap(), 1);
        let error = three().deterministic(&[0.0], action.row_mut(0)).unwrap_err();
        assert_eq!(error.to_string(), "Categorical takes 3 inputs per row, got 1");
    }
}
