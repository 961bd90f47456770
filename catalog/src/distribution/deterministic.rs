//! The distribution of a deterministic policy.

use burn::prelude::*;
use rekindle_core::{Column, Generator};
use rekindle_env::{Row, RowMut};
use rekindle_onnx::{Graph, Value, Values};

use super::{Distribution, check_action, check_input_row, check_inputs, float_actions, undefined};
use crate::error::Result;

/// A point mass, as in DDPG and TD3. The inputs are the action, one number per dimension.
///
/// Every action has log-probability 0, as in RLlib. There is no density, and neither entropy nor
/// divergence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deterministic {
    dim: usize,
}

impl Deterministic {
    /// Creates the distribution over vectors of `dim` numbers.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl Distribution for Deterministic {
    fn name(&self) -> &'static str {
        "Deterministic"
    }

    fn required_input_dim(&self) -> usize {
        self.dim
    }

    fn sample(&self, inputs: &[f32], _: &mut Generator, action: RowMut<'_>) -> Result<()> {
        self.deterministic(inputs, action)
    }

    fn deterministic(&self, inputs: &[f32], mut action: RowMut<'_>) -> Result<()> {
        check_input_row(self, inputs)?;
        Ok(action.write_f32(inputs)?)
    }

    fn has_density(&self) -> bool {
        false
    }

    fn export_onnx(&self, _graph: &mut Graph, inputs: &Value) -> Result<Values> {
        Ok(inputs.clone().into())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_input_row(self, inputs)?;
        check_action(self, self.dim, action.as_f32()?)?;
        Ok(0.0)
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        float_actions(self, actions, [rows, found])?;
        Ok(Tensor::zeros([rows], &inputs.device()))
    }

    fn entropy(&self, _: Tensor<2>) -> Result<Tensor<1>> {
        undefined(self, "entropy")
    }

    fn kl(&self, _: Tensor<2>, _: Tensor<2>) -> Result<Tensor<1>> {
        undefined(self, "divergence")
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::host_batch::upload;
    use rekindle_env::{Buffer, Space};

    use super::*;

    #[test]
    fn samples_are_the_inputs_with_log_probability_zero() {
        let dist = Deterministic::new(2);
        let mut action = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[2]).unwrap(), 1);
        let mut rng = Generator::from_seed(0);
        let logp = dist.sample_and_logp(&[0.5, -0.25], &mut rng, action.row_mut(0)).unwrap();
        assert_eq!((action.as_f32().unwrap(), logp), (&[0.5, -0.25][..], 0.0));
        let inputs = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
        let column = upload(&action, &Device::flex()).unwrap();
        assert_eq!(to_f32(dist.logp(inputs, &column).unwrap()).unwrap(), [0.0]);
    }

    #[test]
    fn there_is_no_entropy_and_no_divergence() {
        let dist = Deterministic::new(1);
        assert!(!dist.has_density());
        let inputs = || Tensor::<2>::zeros([1, 1], &Device::flex());
        let message = dist.entropy(inputs()).unwrap_err().to_string();
        assert!(message.contains("Deterministic has no entropy"), "{message}");
        assert!(dist.kl(inputs(), inputs()).unwrap_err().to_string().contains("divergence"));
    }
}
