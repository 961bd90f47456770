//! The loss of DQN.

use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Columns};
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterUpdate, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Result,
};
use rekindle_rl_module::Role;

use super::{DqnTraining, TdErrorLoss};

/// The TD error of action values against those of the target networks.
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

    /// Computes `r + discount · Q⁻(s′, a′)`, `[B]`, as a constant.
    fn targets(&self, cx: &LossContext<'_>) -> Result<Tensor<1>> {
        let batch = cx.batch();
        let next = Batch::new().with(Columns::OBS, batch.column(Columns::NEXT_OBS)?.clone());
        let of_target = cx.module.forward_target(&next)?.float::<2>(Columns::QF_PREDS)?;
        let values = match self.config.double_q {
            true => {
                let online = cx.module.compute_q_values(&next)?.float::<2>(Columns::QF_PREDS)?;
                let best = online.detach().argmax(1);
                of_target.gather(1, best).squeeze_dim::<1>(1)
            }
            false => of_target.max_dim(1).squeeze_dim::<1>(1),
        };
        let discounts = batch.float::<1>(Columns::DISCOUNTS)?;
        Ok((batch.float::<1>(Columns::REWARDS)? + discounts * values).detach())
    }
}

impl Loss for DqnLoss {
    fn name(&self) -> &str {
        "DQN"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::QNet, Role::TargetNetwork]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let DqnTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        let group = OptimizerGroup::default().lr(lr.clone()).rule(*optimizer);
        vec![group.grad_clip(*grad_clip).grad_clip_by(*grad_clip_by)]
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        Some(TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range()))
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let batch = cx.batch();
        let q = cx.outputs()?.float::<2>(Columns::QF_PREDS)?;
        let start = cx.module.spec().get_action_space().map_or(Ok(0), |space| {
            space.as_discrete().map(|space| space.start()).map_err(LearnerError::custom)
        })?;
        let actions = batch.int::<1>(Columns::ACTIONS)? - start;
        let taken = q.clone().gather(1, actions.unsqueeze_dim(1)).squeeze_dim::<1>(1);
        let error = taken - self.targets(cx)?;
        let terms = match self.config.td_error_loss_fn {
            TdErrorLoss::Huber => {
                let size = error.clone().abs();
                let square = error.clone().square() * 0.5;
                square.mask_where(size.clone().greater_elem(1.0), size - 0.5)
            }
            TdErrorLoss::Mse => error.clone().square(),
        };
        let terms = match batch.contains(Columns::WEIGHTS) {
            true => terms * batch.float::<1>(Columns::WEIGHTS)?,
            false => terms,
        };
        let error = error.detach();
        Ok(Losses::new(cx.mean(terms)?)
            .metric("td_error_mean", cx.mean(error.clone())?)
            .metric("qf_mean", q.detach().mean())
            .row_values(TD_ERROR, error.abs()))
    }

    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<()> {
        if cx.env_steps >= self.synced_at + self.config.target_network_update_freq {
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
