//! SAC's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite, if_set, positive_and_finite};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{RLModuleSpec, SoftActorCritic};
use serde_json::{Map, Value, json};

use super::SacLoss;
use crate::config::{EnvRunnersConfig, EnvironmentConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Replay};
use crate::off_policy::{COMMON_FIELDS, check_normalizes, check_sizes, checked_replay};

settings! {
    /// SAC's settings. The defaults are Stable-Baselines3's.
    pub struct SacTraining {
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
        /// Share of the critics that their targets take over after each update.
        set tau: f64 = 0.005, between_0_and_1;
        /// Temperature α at the start: the weight of the policy's entropy.
        set initial_alpha: f64 = 1.0, positive_and_finite;
        /// Whether the temperature is learned. Otherwise it stays at `initial_alpha`.
        set learn_alpha: bool = true;
        /// Entropy that a learned temperature leads to, in nats; `None` for the negative number of elements of an
        /// action, or for 0.89·log n in a `Discrete` space of n actions.
        into target_entropy: Option<f64> = None, if_set(finite);
        /// Number of critics. Targets and policy take the minimum of their values.
        set num_critics: usize = 2, at_least_one;
        /// Whether each hidden layer of the critics is normalized before its activation.
        set critics_use_layernorm: bool = false;
        /// Whether the critics renormalize the inputs of each layer by batches and have no targets (CrossQ); `tau` has no
        /// effect then.
        set critics_use_batch_renorm: bool = false;
        /// Updates after which batch renormalization corrects the statistics of a batch towards the running ones.
        set batch_renorm_warmup_steps: u64 = 100_000, countable;
        /// Whether the policy explores with noise that depends on the state (gSDE), in a `Box`.
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

/// Checks that updates up to a number can be counted in single precision, as part of a module.
fn countable(field: &'static str, value: &u64) -> Result<(), ConfigError> {
    const LARGEST: u64 = 1 << 23;
    match *value <= LARGEST {
        true => Ok(()),
        false => Err(ConfigError::new(field, value, format!("it must be at most {LARGEST}"))),
    }
}

/// Checks the settings of noise that depends on the state.
pub(crate) fn check_sde(use_sde: bool, sde_sample_freq: Option<u64>) -> Result<(), ConfigError> {
    let constraint = match sde_sample_freq {
        Some(0) => "noise lasts for at least 1 step; leave it out to draw noise at each round",
        Some(_) if !use_sde => "it is a setting of gSDE; set `use_sde`, or leave it out",
        _ => return Ok(()),
    };
    let value = sde_sample_freq.unwrap_or_default();
    Err(ConfigError::new("sde_sample_freq", value, constraint))
}

impl SacTraining {
    /// Checks every setting, for SAC and TQC.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        for (field, lr) in [
            ("actor_lr", &self.actor_lr),
            ("critic_lr", &self.critic_lr),
            ("alpha_lr", &self.alpha_lr),
        ] {
            lr.validate(field)?;
        }
        if self.critics_use_batch_renorm && self.critics_use_layernorm {
            let constraint = "critics are normalized by batches with `critics_use_batch_renorm`; choose one of both";
            return Err(ConfigError::new("critics_use_layernorm", true, constraint));
        }
        check_sde(self.use_sde, self.sde_sample_freq)?;
        check_sizes(&self.replay_buffer_config, self.train_batch_size, self.n_step)?;
        self.optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    /// Returns the optimizers of critics, policy and temperature.
    pub(crate) fn optimizers(&self) -> Vec<OptimizerGroup> {
        let with = |group: OptimizerGroup, lr: &Schedule| {
            let group = group.lr(lr.clone()).rule(self.optimizer);
            group.grad_clip(self.grad_clip).grad_clip_by(self.grad_clip_by)
        };
        let mut optimizers = vec![
            with(OptimizerGroup::prefixes("critic", ["qf"]), &self.critic_lr),
            with(OptimizerGroup::prefixes("actor", ["encoder", "pi"]), &self.actor_lr),
        ];
        if self.learn_alpha {
            let log_alpha = self.initial_alpha.ln() as f32;
            let group = OptimizerGroup::scalars("alpha", [(SacLoss::LOG_ALPHA, log_alpha)]);
            optimizers.push(with(group, &self.alpha_lr));
        }
        optimizers
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

/// Two layers of 256 units with ReLU, as in Stable-Baselines3, for policy and critics.
pub(crate) fn default_model_config() -> Map<String, Value> {
    [("fcnet_activation".to_owned(), json!("relu"))].into_iter().collect()
}

impl TrainingConfig for SacTraining {
    const NAME: &'static str = "SAC";
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
        Box::new(SacLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        self.plan()
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<SoftActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let settings = [
            ("num_critics", json!(self.num_critics)),
            ("critics_use_layernorm", json!(self.critics_use_layernorm)),
            ("critics_use_batch_renorm", json!(self.critics_use_batch_renorm)),
            ("batch_renorm_warmup_steps", json!(self.batch_renorm_warmup_steps)),
            ("use_sde", json!(self.use_sde)),
            ("sde_sample_freq", json!(self.sde_sample_freq)),
        ];
        settings.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
