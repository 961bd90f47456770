//! Roles of policies and critics that learn from replayed actions.

use burn::prelude::Tensor;
use rekindle_catalog::RunningStatistics;
use rekindle_core::{Batch, Column, Columns};

use crate::any::AnyRLModule;
use crate::error::{ModuleError, Result};
use crate::roles::Role;

/// A module with one or several critics of actions; the Q-functions of RLlib's `SACTorchRLModule`.
///
/// The loss takes the mean or the minimum over critics. The parameters of the critics are in the field `qf`, and
/// those of their targets in `target_qf`: the optimizers of SAC, TD3 and TQC find them by these names.
/// [`TargetNetwork::forward_target`](crate::TargetNetwork::forward_target) computes the values of the targets from
/// the same columns, in the column [`Columns::QF_PREDS`].
///
/// A stateful module has one state for policy and critics. All of its methods then read
/// [`Columns::STATE_IN`](rekindle_core::Columns::STATE_IN) and sequences of rows, as in
/// [`RLModule::initial_state`](crate::RLModule::initial_state). For a burn-in, the training pass returns the state of
/// the main networks after the last steps, and `forward_target` that of the targets, in
/// [`Columns::STATE_OUT`](rekindle_core::Columns::STATE_OUT).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no critics of actions",
    note = "implement `ActionCritic` for `{Self}` and return `Some(self)` from `RLModule::as_action_critic`"
)]
pub trait ActionCritic {
    /// Computes the values of the actions in the column [`Columns::ACTIONS`], flattened and in the units in
    /// which the module acts. In a `Discrete` space, computes the values of all actions; there is no column of
    /// actions then.
    ///
    /// # Shapes
    /// Observations `[B, …]`; actions `[B, action_dim]`; result `[B, critics, values]`, where `values` is 1, or
    /// the number of quantiles of a distribution of values, or the number of actions of a `Discrete` space.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>>;

    /// Computes the values of actions in training, for critics that normalize by the statistics of the batch. Also
    /// returns the running statistics that the pass leads to. The learner writes them to the module where the loss asks
    /// for it (`AfterMinibatch::set_running_statistics`).
    ///
    /// By default, it computes the same as [`compute_action_values`](Self::compute_action_values), and there are no
    /// statistics.
    ///
    /// # Shapes
    /// As [`compute_action_values`](Self::compute_action_values).
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_action_values_in_training(
        &self,
        batch: &Batch,
    ) -> Result<(Tensor<3>, RunningStatistics)> {
        Ok((self.compute_action_values(batch)?, RunningStatistics::new()))
    }
}

/// A module whose policy draws actions through which gradients flow.
///
/// The parameters of the policy are in the fields `encoder` and `pi`: optimizers find them by these names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no policy that draws actions with gradients",
    note = "implement `StochasticPolicy` for `{Self}` and return `Some(self)` from `RLModule::as_stochastic_policy`"
)]
pub trait StochasticPolicy {
    /// Computes actions and their log-densities from noise (the reparameterization trick; Kingma and Welling,
    /// 2014). The noise was drawn from the standard normal distribution on the host.
    ///
    /// # Shapes
    /// Observations `[B, …]`; `noise` `[B, action_dim]`; results `[B, action_dim]` and `[B]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)>;
}

/// A module whose policy is a function of the observation, with a slow copy of it.
///
/// The parameters of the policy are in the fields `encoder` and `pi`, and those of its target in
/// `target_encoder` and `target_pi`: optimizers find them by these names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no deterministic policy",
    note = "implement `DeterministicPolicy` for `{Self}` and return `Some(self)` from `RLModule::as_deterministic_policy`"
)]
pub trait DeterministicPolicy {
    /// Computes the actions of the policy, with gradients and without the noise of exploration.
    ///
    /// # Shapes
    /// Observations `[B, …]`; result `[B, action_dim]`, within [−1, 1].
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_actions(&self, batch: &Batch) -> Result<Tensor<2>>;

    /// Computes the actions of the target policy.
    ///
    /// # Shapes
    /// As [`compute_actions`](Self::compute_actions).
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_target_actions(&self, batch: &Batch) -> Result<Tensor<2>>;
}

impl AnyRLModule {
    /// Computes the values of actions ([`ActionCritic::compute_action_values`]).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::ValueCount`] unless there are values for
    /// each observation; [`ModuleError::Panicked`]; the module's error.
    pub fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        const METHOD: &str = "compute_action_values";
        let critic = self.action_critic(METHOD)?;
        let values = self.guard(METHOD, || critic.compute_action_values(batch))?;
        self.check_rows(METHOD, batch, values.dims()[0])?;
        Ok(values)
    }

    /// Computes the values of actions in training ([`ActionCritic::compute_action_values_in_training`]).
    ///
    /// # Errors
    /// As [`compute_action_values`](Self::compute_action_values).
    pub fn compute_action_values_in_training(
        &self,
        batch: &Batch,
    ) -> Result<(Tensor<3>, RunningStatistics)> {
        const METHOD: &str = "compute_action_values_in_training";
        let critic = self.action_critic(METHOD)?;
        let (values, statistics) =
            self.guard(METHOD, || critic.compute_action_values_in_training(batch))?;
        self.check_rows(METHOD, batch, values.dims()[0])?;
        Ok((values, statistics))
    }

    fn action_critic(&self, needed_by: &str) -> Result<&dyn ActionCritic> {
        let role = self.module().as_action_critic();
        role.ok_or_else(|| self.missing_role(Role::ActionCritic, needed_by))
    }

    /// Checks that there are values for each observation.
    fn check_rows(&self, method: &'static str, batch: &Batch, found: usize) -> Result<()> {
        match batch.get(Columns::OBS)?.map(Column::rows) {
            Some(expected) if expected != found => {
                let module = self.spec().module().into();
                Err(ModuleError::ValueCount { module, method, expected, found })
            }
            _ => Ok(()),
        }
    }

    /// Draws actions with gradients ([`StochasticPolicy::rsample`]).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::Panicked`]; the module's error.
    pub fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)> {
        let role = self.module().as_stochastic_policy();
        let policy = role.ok_or_else(|| self.missing_role(Role::StochasticPolicy, "rsample"))?;
        self.guard("rsample", || policy.rsample(batch, noise))
    }

    /// Computes the actions of a deterministic policy ([`DeterministicPolicy::compute_actions`]).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::Panicked`]; the module's error.
    pub fn compute_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        let policy = self.deterministic_policy("compute_actions")?;
        self.guard("compute_actions", || policy.compute_actions(batch))
    }

    /// Computes the actions of the target of a deterministic policy
    /// ([`DeterministicPolicy::compute_target_actions`]).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::Panicked`]; the module's error.
    pub fn compute_target_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        let policy = self.deterministic_policy("compute_target_actions")?;
        self.guard("compute_target_actions", || policy.compute_target_actions(batch))
    }

    fn deterministic_policy(&self, needed_by: &str) -> Result<&dyn DeterministicPolicy> {
        let role = self.module().as_deterministic_policy();
        role.ok_or_else(|| self.missing_role(Role::DeterministicPolicy, needed_by))
    }
}
