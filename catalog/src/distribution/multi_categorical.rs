//! The distribution over the actions of a `MultiDiscrete` space.

use std::ops::Range;

use burn::prelude::*;
use rekindle_core::{Column, Generator};
use rekindle_env::{EnvError, MultiDiscrete, Row, RowMut};
use rekindle_onnx::{Graph, Value, Values};

use super::{Distribution, check_actions, check_inputs, check_row, logits};
use crate::error::Result;

/// Independent categorical distributions, one per component. The inputs are the concatenated logits.
///
/// Log-probabilities, entropies and divergences are sums over the components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiCategorical {
    space: MultiDiscrete,
    /// Range of each component's logits in the inputs.
    inputs: Vec<Range<usize>>,
}

impl MultiCategorical {
    /// Creates the distribution over a `MultiDiscrete` space.
    #[must_use]
    pub fn new(space: &MultiDiscrete) -> Self {
        let mut start = 0;
        let inputs = space.nvec().iter().map(|n| {
            let range = start..start + n;
            start = range.end;
            range
        });
        Self { inputs: inputs.collect(), space: space.clone() }
    }

    /// Fills an action with the result of `choose` for the logits of each component.
    fn fill(
        &self,
        inputs: &[f32],
        action: RowMut<'_>,
        mut choose: impl FnMut(&[f32]) -> Result<usize>,
    ) -> Result<()> {
        check_inputs(self, inputs.len())?;
        let action = action.as_i64_mut()?;
        check_row(self, self.inputs.len(), action.len())?;
        for (a, range) in action.iter_mut().zip(&self.inputs) {
            *a = choose(&inputs[range.clone()])? as i64;
        }
        Ok(())
    }

    /// Sums `term` over the components. It takes the index and the logits of a component.
    fn sum(
        &self,
        inputs: &Tensor<2>,
        term: impl Fn(usize, Tensor<2>) -> Tensor<1>,
    ) -> Result<Tensor<1>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        let zero = Tensor::zeros([rows], &inputs.device());
        Ok(self.inputs.iter().enumerate().fold(zero, |sum, (i, range)| {
            sum + term(i, inputs.clone().slice([0..rows, range.clone()]))
        }))
    }
}

