//! A Gaussian squashed into the bounds of a `Box` space.

use burn::prelude::*;
use burn::tensor::activation::log_sigmoid;
use rekindle_core::{Column, Generator};
use rekindle_env::{Row, RowMut};

use super::normal;
use super::{
    Distribution, check_inputs, check_row, float_actions, no_closed_form, row_log_sigmoid,
};
use crate::{CatalogError, Result};

/// Bounds of the log standard deviations (RLlib's).
const LOG_STD: [f32; 2] = [-5.0, 2.0];

/// How close to ±1 an action counts, when it is given and not drawn (RLlib's).
const MARGIN: f32 = 1e-6;

/// Independent normal distributions squashed by `a = centre + half · tanh(u)` with
/// `centre = (low + high)/2` and `half = (high − low)/2` (Haarnoja et al., 2018, appendix C);
/// inputs are `[means, log_stds]`.
///
/// `log p(a) = log N(u) − log(1 − tanh² u) − log half`, summed over the dimensions: unlike RLlib's,
/// the density has the term of the affine map and integrates to 1 over any bounds. Two forms of it
/// stay finite where the tanh is saturated: drawn actions ([`Distribution::sample_and_logp`],
/// [`SquashedGaussian::rsample_and_logp`]) use the `u` they come from; of given actions the
/// squashed value is clamped 10⁻⁶ from ±1 first, so that both may differ close to the bounds.
///
/// Entropy and divergence have no closed form.
#[derive(Debug, Clone, PartialEq)]
pub struct SquashedGaussian {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl SquashedGaussian {
    /// The distribution over vectors between bounds, one pair an element.
    ///
    /// # Errors
    /// [`CatalogError::InvalidBounds`] unless all bounds are finite and `low < high`,
    /// [`CatalogError::ActionShape`] if there are not as many lower as upper bounds.
    pub fn new(low: impl Into<Vec<f32>>, high: impl Into<Vec<f32>>) -> Result<Self> {
        let squashed = Self { low: low.into(), high: high.into() };
        check_row(&squashed, squashed.low.len(), squashed.high.len())?;
        for (element, (&low, &high)) in squashed.low.iter().zip(&squashed.high).enumerate() {
            if !(low.is_finite() && high.is_finite() && low < high) {
                let distribution = squashed.name();
                return Err(CatalogError::InvalidBounds { distribution, element, low, high });
            }
        }
        Ok(squashed)
    }

    /// Draws differentiable actions: `u = mean + std · noise`, squashed (the reparameterisation
    /// trick); with their log-densities. The noise is standard normal and drawn by the caller,
    /// because all randomness lives on the host.
    ///
    /// # Shapes
    /// `inputs`: `[B, 2·dim]`; `noise`: `[B, dim]`; results `[B, dim]` and `[B]`.
    ///
    /// # Errors
    /// If the number of inputs or the shape of the noise does not fit.
    pub fn rsample_and_logp(
        &self,
        inputs: Tensor<2>,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<1>)> {
        let (loc, log_std) = self.split(inputs)?;
        let noise = float_actions(self, &noise.into(), loc.dims())?;
        let u = loc + log_std.clone().exp() * noise.clone();
        let [centre, half] = self.affine(&u.device());
        let actions = centre + half.clone() * u.clone().tanh();
        // 1 − tanh² u = 4·σ(2u)·σ(−2u), which does not cancel.
        let squash = log_sigmoid(u.clone() * 2.0) + log_sigmoid(u * -2.0) + 4f32.ln();
        let logp = normal::log_density(noise, log_std) - squash - half.log();
        Ok((actions, logp.sum_dim(1).squeeze_dim(1)))
    }

    /// Splits inputs into means and bounded log standard deviations, `[B, dim]` each.
    fn split(&self, inputs: Tensor<2>) -> Result<(Tensor<2>, Tensor<2>)> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        let dim = self.low.len();
        let loc = inputs.clone().slice([0..rows, 0..dim]);
        let log_std = inputs.slice([0..rows, dim..2 * dim]);
        Ok((loc, log_std.clamp(LOG_STD[0], LOG_STD[1])))
    }

    /// Centre and half width of the bounds, `[1, dim]` each.
    fn affine(&self, device: &Device) -> [Tensor<2>; 2] {
        let (centre, half): (Vec<f32>, Vec<f32>) =
            self.elements().map(|element| (element.centre(), element.half())).unzip();
        [centre, half].map(|data| {
            let shape = [1, data.len()];
            Tensor::from_data(TensorData::new(data, shape), device)
        })
    }

