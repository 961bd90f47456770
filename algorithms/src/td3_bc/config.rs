//! TD3+BC's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, positive_and_finite,
};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::NStep;
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig};
use rekindle_rl_module::{DeterministicActorCritic, RLModuleSpec};
use serde_json::{Map, Value};

use super::Td3BcLoss;
use crate::Td3Training;
use crate::config::{EnvironmentConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Offline};
use crate::off_policy::{check_normalizes, critic_settings};
use crate::sac::config::default_model_config;

settings! {
    /// TD3+BC's settings. The defaults are those of the paper.
    pub struct Td3BcTraining {
        /// Learning rate of the policy over steps learned from: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(3e-4);
        /// Learning rate of the critics over steps learned from.
        into critic_lr: Schedule = Schedule::Constant(3e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 256, at_least_one;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Steps before a sequence of a module with memory, from which its state at the start of the sequence is
        /// computed anew, without gradients; 0 begins with the recorded state.
        set burn_in_len: usize = 0;
        /// Weight of the values of the policy's actions, whose mean absolute value is scaled to 1; the squared
        /// distance from the actions of the data has weight 1.
        set alpha: f64 = 2.5, positive_and_finite;
        /// Share of the networks that their targets take over when they move.
        set tau: f64 = 0.005, between_0_and_1;
        /// Updates of the critics for each update of policy and targets.
        set policy_delay: u64 = 2,
            |field, delay: &u64| match delay {
                0 => Err(ConfigError::new(field, delay, "it must be at least 1")),
                _ => Ok(()),
            };
        /// Standard deviation of the noise on target actions, in [−1, 1].
        set target_noise: f64 = 0.2, finite_and_not_negative;
        /// Bound on the noise on target actions.
        set target_noise_clip: f64 = 0.5, finite_and_not_negative;
        /// Number of critics. Targets take the minimum of their values, and the policy the values of the first.
        set num_critics: usize = 2, at_least_one;
        /// Whether each hidden layer of the critics is normalized before its activation.
        set critics_use_layernorm: bool = false;
        /// Bound on the gradients of each optimizer; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl Td3BcTraining {
    /// Returns the settings that TD3+BC has in common with TD3.
    pub(super) fn td3(&self) -> Td3Training {
        Td3Training::default()
            .actor_lr(self.actor_lr.clone())
            .critic_lr(self.critic_lr.clone())
            .gamma(self.gamma)
            .train_batch_size(self.train_batch_size)
            .n_step(self.n_step)
            .burn_in_len(self.burn_in_len)
            .tau(self.tau)
            .policy_delay(self.policy_delay)
            .target_noise(self.target_noise)
            .target_noise_clip(self.target_noise_clip)
            .num_critics(self.num_critics)
            .critics_use_layernorm(self.critics_use_layernorm)
            .grad_clip(self.grad_clip)
            .grad_clip_by(self.grad_clip_by)
            .optimizer(self.optimizer)
    }
}

impl TrainingConfig for Td3BcTraining {
    const NAME: &'static str = "TD3BC";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.td3().check()
    }

    fn check_environment(&self, environment: &EnvironmentConfig) -> Result<(), ConfigError> {
        check_normalizes("TD3+BC", environment)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default().minibatch_size(self.train_batch_size)
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(Td3BcLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Offline::new(self.train_batch_size))
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<DeterministicActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        critic_settings(self.num_critics, self.critics_use_layernorm)
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