impl Distribution for MultiCategorical {
    fn name(&self) -> &'static str {
        "MultiCategorical"
    }

    fn required_input_dim(&self) -> usize {
        self.space.nvec().iter().sum()
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()> {
        self.fill(inputs, action, |logits| logits::draw(self.name(), logits, rng))
    }

    fn deterministic(&self, inputs: &[f32], action: RowMut<'_>) -> Result<()> {
        self.fill(inputs, action, |logits| logits::mode(self.name(), logits))
    }

    fn export_onnx(&self, graph: &mut Graph, inputs: &Value) -> Result<Values> {
        let choices = self.inputs.iter().map(|range| {
            let logits = graph.slice(inputs, range.clone());
            let best = graph.argmax(&logits);
            graph.rows(&best, 1)
        });
        let choices: Vec<_> = choices.collect();
        Ok(graph.concat(&choices).into())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_inputs(self, inputs.len())?;
        let action = action.as_i64()?;
        if !self.space.contains(action) {
            let (space, action) = (self.space.to_string(), format!("{action:?}"));
            return Err(EnvError::InvalidAction { space, action }.into());
        }
        let terms = action.iter().zip(&self.inputs);
        let terms = terms.map(|(&a, range)| {
            logits::row_log_prob(self.name(), &inputs[range.clone()], a as usize)
        });
        terms.sum()
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let rows = inputs.dims()[0];
        check_actions(self, actions, &[rows, self.inputs.len()])?;
        let actions = actions.tensor()?.int::<2>()?;
        self.sum(&inputs, |i, logits| {
            let chosen = actions.clone().slice([0..rows, i..i + 1]).squeeze_dim(1);
            logits::log_prob(logits, chosen)
        })
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        self.sum(&inputs, |_, logits| logits::entropy(logits))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        let [rows, found] = q.dims();
        check_inputs(self, found)?;
        self.sum(&p, |i, p| logits::kl(p, q.clone().slice([0..rows, self.inputs[i].clone()])))
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::host_batch::upload;
    use rekindle_env::{Buffer, Discrete, Space};

    use super::super::Categorical;
    use super::*;

    const ROW: [f32; 5] = [1.0, 2.0, 3.0, 0.5, -0.5];

    fn dist() -> MultiCategorical {
        MultiCategorical::new(&MultiDiscrete::new([3, 2]).unwrap())
    }

    fn tensor(row: &[f32]) -> Tensor<2> {
        Tensor::<1>::from_floats(row, &Device::flex()).unsqueeze()
    }

    fn one(tensor: Result<Tensor<1>>) -> f32 {
        to_f32(tensor.unwrap()).unwrap()[0]
    }

    #[test]
    fn log_probabilities_entropies_and_divergences_are_sums_over_the_components() {
        let parts = [3, 2].map(|n| Categorical::new(&Discrete::new(n).unwrap()));
        let other = [0.0, -1.0, 0.5, 2.0, 1.0];
        let entropy: f32 =
            one(parts[0].entropy(tensor(&ROW[..3]))) + one(parts[1].entropy(tensor(&ROW[3..])));
        assert!((one(dist().entropy(tensor(&ROW))) - entropy).abs() < 1e-6);
        let kl: f32 = one(parts[0].kl(tensor(&ROW[..3]), tensor(&other[..3])))
            + one(parts[1].kl(tensor(&ROW[3..]), tensor(&other[3..])));
        assert!((one(dist().kl(tensor(&ROW), tensor(&other))) - kl).abs() < 1e-6);

        let action = Buffer::from_i64(vec![2, 1], &[2]).unwrap();
        let expected = -0.407606 + (1.0 / (1.0 + 1f32.exp())).ln();
        let column = upload(&action, &Device::flex()).unwrap();
        assert!((one(dist().logp(tensor(&ROW), &column)) - expected).abs() < 1e-5);
        assert!((dist().row_logp(&ROW, action.row(0)).unwrap() - expected).abs() < 1e-5);
    }

    #[test]
    fn the_deterministic_twin_takes_the_largest_logit_of_each_component() {
        let mut action = Buffer::zeros(&Space::multi_discrete([3, 2]).unwrap(), 1);
        dist().deterministic(&ROW, action.row_mut(0)).unwrap();
        assert_eq!(action.as_i64().unwrap(), [2, 0]);
    }

    #[test]
    fn components_are_drawn_independently_and_masked_choices_never() {
        let mut action = Buffer::zeros(&Space::multi_discrete([3, 2]).unwrap(), 1);
        let row = [0.0, f32::MIN, 0.0, 3f32.ln(), 0.0];
        let mut rng = Generator::from_seed(4);
        let mut counts = [[0f64; 2]; 3];
        for _ in 0..40_000 {
            dist().sample(&row, &mut rng, action.row_mut(0)).unwrap();
            let [a, b] = action.as_i64().unwrap() else { panic!("two components") };
            counts[*a as usize][*b as usize] += 1.0 / 40_000.0;
        }
        let expected = [[0.375, 0.125], [0.0, 0.0], [0.375, 0.125]];
        let difference = |(a, b): (&f64, &f64)| (a - b).abs();
        let l1: f64 = counts.iter().flatten().zip(expected.iter().flatten()).map(difference).sum();
        assert!(l1 < 0.02 && counts[1] == [0.0, 0.0], "{counts:?}");
    }

    #[test]
    fn actions_outside_the_space_are_refused() {
        let action = Buffer::from_i64(vec![0, 2], &[2]).unwrap();
        let message = dist().row_logp(&ROW, action.row(0)).unwrap_err().to_string();
        assert!(message.contains("MultiDiscrete([3 2])"), "{message}");
    }
}
