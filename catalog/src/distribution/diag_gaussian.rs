//! The distribution over the actions of a continuous `Box` space.

use burn::prelude::*;
use rekindle_core::{Column, Generator};
use rekindle_env::{Row, RowMut};
use rekindle_onnx::{Graph, Value, Values};

use super::normal::{self, MAX_LOG_STD};
use super::{Distribution, check_action, check_input_row, check_inputs, check_row, float_actions};
use crate::error::Result;

/// Independent normal distributions, one per dimension. The inputs are `[means, log_stds]`.
///
/// Log-densities, entropies and divergences are sums over the dimensions. Samples are not bounded:
/// the runner's action connector scales or clips them. Log standard deviations are clamped to
/// [−40, 40], the limit of single precision. The policy head usually bounds them more tightly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagGaussian {
    dim: usize,
}

impl DiagGaussian {
    /// Creates the distribution over vectors of `dim` numbers.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }

    /// Splits inputs into means and log standard deviations, `[B, dim]` each.
    fn split(&self, inputs: Tensor<2>) -> Result<(Tensor<2>, Tensor<2>)> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        let loc = inputs.clone().slice([0..rows, 0..self.dim]);
        let log_std = inputs.slice([0..rows, self.dim..2 * self.dim]);
        Ok((loc, log_std.clamp(-MAX_LOG_STD, MAX_LOG_STD)))
    }

    /// Returns mean and bounded log standard deviation of each dimension of a row.
    fn split_row<'a>(&self, inputs: &'a [f32]) -> Result<impl Iterator<Item = (f32, f32)> + 'a> {
        check_input_row(self, inputs)?;
        let (loc, log_std) = inputs.split_at(self.dim);
        let log_std = log_std.iter().map(|log_std| log_std.clamp(-MAX_LOG_STD, MAX_LOG_STD));
        Ok(loc.iter().copied().zip(log_std))
    }
}

impl Distribution for DiagGaussian {
    fn name(&self) -> &'static str {
        "DiagGaussian"
    }

    fn required_input_dim(&self) -> usize {
        2 * self.dim
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()> {
        let parameters = self.split_row(inputs)?;
        let action = action.as_f32_mut()?;
        check_row(self, self.dim, action.len())?;
        for (a, (loc, log_std)) in action.iter_mut().zip(parameters) {
            *a = loc + log_std.exp() * rng.standard_normal() as f32;
        }
        check_action(self, self.dim, action)
    }

    fn deterministic(&self, inputs: &[f32], mut action: RowMut<'_>) -> Result<()> {
        check_input_row(self, inputs)?;
        Ok(action.write_f32(&inputs[..self.dim])?)
    }

    fn export_onnx(&self, graph: &mut Graph, inputs: &Value) -> Result<Values> {
        Ok(graph.slice(inputs, 0..self.dim).into())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        let parameters = self.split_row(inputs)?;
        let action = action.as_f32()?;
        check_action(self, self.dim, action)?;
        let logp = action.iter().zip(parameters).map(|(a, (loc, log_std))| {
            normal::row_log_density(normal::row_score(*a, loc, log_std), log_std)
        });
        Ok(logp.sum())
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let (loc, log_std) = self.split(inputs)?;
        let actions = float_actions(self, actions, loc.dims())?;
        let score = normal::score(actions, loc, log_std.clone());
        Ok(normal::log_density(score, log_std).sum_dim(1).squeeze_dim(1))
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        let (_, log_std) = self.split(inputs)?;
        Ok(normal::entropy(log_std).sum_dim(1).squeeze_dim(1))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        Ok(normal::kl(self.split(p)?, self.split(q)?).sum_dim(1).squeeze_dim(1))
    }

    fn is_gaussian(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;

    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::{Buffer, Space};

    use super::*;

    fn inputs(rows: &[[f32; 4]]) -> Tensor<2> {
        let data: Vec<f32> = rows.iter().flatten().copied().collect();
        Tensor::from_data(TensorData::new(data, [rows.len(), 4]), &Device::flex())
    }

    fn one(tensor: Result<Tensor<1>>) -> f32 {
        to_f32(tensor.unwrap()).unwrap()[0]
    }

    #[test]
    fn diag_gaussian_entropy_and_kl_equal_the_reference_figures() {
        let dist = DiagGaussian::new(2);
        let standard = inputs(&[[0.0, 0.0, 0.0, 0.0]]);
        let wide = inputs(&[[1.0, 1.0, 2f32.ln(), 2f32.ln()]]);
        assert!((one(dist.entropy(standard.clone())) - 2.0 * 1.418939).abs() < 1e-5);
        assert!((one(dist.kl(standard, wide)) - 0.886294).abs() < 1e-5);
        let single = DiagGaussian::new(1);
        let p = Tensor::<2>::from_floats([[0.0, 0.0]], &Device::flex());
        let q = Tensor::<2>::from_floats([[1.0, std::f32::consts::LN_2]], &Device::flex());
        assert!((one(single.entropy(p.clone())) - 1.418939).abs() < 1e-6);
        assert!((one(single.kl(p, q)) - 0.443147).abs() < 1e-6);
    }

    #[test]
    fn the_row_and_the_tensor_log_density_agree() {
        let dist = DiagGaussian::new(2);
        let row = [0.3, -1.0, -0.5, 0.2];
        let mut action = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[2]).unwrap(), 1);
        dist.sample(&row, &mut Generator::from_seed(5), action.row_mut(0)).unwrap();
        let column = rekindle_core::host_batch::upload(&action, &Device::flex()).unwrap();
        let tensor = one(dist.logp(inputs(&[row]), &column));
        let host = dist.row_logp(&row, action.row(0)).unwrap();
        assert!((tensor - host).abs() < 1e-5, "{tensor} {host}");
        // The density integrates to its definition at the mean.
        dist.deterministic(&row, action.row_mut(0)).unwrap();
        let at_mean = dist.row_logp(&row, action.row(0)).unwrap();
        assert!((at_mean - (0.5 - 0.2 - (2.0 * PI).ln())).abs() < 1e-5);
    }

    #[test]
    fn samples_have_the_mean_and_the_standard_deviation() {
        let dist = DiagGaussian::new(1);
        let mut action = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[1]).unwrap(), 1);
        let mut rng = Generator::from_seed(9);
        let (mut sum, mut squares, n) = (0f64, 0f64, 50_000);
        for _ in 0..n {
            dist.sample(&[2.0, 0.5f32.ln()], &mut rng, action.row_mut(0)).unwrap();
            let a = f64::from(action.row(0).as_f32().unwrap()[0]);
            sum += a;
            squares += a * a;
        }
        let mean = sum / f64::from(n);
        let std = (squares / f64::from(n) - mean * mean).sqrt();
        assert!((mean - 2.0).abs() < 0.01 && (std - 0.5).abs() < 0.01, "{mean} {std}");
    }
}
