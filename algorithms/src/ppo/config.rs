//! PPO's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, if_set, positive, positive_and_finite,
};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::{
    GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup, Schedule,
};
use serde_json::{Map, Value};

use super::PpoLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// PPO's settings. The defaults are RLlib's.
    pub struct PpoTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(5e-5);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// λ of generalized advantage estimation: 0 trusts the value function, 1 the returns.
        set lambda_: f64 = 1.0, between_0_and_1;
        /// Environment steps per update; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 4000, rows;
        /// Passes over the batch per update.
        set num_epochs: usize = 30;
        /// Rows per minibatch; `None` takes the whole batch at once.
        into minibatch_size: Option<usize> = Some(128);
        /// Whether each pass visits the rows in a new random order.
        set shuffle_batch_per_epoch: bool = true;
        /// Whether a value function serves as baseline.
        ///
        /// Without a baseline, advantages are the discounted rewards until the end of the episode,
        /// and the module needs no value function. A fragment of an episode has no such sum, so
        /// [`BatchMode::CompleteEpisodes`](crate::BatchMode::CompleteEpisodes) is required. A time
        /// limit then counts as the end of the episode.
        set use_critic: bool = true;
        /// Whether advantages are generalized advantage estimates. Otherwise they are returns minus
        /// values.
        set use_gae: bool = true;
        /// Whether the loss penalizes the divergence from the old policy.
        set use_kl_loss: bool = true;
        /// Initial weight of the KL penalty. It adapts to `kl_target` between 1e-6 and 1e6.
        set kl_coeff: f64 = 0.2, finite_and_not_negative;
        /// Target divergence per update, to which the weight of the KL penalty adapts.
        set kl_target: f64 = 0.01, positive_and_finite;
        /// Divergence from the old policy that ends an update early, as in Stable-Baselines3: the
        /// first minibatch whose mean divergence exceeds 1.5 times this value, and all later ones of
        /// the update, are skipped. `None` never ends an update early. On an accelerator every
        /// minibatch then waits for the device.
        into target_kl: Option<f64> = None, if_set(positive_and_finite);
        /// Weight of the value loss.
        set vf_loss_coeff: f64 = 1.0, finite_and_not_negative;
        /// Weight of the entropy bonus over environment steps: a number, or points `(step, weight)`.
        into entropy_coeff: Schedule = Schedule::Constant(0.0);
        /// Clip range of the surrogate: the ratio of new to old probability is clipped to 1 ± this
        /// value.
        set clip_param: f64 = 0.3, positive_and_finite;
        /// Bound on the squared error of the value function. Infinity (`null` in JSON) does not
        /// clip. Scale it with the squared scale of the returns.
        #[serde(with = "rekindle_core::settings::infinity")]
        set vf_clip_param: f64 = 10.0, positive;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = None, if_set(positive_and_finite);
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

/// Checks a number of rows. Devices number them by 32-bit integers.
fn rows(field: &'static str, value: &usize) -> Result<(), ConfigError> {
    at_least_one(field, value)?;
    match i32::try_from(*value) {
        Ok(_) => Ok(()),
        Err(_) => Err(ConfigError::new(field, value, "it must be at most 2147483647")),
    }
}

impl TrainingConfig for PpoTraining {
    const NAME: &'static str = "PPO";

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        if let Some(size) = self.minibatch_size
            && size > self.train_batch_size
        {
            let batch = self.train_batch_size;
            let constraint = format!("it must not exceed `train_batch_size` ({batch})");
            return Err(ConfigError::new("minibatch_size", size, constraint));
        }
        self.entropy_coeff.validate("entropy_coeff")?;
        self.learner().validate()?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)?;
        if self.use_critic { Ok(()) } else { env_runners.check_completes_episodes() }
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default()
            .num_epochs(self.num_epochs)
            .minibatch_size(self.minibatch_size)
            .shuffle_batch_per_epoch(self.shuffle_batch_per_epoch)
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(PpoLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(false))])
    }
}
