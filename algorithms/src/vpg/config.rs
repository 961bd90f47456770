//! The settings of vanilla policy gradients.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite_and_not_negative};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::{GradClipBy, Loss, OptimizerConfig, OptimizerGroup, Schedule};
use serde_json::{Map, Value};

use super::VpgLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// The settings of vanilla policy gradients.
    pub struct VpgTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(4e-3);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Environment steps per update; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 512, at_least_one;
        /// Whether a value function serves as baseline.
        ///
        /// Without one, actions are weighted by the discounted rewards until the end of the episode. A
        /// fragment of an episode has no such sum, so
        /// [`BatchMode::CompleteEpisodes`](crate::BatchMode::CompleteEpisodes) is required. A time limit
        /// then counts as the end of the episode.
        set use_critic: bool = true;
        /// λ of generalized advantage estimation, with a critic: 1 takes returns minus values.
        set lambda_: f64 = 1.0, between_0_and_1;
        /// Weight of the value loss, with a critic.
        set vf_loss_coeff: f64 = 0.5, finite_and_not_negative;
        /// Whether returns or advantages are standardized in each batch.
        set standardize_advantages: bool = true;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl TrainingConfig for VpgTraining {
    const NAME: &'static str = "VPG";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)?;
        if self.use_critic { Ok(()) } else { env_runners.check_completes_episodes() }
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(VpgLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}
