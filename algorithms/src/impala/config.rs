//! IMPALA's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite_and_not_negative, positive};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::ops::VTraceConfig;
use rekindle_learner::{GradClipBy, Loss, OptimizerConfig, OptimizerGroup, Schedule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ImpalaLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig, vtrace_config};
use crate::execution_plan::{Asynchronous, ExecutionPlan};

/// How the loss terms of the rows of a batch become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossReduction {
    /// Their mean, as in RLlib.
    #[default]
    Mean,
    /// Their sum, as in the paper. The learning rate must fit.
    Sum,
}

settings! {
    /// IMPALA's settings. The defaults are RLlib's.
    pub struct ImpalaTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(5e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// λ of V-trace: 1 takes multi-step targets, 0 one-step targets.
        set lambda_: f64 = 1.0, between_0_and_1;
        /// Environment steps per batch; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 500, at_least_one;
        /// Steps that each environment takes before its runner hands over its experience.
        set fragment_length: usize = 50, at_least_one;
        /// Upper bound of the importance ratio in the temporal differences of V-trace.
        set vtrace_clip_rho_threshold: f64 = 1.0, positive;
        /// Upper bound of the importance ratio in the advantages of V-trace.
        set vtrace_clip_pg_rho_threshold: f64 = 1.0, positive;
        /// Weight of the value loss.
        set vf_loss_coeff: f64 = 0.5, finite_and_not_negative;
        /// Weight of the entropy bonus over environment steps: a number, or points `(step, weight)`.
        into entropy_coeff: Schedule = Schedule::Constant(0.01);
        /// How the loss terms of the rows become one number.
        set loss_reduction: LossReduction = LossReduction::Mean;
        /// Batches that may wait for the learner. The runners wait while the queue is full.
        set learner_queue_size: usize = 3;
        /// Updates after which the runners get new weights.
        set broadcast_interval: usize = 1, at_least_one;
        /// Whether experience is handed over in a fixed order, so that equal seeds give equal runs.
        set deterministic: bool = false;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = Some(40.0);
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::default();
    }
}

impl ImpalaTraining {
    pub(super) fn vtrace(&self) -> VTraceConfig {
        let thresholds = [self.vtrace_clip_rho_threshold, self.vtrace_clip_pg_rho_threshold];
        vtrace_config(self.gamma, self.lambda_, thresholds)
    }
}

impl TrainingConfig for ImpalaTraining {
    const NAME: &'static str = "IMPALA";
    const COMMON_FIELDS: &'static [&'static str] = &[
        "train_batch_size",
        "fragment_length",
        "learner_queue_size",
        "broadcast_interval",
        "deterministic",
    ];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.entropy_coeff.validate("entropy_coeff")?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)?;
        env_runners.check_truncates_episodes(Self::NAME)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(ImpalaLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        let plan = Asynchronous::new(self.train_batch_size, self.fragment_length);
        let plan = plan.queue_size(self.learner_queue_size).deterministic(self.deterministic);
        Box::new(plan.broadcast_interval(self.broadcast_interval as u64))
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(true))])
    }
}
