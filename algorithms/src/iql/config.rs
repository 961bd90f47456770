//! IQL's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite_and_not_negative};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::NStep;
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{RLModuleSpec, SoftActorCritic};
use serde_json::{Map, Value, json};

use super::IqlLoss;
use crate::config::{EnvironmentConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Offline};
use crate::off_policy::{check_normalizes, critic_settings};
use crate::sac::config::default_model_config;

settings! {
    /// IQL's settings. The defaults are RLlib's.
    pub struct IqlTraining {
        /// Learning rate of the policy over steps learned from: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(3e-4);
        /// Learning rate of the critics over steps learned from.
        into critic_lr: Schedule = Schedule::Constant(3e-4);
        /// Learning rate of the value function over steps learned from.
        into value_lr: Schedule = Schedule::Constant(3e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 256, at_least_one;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Share of the critics that their targets take over after each update; 1 copies them.
        set tau: f64 = 1.0, between_0_and_1;
        /// Number of critics. The value function and the policy read the minimum of their values.
        set num_critics: usize = 2, at_least_one;
        /// The expectile of the values of the data's actions that the value function estimates: 0.5 is their mean,
        /// and 1 their maximum.
        set expectile: f64 = 0.8, between_0_and_1;
        /// Factor of advantages in the weights `min(exp(beta·A), 100)` of the data's actions: 0 clones all alike.
        set beta: f64 = 0.1, finite_and_not_negative;
        /// Whether each hidden layer of critics and value function is normalized before its activation.
        set critics_use_layernorm: bool = false;
        /// Bound on the gradients of each optimizer; `None` does not clip.
        into grad_clip: Option<f64> = None;
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl IqlTraining {
    /// Returns the optimizers of value function, critics and policy.
    pub(super) fn optimizers(&self) -> Vec<OptimizerGroup> {
        let with = |name: &str, prefixes: &[&str], lr: &Schedule| {
            let group = OptimizerGroup::prefixes(name, prefixes.iter().copied());
            let group = group.lr(lr.clone()).rule(self.optimizer);
            group.grad_clip(self.grad_clip).grad_clip_by(self.grad_clip_by)
        };
        vec![
            with("value", &["vf"], &self.value_lr),
            with("critic", &["qf"], &self.critic_lr),
            with("actor", &["encoder", "pi"], &self.actor_lr),
        ]
    }
}

impl TrainingConfig for IqlTraining {
    const NAME: &'static str = "IQL";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        for (field, lr) in [
            ("actor_lr", &self.actor_lr),
            ("critic_lr", &self.critic_lr),
            ("value_lr", &self.value_lr),
        ] {
            lr.validate(field)?;
        }
        self.optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_environment(&self, environment: &EnvironmentConfig) -> Result<(), ConfigError> {
        check_normalizes(Self::NAME, environment)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default().minibatch_size(self.train_batch_size)
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(IqlLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Offline::new(self.train_batch_size))
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<SoftActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let mut settings = critic_settings(self.num_critics, self.critics_use_layernorm);
        settings.insert("use_value_function".into(), json!(true));
        settings
    }

    fn default_model_config() -> Map<String, Value> {
        let mut config = default_model_config();
        config.insert("squash_policy".into(), json!(false));
        config
    }
}
