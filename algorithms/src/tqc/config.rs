//! TQC's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, positive_and_finite};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig};
use rekindle_rl_module::{RLModuleSpec, SoftActorCritic};
use serde_json::{Map, Value, json};

use crate::config::{EnvRunnersConfig, EnvironmentConfig, TrainingConfig};
use crate::execution_plan::ExecutionPlan;
use crate::off_policy::{COMMON_FIELDS, check_normalizes, checked_replay};
use crate::sac::config::default_model_config;
use crate::sac::{SacLoss, SacTraining};

settings! {
    /// TQC's settings. The defaults are sb3-contrib's.
    pub struct TqcTraining {
        /// Learning rate of the policy over environment steps: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(3e-4);
        /// Learning rate of the critics over environment steps.
        into critic_lr: Schedule = Schedule::Constant(3e-4);
        /// Learning rate of the logarithm of the temperature over environment steps.
        into alpha_lr: Schedule = Schedule::Constant(3e-4);
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
        /// Share of the critics that their targets take over after each update.
        set tau: f64 = 0.005, between_0_and_1;
        /// Temperature α at the start: the weight of the policy's entropy.
        set initial_alpha: f64 = 1.0, positive_and_finite;
        /// Whether the temperature is learned. Otherwise it stays at `initial_alpha`.
        set learn_alpha: bool = true;
        /// Entropy that a learned temperature leads to, in nats; `None` for the negative number of elements of an
        /// action.
        into target_entropy: Option<f64> = None;
        /// Number of critics.
        set num_critics: usize = 2, at_least_one;
        /// Quantiles that each critic estimates.
        set num_quantiles: usize = 25, at_least_one;
        /// Largest quantiles that targets leave out, per critic.
        set top_quantiles_to_drop_per_critic: usize = 2;
        /// Whether each hidden layer of the critics is normalized before its activation.
        set critics_use_layernorm: bool = false;
        /// Whether the policy explores with noise that depends on the state (gSDE).
        set use_sde: bool = false;
        /// Steps of an environment that this noise lasts for; `None` draws it anew at each round of collection.
        into sde_sample_freq: Option<u64> = None;
        /// Bound on the gradients of each optimizer; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl TqcTraining {
    /// Returns the settings that SAC has, too.
    fn of_sac(&self) -> SacTraining {
        let this = self.clone();
        SacTraining {
            actor_lr: this.actor_lr,
            critic_lr: this.critic_lr,
            alpha_lr: this.alpha_lr,
            gamma: this.gamma,
            train_batch_size: this.train_batch_size,
            replay_buffer_config: this.replay_buffer_config,
            num_steps_sampled_before_learning_starts: this.num_steps_sampled_before_learning_starts,
            sample_timesteps_per_update_round: this.sample_timesteps_per_update_round,
            updates_per_env_step: this.updates_per_env_step,
            n_step: this.n_step,
            burn_in_len: this.burn_in_len,
            tau: this.tau,
            initial_alpha: this.initial_alpha,
            learn_alpha: this.learn_alpha,
            target_entropy: this.target_entropy,
            num_critics: this.num_critics,
            critics_use_layernorm: this.critics_use_layernorm,
            grad_clip: this.grad_clip,
            grad_clip_by: this.grad_clip_by,
            optimizer: this.optimizer,
            use_sde: this.use_sde,
            sde_sample_freq: this.sde_sample_freq,
            ..SacTraining::default()
        }
    }
}

impl TrainingConfig for TqcTraining {
    const NAME: &'static str = "TQC";
    const COMMON_FIELDS: &'static [&'static str] = COMMON_FIELDS;

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        let (dropped, quantiles) = (self.top_quantiles_to_drop_per_critic, self.num_quantiles);
        if dropped >= quantiles {
            let constraint = format!(
                "targets need a quantile of each critic: it must be below `num_quantiles` ({quantiles})"
            );
            return Err(ConfigError::new("top_quantiles_to_drop_per_critic", dropped, constraint));
        }
        self.of_sac().check()
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
        self.of_sac().of_learner()
    }

    fn loss(&self) -> Box<dyn Loss> {
        let dropped = self.top_quantiles_to_drop_per_critic;
        Box::new(SacLoss::of_quantiles(Self::NAME, self.of_sac(), dropped))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        self.of_sac().plan()
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<SoftActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let mut settings = self.of_sac().module_settings();
        settings.insert("num_quantiles".into(), json!(self.num_quantiles));
        settings
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
