//! CQL's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite, finite_and_not_negative, if_set, positive_and_finite,
};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::NStep;
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{RLModuleSpec, SoftActorCritic};
use serde_json::{Map, Value};

use super::CqlLoss;
use crate::SacTraining;
use crate::config::{EnvironmentConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Offline};
use crate::off_policy::{check_normalizes, critic_settings};
use crate::sac::config::default_model_config;

settings! {
    /// CQL's settings. The defaults are RLlib's.
    pub struct CqlTraining {
        /// Learning rate of the policy over steps learned from: a number, or points `(step, rate)`.
        into actor_lr: Schedule = Schedule::Constant(1e-4);
        /// Learning rate of the critics over steps learned from, and of the weight of the penalty with `lagrangian`.
        into critic_lr: Schedule = Schedule::Constant(1e-3);
        /// Learning rate of the logarithm of the temperature over steps learned from.
        into alpha_lr: Schedule = Schedule::Constant(1e-3);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 256, at_least_one;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Share of the critics that their targets take over after each update.
        set tau: f64 = 0.005, between_0_and_1;
        /// Temperature α at the start: the weight of the policy's entropy.
        set initial_alpha: f64 = 1.0, positive_and_finite;
        /// Entropy that the temperature leads to, in nats; `None` as in [`SacTraining`].
        into target_entropy: Option<f64> = None, if_set(finite);
        /// Number of critics. Targets and policy take the minimum of their values.
        set num_critics: usize = 2, at_least_one;
        /// Updates of the policy by behavior cloning before it follows the critics.
        set bc_iters: u64 = 20_000;
        /// Temperature of the soft maximum in the penalty.
        set temperature: f64 = 1.0, positive_and_finite;
        /// Actions of each of three kinds that the penalty samples in a `Box`: uniform ones, and those of the policy
        /// at the observation and at the next one.
        set num_actions: usize = 10, at_least_one;
        /// Whether sampled actions are weighted by the inverse of their density. Otherwise the penalty also counts
        /// the action of the data, as in the first version of CQL.
        set importance_sample: bool = true;
        /// Weight of the penalty.
        set min_q_weight: f64 = 5.0, finite_and_not_negative;
        /// Whether a multiplier of the penalty is learned, which keeps its weighted gap at `lagrangian_thresh`.
        set lagrangian: bool = false;
        /// The weighted gap between sampled actions and those of the data that `lagrangian` allows.
        set lagrangian_thresh: f64 = 5.0, finite;
        /// Whether targets leave out the entropy of the policy.
        set deterministic_backup: bool = true;
        /// Whether the values of the policy's actions count at least as much as the return of the data in the penalty
        /// (Cal-QL; Nakamoto et al., 2023), which makes learning on in an environment faster. In a `Box`, and with the
        /// plan [`Offline`](crate::Offline), whose episodes have returns; [`Replay`](crate::Replay) refuses it.
        set calibrated: bool = false;
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

impl CqlTraining {
    /// Returns the settings that CQL has in common with SAC.
    pub(super) fn sac(&self) -> SacTraining {
        SacTraining::default()
            .actor_lr(self.actor_lr.clone())
            .critic_lr(self.critic_lr.clone())
            .alpha_lr(self.alpha_lr.clone())
            .gamma(self.gamma)
            .train_batch_size(self.train_batch_size)
            .n_step(self.n_step)
            .tau(self.tau)
            .initial_alpha(self.initial_alpha)
            .target_entropy(self.target_entropy)
            .num_critics(self.num_critics)
            .critics_use_layernorm(self.critics_use_layernorm)
            .grad_clip(self.grad_clip)
            .grad_clip_by(self.grad_clip_by)
            .optimizer(self.optimizer)
    }

    /// Returns the optimizers of critics, policy, temperature and multiplier.
    pub(super) fn optimizers(&self) -> Vec<OptimizerGroup> {
        let mut optimizers = self.sac().optimizers();
        if self.lagrangian {
            let group = OptimizerGroup::scalars("lagrangian", [(CqlLoss::LOG_MULTIPLIER, 0.0)])
                .lr(self.critic_lr.clone())
                .rule(self.optimizer);
            optimizers.push(group.grad_clip(self.grad_clip).grad_clip_by(self.grad_clip_by));
        }
        optimizers
    }
}

impl TrainingConfig for CqlTraining {
    const NAME: &'static str = "CQL";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.sac().check()?;
        if !self.lagrangian && self.lagrangian_thresh != Self::default().lagrangian_thresh {
            let constraint =
                "it is the gap of `lagrangian`; set that to true, or remove the setting";
            return Err(ConfigError::new("lagrangian_thresh", self.lagrangian_thresh, constraint));
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
        Box::new(CqlLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Offline::new(self.train_batch_size))
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<SoftActorCritic>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        critic_settings(self.num_critics, self.critics_use_layernorm)
    }

    fn default_model_config() -> Map<String, Value> {
        default_model_config()
    }
}
