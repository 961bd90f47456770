//! The roles of a view: those of the shared module, with the id of the view.

use burn::prelude::Tensor;
use rekindle_core::Batch;

use super::view::SharedView;
use crate::error::{ModuleError, Result};
use crate::roles::{
    ActionCritic, DeterministicPolicy, DistributionalQNet, QNet, Role, StochasticPolicy,
    TargetNetwork, ValueDistribution, ValueFunction,
};

impl SharedView {
    /// Returns a role of the shared module.
    fn role<R>(&self, found: Option<R>, role: Role) -> Result<R> {
        found.ok_or_else(|| {
            ModuleError::Mismatch(format!(
                "the shared module of `{}` lacks the role {role}; return it from `SharedRLModule::{}`",
                self.module_id(),
                role.accessor()
            ))
        })
    }
}

impl ValueFunction for SharedView {
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>> {
        let values = self.role(self.shared().as_value_function(), Role::ValueFunction)?;
        values.compute_values(self.module_id(), batch, embeddings)
    }
}

impl QNet for SharedView {
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch> {
        let q_net = self.role(self.shared().as_q_net(), Role::QNet)?;
        q_net.compute_q_values(self.module_id(), batch)
    }
}

impl DistributionalQNet for SharedView {
    fn value_distribution(&self) -> ValueDistribution {
        match self.shared().as_distributional_q_net() {
            Some(q_net) => q_net.value_distribution(self.module_id()),
            // The view does not have the role then.
            None => ValueDistribution::Quantile { num_quantiles: 1 },
        }
    }
}

impl ActionCritic for SharedView {
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        let critic = self.role(self.shared().as_action_critic(), Role::ActionCritic)?;
        critic.compute_action_values(self.module_id(), batch)
    }
}

impl StochasticPolicy for SharedView {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)> {
        let policy = self.role(self.shared().as_stochastic_policy(), Role::StochasticPolicy)?;
        policy.rsample(self.module_id(), batch, noise)
    }
}

impl DeterministicPolicy for SharedView {
    fn compute_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        let role = self.shared().as_deterministic_policy();
        self.role(role, Role::DeterministicPolicy)?.compute_actions(self.module_id(), batch)
    }

    fn compute_target_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        let role = self.shared().as_deterministic_policy();
        self.role(role, Role::DeterministicPolicy)?.compute_target_actions(self.module_id(), batch)
    }
}

impl TargetNetwork for SharedView {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        self.shared().as_target_network().map_or(&[], |targets| targets.target_network_pairs())
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let targets = self.role(self.shared().as_target_network(), Role::TargetNetwork)?;
        targets.forward_target(self.module_id(), batch)
    }
}
