//! MARWIL's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, positive_and_finite,
};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::{
    GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup, Schedule,
};
use serde_json::{Map, Value};

use super::MarwilLoss;
use crate::bc::config::of_learner;
use crate::config::TrainingConfig;
use crate::execution_plan::{ExecutionPlan, Offline};

settings! {
    /// MARWIL's settings. The defaults are RLlib's.
    pub struct MarwilTraining {
        /// Learning rate over steps learned from: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(1e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// λ of generalized advantage estimation: 1 takes returns of episodes as value targets.
        set lambda_: f64 = 1.0, between_0_and_1;
        /// Steps of a minibatch.
        set train_batch_size: usize = 2000, at_least_one;
        /// Exponent of the weights `exp(beta·A/c)` of actions, with the advantage A and its scale c; 0 clones all
        /// actions alike.
        set beta: f64 = 1.0, finite_and_not_negative;
        /// Weight of the value loss.
        set vf_coeff: f64 = 1.0, finite_and_not_negative;
        /// Rate at which the moving average of squared advantages, c², follows those of each minibatch.
        set moving_average_sqd_adv_norm_update_rate: f64 = 1e-8, between_0_and_1;
        /// The moving average of squared advantages at the start.
        set moving_average_sqd_adv_norm_start: f64 = 100.0, positive_and_finite;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl TrainingConfig for MarwilTraining {
    const NAME: &'static str = "MARWIL";
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
        Box::new(MarwilLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Offline::new(self.train_batch_size))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}
