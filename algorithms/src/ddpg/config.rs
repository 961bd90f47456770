//! DDPG's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, positive_and_finite,
};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig};
use rekindle_rl_module::{DeterministicActorCritic, RLModuleSpec};
use serde_json::{Map, Value};

use crate::config::{EnvRunnersConfig, EnvironmentConfig, TrainingConfig};
use crate::execution_plan::ExecutionPlan;
use crate::off_policy::{COMMON_FIELDS, check_normalizes, checked_replay};
use crate::td3::config::default_model_config;
use crate::td3::{Td3Loss, Td3Training};

settings! {
    /// DDPG's settings. The defaults are Stable-Baselines3's; the noise of exploration, which is 0 there, is that
    /// of TD3's paper.
    pub struct DdpgTraining {
        /// Learning rate of the policy over environment steps: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(1e-3);
        /// Learning rate of the critic over environment steps.
        into critic_lr: Schedule = Schedule::Constant(1e-3);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 256, at_least_one;
        /// The replay buffer of each module.
        set replay_buffer_config: ReplayConfig = ReplayConfig::default(), checked_replay;
        /// Environment steps before the first update. Their actions are drawn uniformly from the action space.
        set num_steps_sampled_before_learning_starts: u64 = 100;
        /// Environment steps that are collected between two rounds of updates.
        set sample_timesteps_per_update_round: usize = 1, at_least_one;
        /// Updates per environment step: 1 takes as many updates as steps.
        set updates_per_env_step: f64 = 1.0, positive_and_finite;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Steps before a sequence of a module with memory, from which its state at the start of the sequence is
        /// computed anew, without gradients; 0 begins with the stored state.
        set burn_in_len: usize = 0;
        /// Share of the networks that their targets take over after each update.
        set tau: f64 = 0.005, between_0_and_1;
        /// Standard deviation of the noise of exploration, in [−1, 1].
        set exploration_noise: f64 = 0.1, finite_and_not_negative;
        /// Whether each hidden layer of the critic is normalized before its activation.
        set critics_use_layernorm: bool = false;
        /// Bound on the gradients of each optimizer; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl DdpgTraining {
    /// Returns the settings of the TD3 that DDPG is.
    fn as_td3(&self) -> Td3Training {
        let this = self.clone();
        Td3Training {
            actor_lr: this.actor_lr,
            critic_lr: this.critic_lr,
            gamma: this.gamma,
            train_batch_size: this.train_batch_size,
            replay_buffer_config: this.replay_buffer_config,
            num_steps_sampled_before_learning_starts: this.num_steps_sampled_before_learning_starts,
            sample_timesteps_per_update_round: this.sample_timesteps_per_update_round,
            updates_per_env_step: this.updates_per_env_step,
            n_step: this.n_step,
            burn_in_len: this.burn_in_len,
            tau: this.tau,
            policy_delay: 1,
            target_noise: 0.0,
            target_noise_clip: 0.0,
            exploration_noise: this.exploration_noise,
            num_critics: 1,
            critics_use_layernorm: this.critics_use_layernorm,
            grad_clip: this.grad_clip,
            grad_clip_by: this.grad_clip_by,
            optimizer: this.optimizer,
        }
    }
}

impl TrainingConfig for DdpgTraining {
    const NAME: &'static str = "DDPG";
    const COMMON_FIELDS: &'static [&'static str] = COMMON_FIELDS;

    fn validate(&self) -> Result<(), ConfigError> {
        self.as_td3().check()
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)
    }

    fn check_environment(&self, environment: &EnvironmentConfig) -> Result<(), ConfigError> {
        check_normalizes(Self::NAME, environment)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        self.as_td3().of_learner()
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(Td3Loss::named(Self::NAME, self.as_td3()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        self.as_td3().plan()
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<DeterministicActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        self.as_td3().module_settings()
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
