//! PQN's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, if_set};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{QNetwork, RLModuleSpec};
use serde_json::{Map, Value, json};

use super::PqnLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// PQN's settings. The defaults are CleanRL's, for 4 environments with 128 steps each.
    pub struct PqnTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(2.5e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// λ of the returns: 0 takes one step, 1 the rewards until the end of the fragment.
        set lambda_: f64 = 0.65, between_0_and_1;
        /// Environment steps per update; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 512, at_least_one;
        /// Passes over the batch per update.
        set num_epochs: usize = 4, at_least_one;
        /// Rows per minibatch; `None` takes the whole batch at once.
        into minibatch_size: Option<usize> = Some(128), if_set(at_least_one);
        /// Whether each pass visits the rows in a new random order.
        set shuffle_batch_per_epoch: bool = true;
        /// Probability of a random action over environment steps.
        into epsilon: Schedule = Schedule::from([(0, 1.0), (250_000, 0.05)]);
        /// Whether action values are the sum of a value and of advantages.
        set dueling: bool = false;
        /// Whether every hidden layer of the default module is normalized. Without target networks, training
        /// diverges where layers are not.
        set use_layernorm: bool = true;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = Some(10.0);
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::r_adam();
    }
}

impl TrainingConfig for PqnTraining {
    const NAME: &'static str = "PQN";

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.epsilon.validate("epsilon")?;
        if let Some(size) = self.minibatch_size
            && size > self.train_batch_size
        {
            let batch = self.train_batch_size;
            let constraint = format!("it must not exceed `train_batch_size` ({batch})");
            return Err(ConfigError::new("minibatch_size", size, constraint));
        }
        self.learner().validate()?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)?;
        if env_runners.on_device {
            let constraint = "environments on the device draw actions from a distribution, and modules of PQN choose them by themselves; set it to false";
            return Err(ConfigError::new("env_runners.on_device", true, constraint));
        }
        Ok(())
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
        Box::new(PqnLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<QNetwork>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let settings = [
            ("epsilon", json!(self.epsilon)),
            ("dueling", json!(self.dueling)),
            ("use_layernorm", json!(self.use_layernorm)),
            ("target_network", json!(false)),
        ];
        settings.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
    }
}
