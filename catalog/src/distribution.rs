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
use rekindle_onnx::{Graph, OnnxError, Value, Values};

use crate::error::{CatalogError, Result};

pub use action_mask::{export_mask_logits, mask_logits};
pub use bernoulli::Bernoulli;
pub use categorical::Categorical;
pub use deterministic::Deterministic;
pub use diag_gaussian::DiagGaussian;
pub use multi_categorical::MultiCategorical;
pub use multi_distribution::MultiDistribution;
pub use squashed_gaussian::SquashedGaussian;

/// A family of distributions over the actions of one space.
///
/// A module's outputs (`action_dist_inputs`, one row per observation) are the parameters of one
/// distribution each. Acting uses rows in host memory, because all randomness lives on the host.
/// Learning uses tensors and is differentiable. This is RLlib's distribution *class*, not its
/// instance.
///
/// The methods on rows reject inputs and actions that are not finite, except for the −∞ that masks
/// a choice. The methods on tensors do not look at the values, which may be on a device: there, NaN
/// in is NaN out.
pub trait Distribution: Debug + Send + Sync {
    /// Returns the name, for messages.
    fn name(&self) -> &'static str;

    /// Returns the number of inputs per row.
    fn required_input_dim(&self) -> usize;

    /// Draws one action.
    ///
    /// # Shapes
    /// `inputs`: `[inputs]`; `action`: one row of the action space.
    ///
    /// # Errors
    /// [`CatalogError::InputDim`] or [`CatalogError::ActionShape`] if inputs or action row have the
    /// wrong size; an error of the row if it is of another kind;
    /// [`CatalogError::InvalidInput`] or [`CatalogError::InvalidAction`] if an input or the drawn
    /// action is not finite; [`CatalogError::AllMasked`] if no choice is left.
    fn sample(&self, inputs: &[f32], rng: &mut Generator, action: RowMut<'_>) -> Result<()>;

    /// Draws one action and returns its log-probability (or log-density).
    ///
    /// Equals [`Distribution::sample`] followed by [`Distribution::row_logp`], unless the draw
    /// determines more than the action shows: squashing rounds different draws to one bound.
    ///
    /// # Errors
    /// The errors of [`Distribution::sample`].
    fn sample_and_logp(
        &self,
        inputs: &[f32],
        rng: &mut Generator,
        mut action: RowMut<'_>,
    ) -> Result<f32> {
        self.sample(inputs, rng, action.reborrow())?;
        self.row_logp(inputs, action.as_row())
    }

    /// Writes the action of the deterministic twin (RLlib's `to_deterministic().sample()`): the
    /// mode.
    ///
    /// # Errors
    /// The errors of [`Distribution::sample`].
    fn deterministic(&self, inputs: &[f32], action: RowMut<'_>) -> Result<()>;

    /// Returns the log-probability (or log-density) of one action.
    ///
    /// # Errors
    /// The errors of [`Distribution::sample`], and an error if a choice is outside its space.
    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32>;

    /// Computes the log-probabilities of a batch of actions.
    ///
    /// # Shapes
    /// `inputs`: `[B, inputs]`; `actions`: `[B]` or `[B, …]`, nested for a Dict or Tuple; result
    /// `[B]`.
    ///
    /// # Errors
    /// [`CatalogError::InputDim`] or [`CatalogError::ActionShape`] if a shape is wrong.
    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>>;

    /// Computes the entropies.
    ///
    /// # Shapes
    /// `[B, inputs]` to `[B]`.
    ///
    /// # Errors
    /// [`CatalogError::InputDim`]; [`CatalogError::Undefined`] if the distribution has no entropy.
    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>>;

    /// Computes the Kullback–Leibler divergences `KL(p ‖ q)`.
    ///
    /// # Shapes
    /// Both `[B, inputs]`; result `[B]`.
    ///
    /// # Errors
    /// [`CatalogError::InputDim`]; [`CatalogError::Undefined`] if the distribution has no
    /// divergence.
    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>>;

    /// Computes the terms of policy-gradient losses in one pass: the log-probabilities of `actions`,
    /// the entropies, and the divergences `KL(old ‖ new)` from the distributions of `old_inputs`,
    /// which get no gradient. `None` if the distribution has no such kernel for the device. The
    /// methods above then compute the same terms.
    ///
    /// # Shapes
    /// Both inputs `[B, inputs]`, actions as in [`Distribution::logp`]; result `[B, 3]`.
    ///
    /// # Errors
    /// The errors of [`Distribution::logp`].
    fn fused_logp_entropy_kl(
        &self,
        _inputs: &Tensor<2>,
        _actions: &Column,
        _old_inputs: &Tensor<2>,
    ) -> Result<Option<Tensor<2>>> {
        Ok(None)
    }

    /// Computes the terms of [`fused_logp_entropy_kl`](Self::fused_logp_entropy_kl) as a composition of operations, on
    /// any device. A distribution may compute what they have in common once.
    ///
    /// # Shapes
    /// Both inputs `[B, inputs]`, actions as in [`Distribution::logp`]; results `[B]`.
    ///
    /// # Errors
    /// Those of the methods of the terms.
    fn logp_entropy_kl(
        &self,
        inputs: Tensor<2>,
        actions: &Column,
        old_inputs: Tensor<2>,
    ) -> Result<[Tensor<1>; 3]> {
        separate_terms(self, inputs, actions, old_inputs)
    }

    /// Adds the actions of the deterministic twin to an ONNX graph.
    ///
    /// # Shapes
    /// `inputs`: `[B, inputs]`. Result: integers `[B]` for a Discrete space and `[B, n]` for a MultiDiscrete one,
    /// floats `[B, n]` for the bits of a MultiBinary one, and floats `[B, …]`, possibly flattened, for a Box.
    ///
    /// # Errors
    /// [`OnnxError::NotExportable`] unless the distribution implements it.
    fn export_onnx(&self, _graph: &mut Graph, _inputs: &Value) -> Result<Values> {
        let method = "Distribution::export_onnx";
        Err(OnnxError::not_implemented("distribution", self.name(), method).into())
    }

    /// Whether actions have probabilities or a density, which importance sampling compares. A point mass has none.
    fn has_density(&self) -> bool {
        true
    }

    /// Whether the inputs are means and log standard deviations, `[means, log_stds]`.
    ///
    /// The settings `log_std_clip_param` and `free_log_std` of a model apply to such distributions
    /// only. A Gaussian inside a [`MultiDistribution`] has its own bounds.
    fn is_gaussian(&self) -> bool {
        false
    }
}

/// Log-probabilities, entropies and KL divergences, each by its own method.
fn separate_terms<D: Distribution + ?Sized>(
    distribution: &D,
    inputs: Tensor<2>,
    actions: &Column,
    old_inputs: Tensor<2>,
) -> Result<[Tensor<1>; 3]> {
    Ok([
        distribution.logp(inputs.clone(), actions)?,
        distribution.entropy(inputs.clone())?,
        distribution.kl(old_inputs, inputs)?,
    ])
}

/// Checks the number of inputs.
fn check_inputs(distribution: &dyn Distribution, found: usize) -> Result<()> {
    let expected = distribution.required_input_dim();
    if found == expected {
        return Ok(());
    }
    Err(CatalogError::InputDim { distribution: distribution.name().into(), expected, found })
}

/// Checks that a row has the right number of inputs and that all are finite.
fn check_input_row(distribution: &dyn Distribution, inputs: &[f32]) -> Result<()> {
    check_inputs(distribution, inputs.len())?;
    find_input(distribution, inputs, |input| !input.is_finite())
}

/// Checks that a row has the right number of logits and that all are finite, or −∞ for a mask.
fn check_logit_row(distribution: &dyn Distribution, logits: &[f32]) -> Result<()> {
    check_inputs(distribution, logits.len())?;
    find_input(distribution, logits, |logit| logit.is_nan() || logit == f32::INFINITY)
}

fn find_input(
    distribution: &dyn Distribution,
    inputs: &[f32],
    is_invalid: impl Fn(f32) -> bool,
) -> Result<()> {
    match inputs.iter().position(|&input| is_invalid(input)) {
        Some(index) => {
            let (distribution, value) = (distribution.name(), inputs[index]);
            Err(CatalogError::InvalidInput { distribution, index, value })
        }
        None => Ok(()),
    }
}

/// Checks that an action has the right number of elements and that all are finite.
fn check_action(distribution: &dyn Distribution, expected: usize, action: &[f32]) -> Result<()> {
    check_row(distribution, expected, action.len())?;
    match action.iter().position(|element| !element.is_finite()) {
        Some(index) => {
            let (distribution, value) = (distribution.name(), action[index]);
            Err(CatalogError::InvalidAction { distribution, index, value })
        }
        None => Ok(()),
    }
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

/// Flattens float actions of any shape to one vector per row.
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

/// Computes `log σ(x)` without overflow.
fn row_log_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// Returns the error of a distribution that lacks a quantity.
fn undefined<T>(distribution: &dyn Distribution, quantity: &'static str) -> Result<T> {
    Err(CatalogError::Undefined { distribution: distribution.name(), quantity })
}
