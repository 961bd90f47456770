//! Action distributions.

mod action_mask;
mod bernoulli;
mod categorical;
mod categorical_terms;
mod deterministic;
mod diag_gaussian;
mod logits;
mod multi_categorical;
mod multi_distribution;
mod normal;
mod squashed_gaussian;

use std::fmt::Debug;

use burn::prelude::*;
use rekindle_core::{Column, CoreError, Generator};
use rekindle_env::{Row, RowMut};

use crate::{CatalogError, Result};

pub use action_mask::mask_logits;
pub use bernoulli::Bernoulli;
pub use categorical::Categorical;
pub use deterministic::Deterministic;
pub use diag_gaussian::DiagGaussian;
pub use multi_categorical::MultiCategorical;
pub use multi_distribution::MultiDistribution;
pub use squashed_gaussian::SquashedGaussian;

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

    /// Draws one action and returns its log-probability (or log-density).
    ///
    /// The same as [`Distribution::sample`] and then [`Distribution::row_logp`], unless the
    /// distribution knows more about an action it drew itself than the action shows: squashing
    /// rounds different draws to one bound.
    ///
    /// # Errors
    /// As [`Distribution::sample`].
    fn sample_and_logp(
        &self,
        inputs: &[f32],
        rng: &mut Generator,
        mut action: RowMut<'_>,
    ) -> Result<f32> {
        self.sample(inputs, rng, action.reborrow())?;
        self.row_logp(inputs, action.as_row())
    }

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
    /// `inputs`: `[B, inputs]`; `actions`: `[B]` or `[B, …]`, nested where the space is; result
    /// `[B]`.
    ///
    /// # Errors
    /// If the kind or shape of the actions does not fit.
    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>>;

    /// Entropies.
    ///
    /// # Shapes
    /// `[B, inputs]` to `[B]`.
    ///
    /// # Errors
    /// [`CatalogError::NoClosedForm`] if the distribution has no entropy in closed form.
    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>>;

    /// Kullback–Leibler divergences `KL(p ‖ q)`.
    ///
    /// # Shapes
    /// Both `[B, inputs]`; result `[B]`.
    ///
    /// # Errors
    /// [`CatalogError::NoClosedForm`] if the distribution has no divergence in closed form.
    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>>;

    /// What policy-gradient losses are made of in one pass: log-probabilities of `actions`,
    /// entropies, and divergences `KL(old ‖ new)` from the distributions of `old_inputs`, which get
    /// no gradient. `None` if the distribution has no such kernel for the device: the methods above
    /// say the same.
    ///
    /// # Shapes
    /// Both inputs `[B, inputs]`, actions as in [`Distribution::logp`]; result `[B, 3]`.
    ///
    /// # Errors
    /// As [`Distribution::logp`].
    fn fused_logp_entropy_kl(
        &self,
        _inputs: &Tensor<2>,
        _actions: &Column,
        _old_inputs: &Tensor<2>,
    ) -> Result<Option<Tensor<2>>> {
        Ok(None)
    }

    /// Whether the inputs are means and log standard deviations, `[means, log_stds]`, so that the
    /// policy head may clip or free the latter.
    ///
    /// `log_std_clip_param` and `free_log_std` of the model's settings apply to such distributions
    /// only: a Gaussian inside a [`MultiDistribution`] keeps to its own bounds.
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

/// Checks the number of elements of an action row.
fn check_row(distribution: &dyn Distribution, expected: usize, found: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let found = format!("a row of {found} elements");
    Err(CatalogError::ActionShape {
        distribution: distribution.name(),
        expected: vec![expected],
        found,
    })
}

/// Checks the shape of a column of actions, rows first.
fn check_actions(
    distribution: &dyn Distribution,
    actions: &Column,
    expected: &[usize],
) -> Result<()> {
    if matches!(actions, Column::Tensor(tensor) if tensor.shape() == expected) {
        return Ok(());
    }
    let (expected, found) = (expected.to_vec(), actions.describe());
    Err(CatalogError::ActionShape { distribution: distribution.name(), expected, found })
}

/// Float actions of any shape as one vector a row.
///
/// # Shapes
/// `[B, …]` to `[B, dim]`.
fn float_actions(
    distribution: &dyn Distribution,
    actions: &Column,
    [rows, dim]: [usize; 2],
) -> Result<Tensor<2>> {
    let mismatch = || CatalogError::ActionShape {
        distribution: distribution.name(),
        expected: vec![rows, dim],
        found: actions.describe(),
    };
    let Column::Tensor(tensor) = actions else { return Err(mismatch()) };
    let shape = tensor.shape();
    if shape.first() != Some(&rows) || shape.iter().product::<usize>() != rows * dim {
        return Err(mismatch());
    }
    match tensor.flatten() {
        Ok(flat) => Ok(flat.reshape([rows, dim])),
        Err(CoreError::TensorKind { .. }) => Err(mismatch()),
        Err(error) => Err(error.into()),
    }
}

/// `log σ(x)` without overflow.
fn row_log_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// The error of a distribution that lacks a formula.
fn no_closed_form<T>(distribution: &dyn Distribution, quantity: &'static str) -> Result<T> {
    Err(CatalogError::NoClosedForm { distribution: distribution.name(), quantity })
}
