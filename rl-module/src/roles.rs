//! Roles: what a learner may need from a module beyond its three passes.

mod any;
mod target;

use std::fmt;

use burn::prelude::Tensor;
use rekindle_core::Batch;

use crate::Result;

pub use target::sync_targets;

/// A module that estimates state values; RLlib's `ValueFunctionAPI`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no value function",
    note = "implement `ValueFunction` for `{Self}` and return `Some(self)` from `RLModule::as_value_function`"
)]
pub trait ValueFunction {
    /// Values `V(o)` of the observations of a batch.
    ///
    /// `embeddings` is the column of that name of the training pass over the same batch, if the
    /// module put one out: a shared encoder need not run twice.
    ///
    /// # Shapes
    /// Observations `[B, …]`; embeddings `[B, features]`; result `[B]`.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>>;
}

/// A module that estimates action values; RLlib's `QNetAPI`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no action values",
    note = "implement `QNet` for `{Self}` and return `Some(self)` from `RLModule::as_q_net`"
)]
pub trait QNet {
    /// Values `Q(o, ·)` of the observations of a batch, in the column
    /// [`Columns::QF_PREDS`](rekindle_core::Columns::QF_PREDS); a distributional one adds its own.
    ///
    /// # Shapes
    /// Observations `[B, …]`; result `[B, actions]`.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch>;
}

/// A module with target networks: slow copies of some of its parts; RLlib's `TargetNetworkAPI`.
///
/// A built module's targets are copies. The learner moves them (`Learner::sync_targets`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no target networks",
    note = "implement `TargetNetwork` for `{Self}` and return `Some(self)` from `RLModule::as_target_network`"
)]
pub trait TargetNetwork {
    /// Prefixes of parameter names, the main network first, dots between levels:
    /// `[("encoder", "target_encoder"), ("qf", "target_qf")]`.
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)];

    /// The pass of the target networks.
    ///
    /// [`AnyRLModule::forward_target`](crate::AnyRLModule::forward_target) cuts gradients.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn forward_target(&self, batch: &Batch) -> Result<Batch>;
}

/// A module that brings its own loss; RLlib's `SelfSupervisedLossAPI`.
///
/// The learner takes it instead of the objective's, and asks such a module for no other role.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no loss of its own",
    note = "implement `SelfSupervisedLoss` for `{Self}` and return `Some(self)` from `RLModule::as_self_supervised_loss`"
)]
pub trait SelfSupervisedLoss {
    /// The loss of one minibatch, given the outputs of the training pass over it.
    ///
    /// # Shapes
    /// Result `[1]`.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn compute_self_supervised_loss(&self, batch: &Batch, outputs: &Batch) -> Result<Tensor<1>>;
}

/// A role by name, for the requirements of learners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// [`ValueFunction`].
    ValueFunction,
    /// [`QNet`].
    QNet,
    /// [`TargetNetwork`].
    TargetNetwork,
    /// [`SelfSupervisedLoss`].
    SelfSupervisedLoss,
}

impl Role {
    /// The method of `RLModule` that gives the role out.
    pub fn accessor(self) -> &'static str {
        match self {
            Self::ValueFunction => "as_value_function",
            Self::QNet => "as_q_net",
            Self::TargetNetwork => "as_target_network",
            Self::SelfSupervisedLoss => "as_self_supervised_loss",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueFunction => "ValueFunction",
            Self::QNet => "QNet",
            Self::TargetNetwork => "TargetNetwork",
            Self::SelfSupervisedLoss => "SelfSupervisedLoss",
        })
    }
}
