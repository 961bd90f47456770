//! Action distributions.

mod categorical;
mod diag_gaussian;

use std::fmt::Debug;

use burn::prelude::*;
use rekindle_core::{Column, Generator};
use rekindle_env::{Row, RowMut};

use crate::{CatalogError, Result};

pub use categorical::Categorical;
pub use diag_gaussian::DiagGaussian;

/// A family of distributions over the actions of one space.
///
/// A module's outputs (`action_dist_inputs`, `inputs` numbers a row) pick the member. Acting works
/// on host rows, because all randomness lives on the host; learning works on tensors and is
/// differentiable. This is RLlib's distribution *class*, not its instance.
pub trait Distribution: Debug + Send + Sync {
    /// The name, for messages.
    fn name(&self) -> &'static str;

    /// How many inputs a row has.
    fn required_input_dim(&self) -> usize;

    /// Draws one action.
    ///
    /// # Shapes
    /// `inputs`: `[inputs]`; `action`: one row of the action space.
    ///
    /// # Errors
    /// If the number of inputs or the kind of the action row does not fit.
    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()>;

    /// The action of the deterministic twin (RLlib's `to_deterministic().sample()`): the mode.
    ///
    /// # Errors
    /// As [`Distribution::sample`].
    fn deterministic(&self, inputs: &[f32], action: RowMut<'_>) -> Result<()>;

    /// The log-probability (or log-density) of one action.
    ///
    /// # Errors
    /// As [`Distribution::sample`].
    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32>;

    /// Log-probabilities of a batch of actions.
    ///
    /// # Shapes
    /// `inputs`: `[B, inputs]`; `actions`: `[B]` or `[B, …]`; result `[B]`.
    ///
    /// # Errors
    /// If the kind or rank of the actions does not fit.
    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>>;

    /// Entropies.
    ///
    /// # Shapes
    /// `[B, inputs]` to `[B]`.
    ///
    /// # Errors
    /// If the distribution has no entropy in closed form.
    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>>;

    /// Kullback–Leibler divergences `KL(p ‖ q)`.
    ///
    /// # Shapes
    /// Both `[B, inputs]`; result `[B]`.
    ///
    /// # Errors
    /// If the distribution has no divergence in closed form.
    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>>;

    /// Whether the inputs are means and log standard deviations, so that the policy head may clip
    /// or free the latter.
    fn is_gaussian(&self) -> bool {
        false
    }
}

/// Checks the number of inputs of a row.
fn check_inputs(distribution: &dyn Distribution, found: usize) -> Result<()> {
    let expected = distribution.required_input_dim();
    if found == expected {
        return Ok(());
    }
    Err(CatalogError::InputDim { distribution: distribution.name().into(), expected, found })
}
