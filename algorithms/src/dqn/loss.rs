//! The loss of DQN.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Columns};
use rekindle_learner::losses::{categorical_projection, cross_entropy, quantile_huber};
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterMinibatch, Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result,
};
use rekindle_rl_module::{Role, ValueDistribution};

use super::next::Next;
use super::outputs::Outputs;
use super::{DqnTraining, TdErrorLoss};
use crate::config::one_optimizer;
use crate::off_policy::{check_burn_in, of_continued, weighted_mean};
use crate::q_values::{distributions_of_actions, of_actions};

/// The TD error of action values against those of the target networks, or the distance of their distributions:
/// the loss of C51 or QR-DQN for a module with the role
/// [`DistributionalQNet`](rekindle_rl_module::DistributionalQNet).
#[derive(Debug, Clone)]
pub struct DqnLoss {
    config: DqnTraining,
    /// Environment steps at the last update of the target networks.
    synced_at: u64,
}

impl DqnLoss {
    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: DqnTraining) -> Self {
        Self { config, synced_at: 0 }
    }

    /// Computes the losses and the errors of expected values, `[B]` each.
    fn of_values(&self, taken: Tensor<1>, next: Next) -> [Tensor<1>; 2] {
        let values = next.values.gather(1, next.actions.unsqueeze_dim(1));
        let values = of_continued(values, next.discounts.clone().unsqueeze_dim(1)).squeeze_dim(1);
        let targets = next.rewards + next.discounts * values;
        let error = taken - Tensor::from_inner(targets);
        let terms = match self.config.td_error_loss_fn {
            TdErrorLoss::Huber => {
                let size = error.clone().abs();
                let square = error.clone().square() * 0.5;
                square.mask_where(size.clone().greater_elem(1.0), size - 0.5)
            }
            TdErrorLoss::Mse => error.clone().square(),
        };
        [terms, error.detach()]
    }

    /// Computes the losses of distributions, `[B]`, which are the errors, too.
    fn of_distributions(
        kind: ValueDistribution,
        outputs: &Batch,
        actions: Tensor<1, Int>,
        next: Next,
    ) -> Result<[Tensor<1>; 2]> {
        let found = distributions_of_actions(outputs.float::<3>(kind.column())?, actions);
        let following = next.outputs.float::<3>(kind.column())?;
        let following = distributions_of_actions(following, next.actions);
        let following = of_continued(following, next.discounts.clone().unsqueeze_dim(1));
        let terms = match kind {
            ValueDistribution::Categorical { v_min, v_max, .. } => {
                let (following, range) = (softmax(following, 1), [v_min, v_max]);
                let targets =
                    categorical_projection(following, next.rewards, next.discounts, range);
                cross_entropy(found, Tensor::from_inner(targets))
            }
            _ => {
                let targets = next.rewards.unsqueeze_dim::<2>(1)
                    + next.discounts.unsqueeze_dim::<2>(1) * following;
                let found = found.unsqueeze_dim::<3>(1);
                quantile_huber(found, Tensor::from_inner(targets), 1.0).squeeze_dim(1)
            }
        };
        Ok([terms.clone(), terms.detach()])
    }
}

impl Loss for DqnLoss {
    fn name(&self) -> &str {
        "DQN"
    }

    fn required_roles(&self) -> Vec<Role> {
        // Settings that describe no distribution were refused before.
        let is_distributional = matches!(self.config.value_distribution(), Ok(Some(_)));
        let values = if is_distributional { Role::DistributionalQNet } else { Role::QNet };
        vec![values, Role::TargetNetwork]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        check_burn_in(cx, self.config.burn_in_len)
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let DqnTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        let spec = TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range());
        Some(spec.burn_in(self.config.burn_in_len))
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let Outputs { online, next } = Outputs::of(cx, &self.config)?;
        let q = online.float::<2>(Columns::QF_PREDS)?;
        let actions = cx.action_indices()?;
        let taken = of_actions(q, actions.clone());
        let [terms, errors] = match cx.module.value_distribution() {
            None => self.of_values(taken.clone(), next),
            Some(kind) => Self::of_distributions(kind, &online, actions, next)?,
        };
        Ok(Losses::new(weighted_mean(cx, terms)?)
            .metric("td_error_mean", cx.mean(errors.clone())?)
            .metric("qf_mean", cx.mean(taken.detach())?)
            .row_values(TD_ERROR, errors.abs()))
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        let freq = self.config.target_network_update_freq.max(1);
        // Counted in whole intervals, so that long steps do not put off the next one. A restored loss may be
        // ahead of an algorithm that has just begun.
        if cx.env_steps / freq != self.synced_at / freq {
            self.synced_at = cx.env_steps;
            cx.update_targets(self.config.tau);
        }
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::from_data(&self.synced_at)?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.synced_at = match state.data.is_null() {
            true => 0,
            false => state.data_as()?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
