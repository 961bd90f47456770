//! The loss of a module: what an algorithm decides inside a learner.

mod context;
mod vtrace;

use std::fmt::Debug;

use burn::prelude::Tensor;
use rekindle_checkpoint::State;
use rekindle_rl_module::Role;

use crate::error::{LearnerError, Result};
use crate::global_norm::GlobalNorm;
use crate::gradients::Gradients;
use crate::optimizer_group::OptimizerGroup;
use crate::replay::TransitionSpec;
use crate::train_data::TrainData;

pub use context::{AfterMinibatch, AfterUpdate, LossContext, PrepareContext};

/// One pass over a minibatch: a loss whose gradients reach only the parameters of some optimizers.
///
/// A loss with several phases, such as that of an actor-critic with its own optimizers, computes each in
/// order, on the same minibatch, with the parameters that the phases before it have changed. All other
/// parameters are constants for a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phase {
    /// The name, for metrics: `total_loss` belongs to a loss with one phase, and `<name>_loss` to each of
    /// several.
    pub name: String,
    /// The names of the optimizers that the phase steps.
    pub optimizers: Vec<String>,
}

impl Phase {
    /// Creates a phase that steps some optimizers.
    #[must_use]
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        optimizers: impl IntoIterator<Item = S>,
    ) -> Self {
        Self { name: name.into(), optimizers: optimizers.into_iter().map(Into::into).collect() }
    }
}

