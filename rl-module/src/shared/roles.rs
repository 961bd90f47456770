//! Roles of modules that share parameters. Each method takes the id of its module.

use burn::prelude::Tensor;
use rekindle_core::Batch;

use crate::error::Result;
use crate::roles::ValueDistribution;

/// Modules that share parameters and estimate state values.
///
/// A centralized critic is one network that reads the common part of the observations. Separate
/// critics are a [`PerModule`](crate::PerModule).
pub trait SharedValueFunction {
    /// Runs [`ValueFunction::compute_values`](crate::ValueFunction::compute_values) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; embeddings `[B, features]`; result `[B]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_values(
        &self,
        module_id: &str,
        batch: &Batch,
        embeddings: Option<Tensor<2>>,
    ) -> Result<Tensor<1>>;
}

/// Modules that share parameters and estimate action values.
pub trait SharedQNet {
    /// Runs [`QNet::compute_q_values`](crate::QNet::compute_q_values) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; result `[B, actions]` in the column
    /// [`Columns::QF_PREDS`](rekindle_core::Columns::QF_PREDS).
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_q_values(&self, module_id: &str, batch: &Batch) -> Result<Batch>;
}

/// Modules that share parameters and estimate distributions of action values.
pub trait SharedDistributionalQNet: SharedQNet {
    /// Returns [`DistributionalQNet::value_distribution`](crate::DistributionalQNet::value_distribution) of one
    /// module.
    fn value_distribution(&self, module_id: &str) -> ValueDistribution;
}

/// Modules that share parameters and have target networks.
pub trait SharedTargetNetwork {
    /// Returns [`TargetNetwork::target_network_pairs`](crate::TargetNetwork::target_network_pairs). The pairs are
    /// those of the shared module: the targets of all modules move together, once.
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)];

    /// Runs [`TargetNetwork::forward_target`](crate::TargetNetwork::forward_target) of one module.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn forward_target(&self, module_id: &str, batch: &Batch) -> Result<Batch>;
}

/// Modules that share parameters and have critics of actions.
///
/// Optimizers find parameters by the names that [`ActionCritic`](crate::ActionCritic) and the roles of policies
/// give. A common encoder in the field `encoder` belongs to the policies: the loss of the critics does not change
/// it.
pub trait SharedActionCritic {
    /// Runs [`ActionCritic::compute_action_values`](crate::ActionCritic::compute_action_values) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; actions `[B, action_dim]`; result `[B, critics, values]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_action_values(&self, module_id: &str, batch: &Batch) -> Result<Tensor<3>>;
}

/// Modules that share parameters and have policies that draw actions through which gradients flow.
pub trait SharedStochasticPolicy {
    /// Runs [`StochasticPolicy::rsample`](crate::StochasticPolicy::rsample) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; `noise` `[B, action_dim]`; results `[B, action_dim]` and `[B]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn rsample(
        &self,
        module_id: &str,
        batch: &Batch,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<1>)>;
}

/// Modules that share parameters and have deterministic policies.
pub trait SharedDeterministicPolicy {
    /// Runs [`DeterministicPolicy::compute_actions`](crate::DeterministicPolicy::compute_actions) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; result `[B, action_dim]`, within [−1, 1].
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_actions(&self, module_id: &str, batch: &Batch) -> Result<Tensor<2>>;

    /// Runs [`DeterministicPolicy::compute_target_actions`](crate::DeterministicPolicy::compute_target_actions) of
    /// one module.
    ///
    /// # Shapes
    /// As [`compute_actions`](Self::compute_actions).
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_target_actions(&self, module_id: &str, batch: &Batch) -> Result<Tensor<2>>;
}