    fn elements(&self) -> impl Iterator<Item = Bounds> + '_ {
        self.low.iter().zip(&self.high).map(|(&low, &high)| Bounds { low, high })
    }

    /// Bounds, mean and bounded log standard deviation of each element of a row.
    fn split_row<'a>(
        &'a self,
        inputs: &'a [f32],
    ) -> Result<impl Iterator<Item = (Bounds, f32, f32)> + 'a> {
        check_inputs(self, inputs.len())?;
        let (loc, log_std) = inputs.split_at(self.low.len());
        let elements = self.elements().zip(loc).zip(log_std);
        Ok(elements
            .map(|((bounds, loc), log_std)| (bounds, *loc, log_std.clamp(LOG_STD[0], LOG_STD[1]))))
    }
}

/// The bounds of one element.
#[derive(Clone, Copy)]
struct Bounds {
    low: f32,
    high: f32,
}

impl Bounds {
    fn centre(self) -> f32 {
        0.5 * self.low + 0.5 * self.high
    }

    fn half(self) -> f32 {
        0.5 * self.high - 0.5 * self.low
    }

    /// Rounding must not lead out of the bounds.
    fn squash(self, u: f32) -> f32 {
        (self.centre() + self.half() * u.tanh()).clamp(self.low, self.high)
    }

    /// The inverse of [`Bounds::squash`], before the `atanh`.
    fn unscale(self, action: f32) -> f32 {
        ((action - self.centre()) / self.half()).clamp(MARGIN - 1.0, 1.0 - MARGIN)
    }
}

impl Distribution for SquashedGaussian {
    fn name(&self) -> &'static str {
        "SquashedGaussian"
    }

    fn required_input_dim(&self) -> usize {
        2 * self.low.len()
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()> {
        self.sample_and_logp(inputs, rng, action).map(|_| ())
    }

    fn sample_and_logp(
        &self,
        inputs: &[f32],
        rng: &mut Generator,
        action: RowMut<'_>,
    ) -> Result<f32> {
        let parameters = self.split_row(inputs)?;
        let action = action.f32s_mut()?;
        check_row(self, self.low.len(), action.len())?;
        let mut logp = 0.0;
        for (a, (bounds, loc, log_std)) in action.iter_mut().zip(parameters) {
            let noise = rng.standard_normal() as f32;
            let u = loc + log_std.exp() * noise;
            *a = bounds.squash(u);
            let squash = row_log_sigmoid(2.0 * u) + row_log_sigmoid(-2.0 * u) + 4f32.ln();
            logp += normal::row_log_density(noise, log_std) - squash - bounds.half().ln();
        }
        Ok(logp)
    }

    /// The squashed mean.
    fn deterministic(&self, inputs: &[f32], action: RowMut<'_>) -> Result<()> {
        let parameters = self.split_row(inputs)?;
        let action = action.f32s_mut()?;
        check_row(self, self.low.len(), action.len())?;
        for (a, (bounds, loc, _)) in action.iter_mut().zip(parameters) {
            *a = bounds.squash(loc);
        }
        Ok(())
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        let parameters = self.split_row(inputs)?;
        let action = action.f32s()?;
        check_row(self, self.low.len(), action.len())?;
        let logp = action.iter().zip(parameters).map(|(a, (bounds, loc, log_std))| {
            let y = bounds.unscale(*a);
            // log(1 − y²) and atanh y, from the same two logarithms.
            let (above, below) = (y.ln_1p(), (-y).ln_1p());
            let score = normal::row_score(0.5 * (above - below), loc, log_std);
            normal::row_log_density(score, log_std) - above - below - bounds.half().ln()
        });
        Ok(logp.sum())
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let (loc, log_std) = self.split(inputs)?;
        let actions = float_actions(self, actions, loc.dims())?;
        let [centre, half] = self.affine(&actions.device());
        let y = ((actions - centre) / half.clone()).clamp(MARGIN - 1.0, 1.0 - MARGIN);
        let (above, below) = (y.clone().log1p(), y.neg().log1p());
        let u = (above.clone() - below.clone()) * 0.5;
        let score = normal::score(u, loc, log_std.clone());
        let logp = normal::log_density(score, log_std) - above - below - half.log();
        Ok(logp.sum_dim(1).squeeze_dim(1))
    }

    fn entropy(&self, _: Tensor<2>) -> Result<Tensor<1>> {
        no_closed_form(self, "entropy")
    }

    fn kl(&self, _: Tensor<2>, _: Tensor<2>) -> Result<Tensor<1>> {
        no_closed_form(self, "divergence")
    }
}

#[cfg(test)]
mod tests;