/// The value of a loss on a minibatch, with numbers to report.
#[derive(Debug)]
#[non_exhaustive]
pub struct Losses {
    /// The loss that gradients are taken of, `[1]`.
    pub total: Tensor<1>,
    /// Terms to report by name, `[1]` each.
    pub metrics: Vec<(&'static str, Tensor<1>)>,
    /// Values by name with one entry per row of the minibatch, such as TD errors, that the execution plan
    /// receives.
    pub row_values: Vec<(&'static str, Tensor<1>)>,
}

impl Losses {
    /// Creates a loss that reports only its total.
    #[must_use]
    pub fn new(total: Tensor<1>) -> Self {
        Self { total, metrics: Vec::new(), row_values: Vec::new() }
    }

    /// Checks that the loss is one number and depends on something that gradients reach, that each metric is
    /// one number, and that row values are one for each of the `rows` of the minibatch.
    pub(crate) fn check(&self, id: &str, loss: &str, rows: usize) -> Result<()> {
        let shape = self.total.dims();
        let metric = self.metrics.iter().find(|(_, value)| value.dims() != [1]);
        let of_rows = self.row_values.iter().find(|(_, values)| values.dims() != [rows]);
        let reason = if shape != [1] {
            format!("has shape {shape:?}, and a loss is one number: reduce it with `mean` or `sum`")
        } else if !self.total.is_tracked() {
            NO_GRADIENT.into()
        } else if let Some((name, value)) = metric {
            let shape = value.dims();
            format!(
                "reports `{name}` with shape {shape:?}, and a metric is one number: reduce it with `mean` or `sum`, or return it with `row_values`"
            )
        } else if let Some((name, values)) = of_rows {
            let [found] = values.dims();
            format!(
                "returns {found} row values `{name}` for a minibatch of {rows} rows: return one for each row, padding included"
            )
        } else {
            return Ok(());
        };
        Err(LearnerError::InvalidLoss { id: id.into(), loss: loss.into(), reason })
    }

    /// Adds a term to report, `[1]`.
    #[must_use]
    pub fn metric(mut self, name: &'static str, value: Tensor<1>) -> Self {
        self.metrics.push((name, value));
        self
    }

    /// Adds values that the execution plan receives, one per row of the minibatch.
    #[must_use]
    pub fn row_values(mut self, name: &'static str, values: Tensor<1>) -> Self {
        self.row_values.push((name, values));
        self
    }
}

/// The reason for refusing a loss without gradients.
pub(crate) const NO_GRADIENT: &str = "does not depend on the parameters of the module: compute it from the outputs of the training pass (`cx.logp()`, `cx.values()`, `cx.outputs()`), without `detach`";

impl From<Tensor<1>> for Losses {
    fn from(total: Tensor<1>) -> Self {
        Self::new(total)
    }
}

/// The decisions of an algorithm for one module: the methods of RLlib's `Learner` that are meant to be
/// overridden. A learner creates one instance for each of its modules.
///
/// | here | RLlib |
/// |---|---|
/// | [`prepare`](Self::prepare) | the learner connector pipeline |
/// | [`compute`](Self::compute) | `compute_loss_for_module` |
/// | [`optimizers`](Self::optimizers) | `configure_optimizers_for_module` |
/// | [`postprocess_gradients`](Self::postprocess_gradients) | `postprocess_gradients_for_module` |
/// | [`before_update`](Self::before_update), [`after_update`](Self::after_update) | `before_gradient_based_update`, `after_gradient_based_update` |
///
/// To change one decision of a loss, wrap it and pass the other calls on.
pub trait Loss: Debug + Send {
    /// Returns the name, for messages and checkpoints.
    fn name(&self) -> &str;

    /// Returns the roles that the module must have to learn. They are checked when the learner is built
    /// and when a module is added, and not for modules with a loss of their own.
    fn required_roles(&self) -> Vec<Role> {
        Vec::new()
    }

    /// Returns the columns of the module's outputs that the loss reads from experience. Experience without
    /// them is left out if it is that of a module that was replaced since.
    fn required_columns(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks whether the module can learn, beyond its roles: at the same times as those.
    ///
    /// # Errors
    /// If it cannot, for example because its action distribution lacks a formula.
    fn check_module(&self, _cx: &PrepareContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Returns the optimizers: the parameters that each steps, its rule, learning rate and clipping.
    /// Defaults to one of all parameters.
    ///
    /// Modules that share parameters must agree on the optimizers of these.
    fn optimizers(&self) -> Vec<OptimizerGroup> {
        vec![OptimizerGroup::default()]
    }

    /// Returns the phases. Defaults to one that steps all optimizers.
    fn phases(&self) -> Vec<Phase> {
        let names = self.optimizers().into_iter().map(|optimizer| optimizer.name);
        vec![Phase::new("total", names)]
    }

    /// Returns the transitions that the loss learns from, for execution plans that replay experience; `None`, the
    /// default, for a loss that learns from experience as it was sampled.
    fn transitions(&self) -> Option<TransitionSpec> {
        None
    }

    /// Called before experience is prepared for an update, also for a loss whose module has no rows in it.
    /// Under [`gradients_apart`](Self::gradients_apart), it is called on the copy that prepares the
    /// experience.
    fn before_update(&mut self, _env_steps: u64) {}

    /// Whether copies of this loss may prepare experience and compute gradients, while this one takes the
    /// steps and is called after updates, as in A3C. Copies receive the [state](Self::get_state) of this one
    /// before each batch. What their `prepare` and `compute` keep is lost.
    ///
    /// Defaults to `true`. Return `false` if the loss keeps something in `prepare` or `compute` on which
    /// later losses depend. Plans whose runners compute gradients then refuse the loss at build.
    fn gradients_apart(&self) -> bool {
        true
    }

    /// Whether the loss of a minibatch is a mean or sum over its rows or sequences, so that several learners can share
    /// the minibatch. Means and sums are taken by [`LossContext::mean`] and [`LossContext::sum`], or by
    /// [`losses::mean`](crate::losses::mean); what depends on a mean inside of the loss, on
    /// [`LossContext::mean_over_learners`].
    ///
    /// Defaults to `true`. Return `false` if rows depend on one another in other ways, as with the statistics of batch
    /// normalization. Several learners then refuse the loss at build.
    fn rows_are_independent(&self) -> bool {
        true
    }

    /// Whether [`prepare`](Self::prepare) reads the steps of other agents ([`PrepareContext::experience`]).
    /// Defaults to `false`.
    fn reads_other_agents(&self) -> bool {
        false
    }

    /// Completes the experience of the module with the columns that the loss reads, such as advantages. Numbers
    /// to report go to [`PrepareContext::report`].
    ///
    /// # Errors
    /// If the experience lacks a column or a forward pass fails.
    fn prepare(&mut self, _cx: &PrepareContext<'_>, data: TrainData) -> Result<TrainData> {
        Ok(data)
    }

    /// Computes the loss of one phase ([`LossContext::phase`]) on one minibatch ([`LossContext::batch`]).
    ///
    /// The minibatch of a stateful module is made of padded sequences: rows whose
    /// [`Columns::LOSS_MASK`](rekindle_core::Columns::LOSS_MASK) is 0 must not count
    /// ([`LossContext::mean`]).
    ///
    /// # Errors
    /// If a column is missing or of another shape.
    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses>;

    /// Whether the module stops learning in this update, given its loss on the next minibatch. That
    /// minibatch and the later ones of the update do not step it.
    ///
    /// # Errors
    /// If the device fails.
    fn stops_early(&mut self, _losses: &Losses) -> Result<bool> {
        Ok(false)
    }

    /// Changes gradients before they are applied. Clips them by default, as the optimizer's settings say.
    ///
    /// `global_norm` is that of the gradients as they come in. A loss that does more than clip says so by
    /// [`changes_gradients`](Self::changes_gradients).
    ///
    /// # Errors
    /// If the device fails.
    fn postprocess_gradients(
        &mut self,
        optimizer: &OptimizerGroup,
        gradients: Gradients,
        global_norm: &GlobalNorm,
    ) -> Result<Gradients> {
        match optimizer.grad_clip {
            Some(clip) => gradients.clip(optimizer.grad_clip_by, clip, global_norm),
            None => Ok(gradients),
        }
    }

    /// Whether [`postprocess_gradients`](Self::postprocess_gradients) may return gradients that are not finite.
    /// The learner then checks them once more, and skips the step if they are not.
    fn changes_gradients(&self) -> bool {
        false
    }

    /// Whether the next minibatch leaves out a phase, counted from 0: for steps that are delayed, such as those
    /// of TD3's policy. Called once for each phase of each minibatch.
    fn skips_phase(&self, _phase: usize) -> bool {
        false
    }

    /// Called after the steps of each minibatch: the place to move target networks that follow every gradient
    /// step.
    ///
    /// # Errors
    /// If the module cannot be changed.
    fn after_minibatch(&mut self, _cx: &mut AfterMinibatch<'_>) -> Result<()> {
        Ok(())
    }

    /// Called after an update, with the module's metrics averaged over the last epoch.
    ///
    /// # Errors
    /// If the module cannot be changed.
    fn after_update(&mut self, _cx: &mut AfterUpdate<'_>) -> Result<()> {
        Ok(())
    }

    /// Returns everything that the loss has learned or counted, or [`State::new`] if that is nothing.
    ///
    /// There is no default: a loss without this method would lose its state in every checkpoint.
    ///
    /// # Errors
    /// If the state does not serialize, or a device fails.
    fn get_state(&self) -> Result<State>;

    /// Replaces everything that the loss has learned or counted. By default, only an empty state is accepted.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state belongs to another loss.
    fn set_state(&mut self, state: &State) -> Result<()> {
        refuse_state(&format!("{} loss", self.name()), state)
    }
}

/// Refuses a state that is not empty: the `set_state` of a component without state.
///
/// # Errors
/// [`LearnerError::InvalidState`], which names the component.
pub(crate) fn refuse_state(component: &str, state: &State) -> Result<()> {
    if state.is_empty() {
        return Ok(());
    }
    let reason = "it has no state here; implement `set_state` beside `get_state`".into();
    Err(LearnerError::InvalidState { component: component.into(), reason })
}
