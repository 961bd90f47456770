//! The roles of a built module.

use burn::prelude::Tensor;
use rekindle_core::{Batch, Column, Columns, HostBatch, TensorKind};

use crate::any::AnyRLModule;
use crate::error::{ModuleError, Result};
use crate::own_weights;
use crate::roles::{LearnContext, LearnStats, QNet, Role, ValueDistribution, ValueFunction};

impl AnyRLModule {
    /// Whether the module has a role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        match role {
            Role::ValueFunction => self.module().as_value_function().is_some(),
            Role::QNet => self.module().as_q_net().is_some(),
            Role::ActionCritic => self.module().as_action_critic().is_some(),
            Role::StochasticPolicy => self.module().as_stochastic_policy().is_some(),
            Role::DeterministicPolicy => self.module().as_deterministic_policy().is_some(),
            Role::DistributionalQNet => self.value_distribution().is_some(),
            Role::TargetNetwork => self.module().as_target_network().is_some(),
            Role::SelfSupervisedLoss => self.module().as_self_supervised_loss().is_some(),
            Role::LearnOnBatch => self.module().as_learn_on_batch().is_some(),
        }
    }

    /// Returns the module as a value function.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] that names role, module and `needed_by`.
    pub fn value_function(&self, needed_by: &str) -> Result<&dyn ValueFunction> {
        self.module()
            .as_value_function()
            .ok_or_else(|| self.missing_role(Role::ValueFunction, needed_by))
    }

    /// Returns the module as a network of action values.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] that names role, module and `needed_by`.
    pub fn q_net(&self, needed_by: &str) -> Result<&dyn QNet> {
        self.module().as_q_net().ok_or_else(|| self.missing_role(Role::QNet, needed_by))
    }

    /// Computes the values of all actions ([`QNet::compute_q_values`]).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::Panicked`]; the module's error.
    pub fn compute_q_values(&self, batch: &Batch) -> Result<Batch> {
        let q_net = self.q_net("compute_q_values")?;
        self.guard("compute_q_values", || q_net.compute_q_values(batch))
    }

    /// Computes the values of the best actions, `max_a Q(o, a)`: 0 where a mask allows no action, because nothing
    /// can follow there.
    ///
    /// # Shapes
    /// Result `[B]`.
    ///
    /// # Errors
    /// As [`compute_q_values`](Self::compute_q_values), or if it does not return
    /// [`Columns::QF_PREDS`].
    pub fn compute_state_values(&self, batch: &Batch) -> Result<Tensor<1>> {
        let q = self.compute_q_values(batch)?.float::<2>(Columns::QF_PREDS)?;
        let values = q.max_dim(1).squeeze_dim::<1>(1);
        Ok(values.clone().mask_fill(values.lower_equal_elem(f32::MIN / 2.0), 0.0))
    }

    /// Returns the kind of the module's distributions of action values; `None` for a module without the role
    /// [`DistributionalQNet`](crate::DistributionalQNet).
    #[must_use]
    pub fn value_distribution(&self) -> Option<ValueDistribution> {
        Some(self.module().as_distributional_q_net()?.value_distribution())
    }

    /// Computes the outputs of the target networks as constants, without gradients.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without target networks; the module's error.
    pub fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let Some(role) = self.module().as_target_network() else {
            return Err(self.missing_role(Role::TargetNetwork, "forward_target"));
        };
        constants(self.guard("forward_target", || role.forward_target(batch))?)
    }

    /// Computes the module's own loss of a minibatch from the outputs of the training pass over it; see
    /// [`SelfSupervisedLoss`](crate::SelfSupervisedLoss).
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::Panicked`]; the module's error.
    pub fn compute_self_supervised_loss(
        &self,
        batch: &Batch,
        outputs: &Batch,
    ) -> Result<Tensor<1>> {
        const METHOD: &str = "compute_self_supervised_loss";
        let Some(role) = self.module().as_self_supervised_loss() else {
            return Err(self.missing_role(Role::SelfSupervisedLoss, METHOD));
        };
        self.guard(METHOD, || role.compute_self_supervised_loss(batch, outputs))
    }

    /// Returns the module as it is after learning from a batch by itself, and the numbers that it reports.
    /// This module stays as it is.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without the role; [`ModuleError::LearnOnBatch`] if a weight or a reported
    /// number is not finite; [`ModuleError::Panicked`]; the module's error.
    pub fn learn_on_batch(
        &self,
        batch: &HostBatch,
        cx: &mut LearnContext<'_>,
    ) -> Result<(Self, LearnStats)> {
        let mut learned = self.clone();
        let name = self.spec().module();
        let stats = own_weights::learn(name, learned.module_mut(), |role| {
            self.guard("learn_on_batch", || role.learn_on_batch(batch, cx))
        })?;
        Ok((learned, stats))
    }

    /// Checks that the module has a role.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] that names role, module and `needed_by`.
    pub fn require(&self, role: Role, needed_by: &str) -> Result<()> {
        if self.has_role(role) { Ok(()) } else { Err(self.missing_role(role, needed_by)) }
    }

    pub(super) fn missing_role(&self, role: Role, needed_by: &str) -> ModuleError {
        let (module, needed_by) = (self.spec().module().into(), needed_by.into());
        let is_shared = self.view().is_some();
        ModuleError::MissingRole { module, role, needed_by, is_shared }
    }

    /// Computes the values of the observations of a batch; see [`ValueFunction::compute_values`].
    ///
    /// # Shapes
    /// Result `[B]`.
    ///
    /// # Errors
    /// [`ModuleError::MissingRole`] without a value function; [`ModuleError::ValueCount`] unless
    /// there is one value for each observation; the module's error.
    pub fn compute_values(
        &self,
        batch: &Batch,
        embeddings: Option<Tensor<2>>,
    ) -> Result<Tensor<1>> {
        let critic = self.value_function("compute_values")?;
        let values = self.guard("compute_values", || critic.compute_values(batch, embeddings))?;
        let found = values.dims()[0];
        match batch.get(Columns::OBS)?.map(Column::rows) {
            Some(expected) if expected != found => {
                let module = self.spec().module().into();
                let method = "compute_values";
                Err(ModuleError::ValueCount { module, method, expected, found })
            }
            _ => Ok(values),
        }
    }
}

/// Detaches the float columns of a batch.
fn constants(batch: Batch) -> Result<Batch> {
    let mut cut = Batch::new();
    for name in batch.names() {
        let column = match batch.column(name)?.clone() {
            Column::Tensor(tensor) if tensor.kind() == TensorKind::Float => {
                Column::Tensor(tensor.map_flat(Tensor::detach)?)
            }
            Column::Nested(nested) => Column::Nested(constants(nested)?),
            column @ Column::Tensor(_) => column,
        };
        cut.insert(name.to_owned(), column);
    }
    Ok(cut)
}
