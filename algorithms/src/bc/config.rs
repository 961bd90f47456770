//! The settings of behavior cloning.

use rekindle_core::settings::at_least_one;
use rekindle_core::{ConfigError, settings};
use rekindle_learner::{
    GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup, Schedule,
};
use serde_json::{Map, Value};

use super::BcLoss;
use crate::config::TrainingConfig;
use crate::execution_plan::{ExecutionPlan, Offline};

settings! {
    /// The settings of behavior cloning. The defaults are RLlib's.
    pub struct BcTraining {
        /// Learning rate over steps learned from: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(1e-4);
        /// Steps of a minibatch.
        set train_batch_size: usize = 2000, at_least_one;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

/// Returns the learner's settings of algorithms that learn from whole episodes: shuffled rows of all of them.
pub(crate) fn of_learner(train_batch_size: usize) -> LearnerConfig {
    LearnerConfig::default().minibatch_size(train_batch_size).shuffle_batch_per_epoch(true)
}

impl TrainingConfig for BcTraining {
    const NAME: &'static str = "BC";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        of_learner(self.train_batch_size)
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(BcLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Offline::new(self.train_batch_size))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}
