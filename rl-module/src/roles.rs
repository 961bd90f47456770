//! Roles: capabilities of a module beyond its three passes that a learner may require.

mod actions;
mod any;
mod learn_on_batch;
mod target;
mod value_distribution;

use std::fmt;

use burn::prelude::Tensor;
use rekindle_core::Batch;

use crate::error::Result;

pub use actions::{ActionCritic, DeterministicPolicy, StochasticPolicy};
pub use learn_on_batch::{LearnContext, LearnOnBatch, LearnStats};
pub use target::sync_targets;
pub(crate) use target::{follow, move_targets, replace};
pub use value_distribution::ValueDistribution;

/// A module that estimates state values; RLlib's `ValueFunctionAPI`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no value function",
    note = "implement `ValueFunction` for `{Self}` and return `Some(self)` from `RLModule::as_value_function`"
)]
pub trait ValueFunction {
    /// Computes the values `V(o)` of the observations of a batch.
    ///
    /// `embeddings` is the column of that name in the output of the training pass over the same
    /// batch, if there is one. With it, a shared encoder need not run twice.
    ///
    /// # Shapes
    /// Observations `[B, …]`; embeddings `[B, features]`; result `[B]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>>;
}

/// A module that estimates action values; RLlib's `QNetAPI`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no action values",
    note = "implement `QNet` for `{Self}` and return `Some(self)` from `RLModule::as_q_net`"
)]
pub trait QNet {
    /// Computes the values `Q(o, ·)` of the observations of a batch, in the column
    /// [`Columns::QF_PREDS`](rekindle_core::Columns::QF_PREDS). Values of masked actions are float-min
    /// ([`mask_logits`](rekindle_catalog::mask_logits)). A distributional network adds its own column, and a
    /// stateful one [`Columns::STATE_OUT`](rekindle_core::Columns::STATE_OUT).
    ///
    /// # Shapes
    /// Observations `[B, …]`; result `[B, actions]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch>;
}

/// A module that estimates the distributions of action values; RLlib's `QNetAPI` with `num_atoms` above 1.
///
/// [`QNet::compute_q_values`], the training pass and
/// [`TargetNetwork::forward_target`] return the parameters of the distributions in the column that
/// [`ValueDistribution::column`] names, `[B, actions, atoms]`, beside their means in
/// [`Columns::QF_PREDS`](rekindle_core::Columns::QF_PREDS).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no distributions of action values",
    note = "implement `DistributionalQNet` for `{Self}` and return `Some(self)` from `RLModule::as_distributional_q_net`"
)]
pub trait DistributionalQNet: QNet {
    /// Returns the kind of the distributions.
    fn value_distribution(&self) -> ValueDistribution;
}

/// A module with target networks: slow copies of some of its parts; RLlib's `TargetNetworkAPI`.
///
/// In a newly built module, the targets equal the main networks. The learner updates them
/// (`Learner::sync_targets`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no target networks",
    note = "implement `TargetNetwork` for `{Self}` and return `Some(self)` from `RLModule::as_target_network`"
)]
pub trait TargetNetwork {
    /// Returns pairs of parameter prefixes, the main network first, with dots between levels:
    /// `[("encoder", "target_encoder"), ("qf", "target_qf")]`.
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)];

    /// Computes the outputs of the target networks; for a stateful module also
    /// [`Columns::STATE_OUT`](rekindle_core::Columns::STATE_OUT).
    ///
    /// [`AnyRLModule::forward_target`](crate::AnyRLModule::forward_target) detaches them.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn forward_target(&self, batch: &Batch) -> Result<Batch>;
}

/// A module with its own loss; RLlib's `SelfSupervisedLossAPI`.
///
/// The learner uses it instead of the algorithm's loss, and requires no other role of the module.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no loss of its own",
    note = "implement `SelfSupervisedLoss` for `{Self}` and return `Some(self)` from `RLModule::as_self_supervised_loss`"
)]
pub trait SelfSupervisedLoss {
    /// Computes the loss of one minibatch from the outputs of the training pass over it.
    ///
    /// # Shapes
    /// Result `[1]`.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn compute_self_supervised_loss(&self, batch: &Batch, outputs: &Batch) -> Result<Tensor<1>>;
}

/// The name of a role, for the requirements of learners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// [`ValueFunction`].
    ValueFunction,
    /// [`QNet`].
    QNet,
    /// [`ActionCritic`].
    ActionCritic,
    /// [`StochasticPolicy`].
    StochasticPolicy,
    /// [`DeterministicPolicy`].
    DeterministicPolicy,
    /// [`DistributionalQNet`].
    DistributionalQNet,
    /// [`TargetNetwork`].
    TargetNetwork,
    /// [`SelfSupervisedLoss`].
    SelfSupervisedLoss,
    /// [`LearnOnBatch`].
    LearnOnBatch,
}

impl Role {
    /// Returns the name of the method of `RLModule` that returns the role.
    #[must_use]
    pub fn accessor(self) -> &'static str {
        match self {
            Self::ValueFunction => "as_value_function",
            Self::QNet => "as_q_net",
            Self::ActionCritic => "as_action_critic",
            Self::StochasticPolicy => "as_stochastic_policy",
            Self::DeterministicPolicy => "as_deterministic_policy",
            Self::DistributionalQNet => "as_distributional_q_net",
            Self::TargetNetwork => "as_target_network",
            Self::SelfSupervisedLoss => "as_self_supervised_loss",
            Self::LearnOnBatch => "as_learn_on_batch",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueFunction => "ValueFunction",
            Self::QNet => "QNet",
            Self::ActionCritic => "ActionCritic",
            Self::StochasticPolicy => "StochasticPolicy",
            Self::DeterministicPolicy => "DeterministicPolicy",
            Self::DistributionalQNet => "DistributionalQNet",
            Self::TargetNetwork => "TargetNetwork",
            Self::SelfSupervisedLoss => "SelfSupervisedLoss",
            Self::LearnOnBatch => "LearnOnBatch",
        })
    }
}
