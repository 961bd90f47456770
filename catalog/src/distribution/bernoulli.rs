//! The distribution over the actions of a `MultiBinary` space.

use burn::prelude::*;
use burn::tensor::activation::{self, sigmoid};
use rekindle_core::{Column, Generator};
use rekindle_env::{MultiBinary, Row, RowMut};
use rekindle_onnx::{ElementType, Graph, Value, Values};

use super::logits::LOG_ZERO;
use super::{
    Distribution, check_inputs, check_logit_row, check_row, float_actions, row_log_sigmoid,
};
use crate::error::Result;

/// Independent bits. The inputs are their logits, `ln(p/(1 − p))` for the probability `p` of a 1.
///
/// Log-probabilities, entropies and divergences are sums over the bits. They are computed from
/// `log σ(±logit)`, never from the logarithm of a rounded probability. A bit whose logit is −∞ is
/// masked: it is always 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bernoulli {
    n: usize,
}

impl Bernoulli {
    /// Creates the distribution over a `MultiBinary` space.
    #[must_use]
    pub fn new(space: &MultiBinary) -> Self {
        Self { n: space.n() }
    }

    /// Fills an action with the result of `choose` for each logit.
    fn fill(
        &self,
        inputs: &[f32],
        action: RowMut<'_>,
        mut choose: impl FnMut(f32) -> bool,
    ) -> Result<()> {
        check_logit_row(self, inputs)?;
        let action = action.as_u8_mut()?;
        check_row(self, self.n, action.len())?;
        action.iter_mut().zip(inputs).for_each(|(bit, logit)| *bit = choose(*logit).into());
        Ok(())
    }
}

/// Computes `log σ(x)`, the log-probability of a bit, [`LOG_ZERO`] for an impossible one.
fn log_sigmoid(logits: Tensor<2>) -> Tensor<2> {
    activation::log_sigmoid(logits).clamp_min(LOG_ZERO)
}

impl Distribution for Bernoulli {
    fn name(&self) -> &'static str {
        "Bernoulli"
    }

    fn required_input_dim(&self) -> usize {
        self.n
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()> {
        self.fill(inputs, action, |logit| rng.random() < 1.0 / (1.0 + (-f64::from(logit)).exp()))
    }

    /// A bit is 1 if that is more probable than 0.
    fn deterministic(&self, inputs: &[f32], action: RowMut<'_>) -> Result<()> {
        self.fill(inputs, action, |logit| logit > 0.0)
    }

    fn export_onnx(&self, graph: &mut Graph, inputs: &Value) -> Result<Values> {
        let zero = graph.scalar(0.0);
        let bits = graph.node("Greater", &[inputs, &zero], &[]);
        Ok(graph.cast(&bits, ElementType::Float32).into())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_logit_row(self, inputs)?;
        let bits = action.as_u8()?;
        check_row(self, self.n, bits.len())?;
        let signed = bits.iter().zip(inputs).map(|(bit, l)| if *bit == 0 { -l } else { *l });
        Ok(signed.map(|logit| row_log_sigmoid(logit).max(LOG_ZERO)).sum())
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        check_inputs(self, inputs.dims()[1])?;
        // Bits are floats on a device: 0 flips the sign of a logit, 1 keeps it.
        let signs = float_actions(self, actions, inputs.dims())? * 2.0 - 1.0;
        Ok(log_sigmoid(inputs * signs).sum_dim(1).squeeze_dim(1))
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, inputs.dims()[1])?;
        let term = |logits: Tensor<2>| sigmoid(logits.clone()) * log_sigmoid(logits);
        let sum = term(inputs.clone()) + term(inputs.neg());
        Ok(sum.sum_dim(1).neg().squeeze_dim(1))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        check_inputs(self, p.dims()[1])?;
        check_inputs(self, q.dims()[1])?;
        let term =
            |p: Tensor<2>, q: Tensor<2>| sigmoid(p.clone()) * (log_sigmoid(p) - log_sigmoid(q));
        let sum = term(p.clone(), q.clone()) + term(p.neg(), q.neg());
        Ok(sum.sum_dim(1).squeeze_dim(1))
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::host_batch::upload;
    use rekindle_env::{Buffer, Space};

    use super::*;

    fn dist(n: usize) -> Bernoulli {
        Bernoulli::new(&MultiBinary::new(n).unwrap())
    }

    fn tensor(row: &[f32]) -> Tensor<2> {
        Tensor::<1>::from_floats(row, &Device::flex()).unsqueeze()
    }

    fn one(tensor: Result<Tensor<1>>) -> f32 {
        to_f32(tensor.unwrap()).unwrap()[0]
    }

    #[test]
    fn figures_of_a_fair_and_a_nine_to_one_coin() {
        let (fair, loaded) = ([0.0], [9f32.ln()]);
        assert!((one(dist(1).entropy(tensor(&fair))) - LN_2).abs() < 1e-6);
        assert!((one(dist(1).entropy(tensor(&loaded))) - 0.325083).abs() < 1e-6);
        assert!((one(dist(1).kl(tensor(&fair), tensor(&loaded))) - 0.510826).abs() < 1e-6);
        let both = [0.0, 9f32.ln()];
        let action = Buffer::from_u8(vec![1, 0], &[2]).unwrap();
        let expected = 0.5f32.ln() + 0.1f32.ln();
        assert!((dist(2).row_logp(&both, action.row(0)).unwrap() - expected).abs() < 1e-6);
        let column = upload(&action, &Device::flex()).unwrap();
        assert!((one(dist(2).logp(tensor(&both), &column)) - expected).abs() < 1e-6);
    }

    #[test]
    fn log_probabilities_stay_exact_and_differentiable_where_probabilities_round_to_one() {
        let device = Device::flex().autodiff();
        let row = [30.0, -30.0, 1e34, 0.0];
        let inputs = Tensor::<2>::from_floats([row], &device).require_grad();
        let action = Buffer::from_u8(vec![0, 1, 1, 1], &[4]).unwrap();
        let column = upload(&action, &device).unwrap();
        let logp = dist(4).logp(inputs.clone(), &column).unwrap();
        assert!((to_f32(logp.clone()).unwrap()[0] + 60.0 + LN_2).abs() < 1e-5);
        assert!((dist(4).row_logp(&row, action.row(0)).unwrap() + 60.0 + LN_2).abs() < 1e-5);
        let gradient = to_f32(inputs.grad(&logp.sum().backward()).unwrap()).unwrap();
        for (found, expected) in gradient.iter().zip([-1.0, 1.0, 0.0, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn bits_are_drawn_with_their_probabilities_and_the_twin_takes_the_likelier() {
        let mut action = Buffer::zeros(&Space::multi_binary(3).unwrap(), 1);
        let row = [3f32.ln(), -1e34, -0.1];
        let (mut rng, mut ones) = (Generator::from_seed(2), [0f64; 3]);
        for _ in 0..20_000 {
            dist(3).sample(&row, &mut rng, action.row_mut(0)).unwrap();
            let bits = action.as_u8().unwrap();
            ones.iter_mut().zip(bits).for_each(|(sum, bit)| *sum += f64::from(*bit) / 20_000.0);
        }
        for (found, expected) in ones.iter().zip([0.75, 0.0, 0.475]) {
            assert!((found - expected).abs() < 0.01, "{ones:?}");
        }
        dist(3).deterministic(&row, action.row_mut(0)).unwrap();
        assert_eq!(action.as_u8().unwrap(), [1, 0, 0]);
    }
}
