//! The loss of PQN.

use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::{
    Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::PqnTraining;
use crate::config::one_optimizer;
use crate::q_values::of_actions;

/// The squared error of the values of the actions taken against their λ-returns. The returns are those of the
/// network that acted: epochs and minibatches do not change them.
#[derive(Debug, Clone)]
pub struct PqnLoss {
    config: PqnTraining,
}

impl PqnLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: PqnTraining) -> Self {
        Self { config }
    }
}

impl Loss for PqnLoss {
    fn name(&self) -> &str {
        "PQN"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::QNet]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let PqnTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        let PqnTraining { gamma, lambda_, .. } = self.config;
        data.add_q_lambda_returns(cx, gamma as f32, lambda_ as f32)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let q = cx.outputs()?.float::<2>(Columns::QF_PREDS)?;
        let taken = of_actions(q, cx.action_indices()?);
        let error = taken.clone() - cx.batch().float::<1>(Columns::VALUE_TARGETS)?;
        Ok(Losses::new(cx.mean(error.clone().square())?)
            .metric("td_error_mean", cx.mean(error.detach())?)
            .metric("qf_mean", cx.mean(taken.detach())?))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new()) // Targets are computed anew for each update.
    }
}
