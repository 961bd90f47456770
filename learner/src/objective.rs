//! What an algorithm decides inside a learner.

use std::collections::BTreeMap;
use std::fmt::Debug;

use burn::prelude::{Device, Tensor};
use rekindle_core::{Batch, ModuleId};
use rekindle_env_runner::Rollout;
use rekindle_rl_module::{AnyRLModule, Role};
use serde_json::Value;

use crate::{
    GlobalNorm, Gradients, LearnerBatch, LearnerConfig, LearnerError, OptimizerConfig, Result,
};

/// Where in an update an objective is called.
#[derive(Debug, Clone, Copy)]
pub struct UpdateContext<'a> {
    /// The module that learns.
    pub module_id: &'a str,
    /// The module; in [`Objective::build_batch`] without gradients, in
    /// [`Objective::compute_loss`] with them.
    pub module: &'a AnyRLModule,
    /// Where the module's parameters are.
    pub device: &'a Device,
    /// The learner's settings.
    pub config: &'a LearnerConfig,
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
}

/// A loss and what to report of it.
#[derive(Debug)]
pub struct Loss {
    /// What gradients are taken of, `[1]`.
    pub total: Tensor<1>,
    /// Terms to report by name, `[1]` each.
    pub metrics: Vec<(&'static str, Tensor<1>)>,
}

/// The decisions of an algorithm: the methods of RLlib's `Learner` that are meant to be overridden.
///
/// | here | RLlib |
/// |---|---|
/// | [`build_batch`](Self::build_batch) | the learner connector pipeline |
/// | [`compute_loss`](Self::compute_loss) | `compute_loss_for_module` |
/// | [`optimizer`](Self::optimizer) | `configure_optimizers_for_module` |
/// | [`postprocess_gradients`](Self::postprocess_gradients) | `postprocess_gradients_for_module` |
/// | [`before_update`](Self::before_update), [`after_update`](Self::after_update) | `before_gradient_based_update`, `after_gradient_based_update` |
///
/// To change one decision of an objective in a [`Learner`](crate::Learner) of your own, wrap it and
/// pass the other calls on.
pub trait Objective: Debug + Send {
    /// The name, for messages.
    fn name(&self) -> &'static str;

    /// Returns the roles that a module must have to learn. They are checked when the learner is
    /// built and when a module is added, and not for modules with a loss of their own.
    fn required_roles(&self, _module_id: &str) -> Vec<Role> {
        Vec::new()
    }

    /// Checks whether a module can learn, beyond its roles: at the same times as those.
    ///
    /// # Errors
    /// If it cannot, for example because its action distribution lacks a formula.
    fn check_module(&self, _cx: UpdateContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Called when a module is added, before its first update.
    fn add_module(&mut self, _module_id: &str) {}

    /// Called when a module is removed.
    fn remove_module(&mut self, _module_id: &str) {}

    /// The optimizer of the parameters of a module, or, for
    /// [`ALL_MODULES`](rekindle_core::ALL_MODULES), of modules that share theirs.
    fn optimizer(&self, _group: &str, config: &LearnerConfig) -> OptimizerConfig {
        config.optimizer
    }

    /// Called before an update.
    fn before_update(&mut self, _env_steps: u64) {}

    /// Turns experience into the columns that minibatches are cut from.
    ///
    /// # Errors
    /// If the experience lacks a column or a forward pass fails.
    fn build_batch(&mut self, cx: UpdateContext<'_>, rollouts: &[Rollout]) -> Result<LearnerBatch>;

    /// The loss of a module on one minibatch, given the outputs of its training pass.
    ///
    /// The batch of a stateful module is made of padded sequences: rows whose
    /// [`Columns::LOSS_MASK`](rekindle_core::Columns::LOSS_MASK) is 0 must not count
    /// ([`losses::mean`](crate::losses::mean)).
    ///
    /// # Errors
    /// If a column is missing or of another shape.
    fn compute_loss(
        &mut self,
        cx: UpdateContext<'_>,
        batch: &Batch,
        outputs: &Batch,
    ) -> Result<Loss>;

    /// Whether a module stops learning in this update, given its loss on the next minibatch. That
    /// minibatch and the later ones of the update do not step it.
    ///
    /// # Errors
    /// If the device fails.
    fn stops_early(&mut self, _cx: UpdateContext<'_>, _loss: &Loss) -> Result<bool> {
        Ok(false)
    }

    /// Changes gradients before they are applied; clips them by default.
    ///
    /// `group` is the id of the module that has the parameters, or
    /// [`ALL_MODULES`](rekindle_core::ALL_MODULES) for modules that share theirs. `global_norm` is
    /// that of the gradients as they come in.
    ///
    /// # Errors
    /// If the device fails.
    fn postprocess_gradients(
        &mut self,
        _group: &str,
        config: &LearnerConfig,
        gradients: Gradients,
        global_norm: &GlobalNorm,
    ) -> Result<Gradients> {
        match config.grad_clip {
            Some(clip) => gradients.clip(config.grad_clip_by, clip, global_norm),
            None => Ok(gradients),
        }
    }

    /// Called after an update with the metrics of each module, averaged over the last epoch. What
    /// it returns is reported as well.
    fn after_update(
        &mut self,
        _last_epoch: &BTreeMap<ModuleId, BTreeMap<&'static str, f64>>,
        _env_steps: u64,
    ) -> Vec<(ModuleId, &'static str, f64)> {
        Vec::new()
    }

    /// Everything it has learnt; null without state.
    fn get_state(&self) -> Value {
        Value::Null
    }

    /// Replaces what it has learnt.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the state is not one of such an objective.
    fn set_state(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        let (component, reason) = (self.name().into(), "it has no state".into());
        Err(LearnerError::InvalidState { component, reason })
    }
}
