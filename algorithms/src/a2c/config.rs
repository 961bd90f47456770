//! A2C's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite_and_not_negative};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::{GradClipBy, Loss, OptimizerConfig, OptimizerGroup, Schedule};
use serde_json::{Map, Value};

use super::A2cLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// A2C's settings. The defaults are Stable-Baselines3's.
    pub struct A2cTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(7e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// λ of generalized advantage estimation: 0 trusts the value function, 1 the returns.
        set lambda_: f64 = 1.0, between_0_and_1;
        /// Environment steps per update, agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so: 8 environments with 5 steps
        /// each, for example.
        set train_batch_size: usize = 40, at_least_one;
        /// Weight of the value loss.
        set vf_loss_coeff: f64 = 0.5, finite_and_not_negative;
        /// Weight of the entropy bonus over environment steps: a number, or points `(step, weight)`.
        into entropy_coeff: Schedule = Schedule::Constant(0.0);
        /// Whether advantages are standardized in each batch.
        set standardize_advantages: bool = false;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = Some(0.5);
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::rms_prop(1e-5);
    }
}

impl TrainingConfig for A2cTraining {
    const NAME: &'static str = "A2C";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.entropy_coeff.validate("entropy_coeff")?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(A2cLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}
