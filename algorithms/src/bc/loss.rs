//! The loss of behavior cloning.

use rekindle_checkpoint::State;
use rekindle_learner::{Loss, LossContext, Losses, OptimizerGroup, Result};

use super::BcTraining;
use crate::config::one_optimizer;

/// The negative log-likelihood of the actions of the data: `−mean(logp)`.
#[derive(Debug, Clone)]
pub struct BcLoss {
    config: BcTraining,
}

impl BcLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: BcTraining) -> Self {
        Self { config }
    }
}

impl Loss for BcLoss {
    fn name(&self) -> &str {
        "BC"
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let BcTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let policy_loss = cx.mean(cx.logp()?)?.neg();
        Ok(Losses::new(policy_loss.clone()).metric("policy_loss", policy_loss))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}
