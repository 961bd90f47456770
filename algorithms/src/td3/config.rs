//! TD3's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, positive_and_finite,
};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{DeterministicActorCritic, RLModuleSpec};
use serde_json::{Map, Value, json};

use super::Td3Loss;
use crate::config::{EnvRunnersConfig, EnvironmentConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Replay};
use crate::off_policy::{COMMON_FIELDS, check_normalizes, check_sizes, checked_replay};

settings! {
    /// TD3's settings. The defaults are Stable-Baselines3's; the noise of exploration, which is 0 there, is the
    /// paper's.
    pub struct Td3Training {
        /// Learning rate of the policy over environment steps: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(1e-3);
        /// Learning rate of the critics over environment steps.
        into critic_lr: Schedule = Schedule::Constant(1e-3);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 256, at_least_one;
        /// The replay buffer of each module.
        set replay_buffer_config: ReplayConfig = ReplayConfig::default(), checked_replay;
        /// Environment steps before the first update. Their actions are drawn uniformly from the action space.
        set num_steps_sampled_before_learning_starts: u64 = 100;
        /// Environment steps that are collected between two rounds of updates; Stable-Baselines3's `train_freq`
        /// times its environments.
        set sample_timesteps_per_update_round: usize = 1, at_least_one;
        /// Updates per environment step: 1 takes as many updates as steps.
        set updates_per_env_step: f64 = 1.0, positive_and_finite;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Steps before a sequence of a module with memory, from which its state at the start of the sequence is
        /// computed anew, without gradients; 0 begins with the stored state.
        set burn_in_len: usize = 0;
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
        /// Standard deviation of the noise of exploration, in [−1, 1].
        set exploration_noise: f64 = 0.1, finite_and_not_negative;
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

impl Td3Training {
    /// Checks every setting, for TD3 and DDPG.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.actor_lr.validate("actor_lr")?;
        self.critic_lr.validate("critic_lr")?;
        check_sizes(&self.replay_buffer_config, self.train_batch_size, self.n_step)?;
        self.optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    /// Returns the optimizers of critics and policy.
    pub(crate) fn optimizers(&self) -> Vec<OptimizerGroup> {
        let with = |group: OptimizerGroup, lr: &Schedule| {
            let group = group.lr(lr.clone()).rule(self.optimizer);
            group.grad_clip(self.grad_clip).grad_clip_by(self.grad_clip_by)
        };
        vec![
            with(OptimizerGroup::prefixes("critic", ["qf"]), &self.critic_lr),
            with(OptimizerGroup::prefixes("actor", ["encoder", "pi"]), &self.actor_lr),
        ]
    }

    /// Returns the learner's settings.
    pub(crate) fn of_learner(&self) -> LearnerConfig {
        LearnerConfig::default().minibatch_size(self.train_batch_size)
    }

    /// Returns the plan.
    pub(crate) fn plan(&self) -> Box<dyn ExecutionPlan> {
        let plan = Replay::new(self.replay_buffer_config.clone(), self.train_batch_size)
            .learning_starts(self.num_steps_sampled_before_learning_starts)
            .random_warmup(true)
            .sample_timesteps(self.sample_timesteps_per_update_round)
            .updates_per_env_step(self.updates_per_env_step);
        Box::new(plan)
    }
}

/// Two layers of 400 and 300 units with ReLU, as in Stable-Baselines3, for policy and critics.
pub(crate) fn default_model_config() -> Map<String, Value> {
    let fields = [("fcnet_hiddens", json!([400, 300])), ("fcnet_activation", json!("relu"))];
    fields.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
}

impl TrainingConfig for Td3Training {
    const NAME: &'static str = "TD3";
    const COMMON_FIELDS: &'static [&'static str] = COMMON_FIELDS;

    fn validate(&self) -> Result<(), ConfigError> {
        self.check()
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
        self.of_learner()
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(Td3Loss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        self.plan()
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<DeterministicActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let settings = [
            ("num_critics", json!(self.num_critics)),
            ("exploration_noise", json!(self.exploration_noise)),
            ("critics_use_layernorm", json!(self.critics_use_layernorm)),
        ];
        settings.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
