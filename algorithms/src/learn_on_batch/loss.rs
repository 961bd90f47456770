//! The loss of a run whose modules learn by themselves: it refuses all others.

use rekindle_checkpoint::State;
use rekindle_learner::{LearnerError, Loss, LossContext, Losses, OptimizerGroup, Result};
use rekindle_rl_module::Role;

use super::LearnOnBatchTraining;
use crate::config::TrainingConfig;

/// Refuses modules that do not learn by themselves.
#[derive(Debug)]
pub(super) struct OnlyLearnOnBatch;

impl Loss for OnlyLearnOnBatch {
    fn name(&self) -> &str {
        LearnOnBatchTraining::NAME
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::LearnOnBatch]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        Vec::new()
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        cx.module.require(Role::LearnOnBatch, "the LearnOnBatch learner")?;
        Err(LearnerError::custom("a module that learns from a batch by itself has no loss"))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}
