//! The plan of on-policy algorithms.

use rekindle_checkpoint::State;
use rekindle_learner::{Learner, ModuleData};

use super::asynchronous::learn;
use super::{ExecutionPlan, StepReport, TrainingContext, check_size};
use crate::{EnvRunnersConfig, Result};

/// Collects a batch with all runners, learns from it, and gives the runners the new weights: the plan of
/// PPO, A2C and policy gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synchronous {
    train_batch_size: usize,
}

impl Synchronous {
    /// Creates a plan that collects `train_batch_size` steps per update.
    #[must_use]
    pub fn new(train_batch_size: usize) -> Self {
        Self { train_batch_size }
    }
}

impl ExecutionPlan for Synchronous {
    fn name(&self) -> &str {
        "Synchronous"
    }

    fn check(&self, _: &Learner, _: &EnvRunnersConfig) -> Result<()> {
        Ok(check_size(self.name(), "train_batch_size", self.train_batch_size)?)
    }

    fn learns_on_device(&self) -> bool {
        true
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let experience = cx.sample(self.train_batch_size)?;
        cx.update(&experience)?;
        cx.publish_weights()?;
        Ok(StepReport::of(&experience))
    }

    fn takes_batches(&self) -> bool {
        true
    }

    fn learn_from_batch(&mut self, cx: &mut TrainingContext<'_>, data: ModuleData) -> Result<()> {
        learn(cx.learner, None, data, cx.env_steps())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}
