//! APPO's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, finite_and_not_negative, positive};
use rekindle_core::{ConfigError, settings};
use rekindle_learner::ops::VTraceConfig;
use rekindle_learner::{GradClipBy, Loss, OptimizerConfig, OptimizerGroup, Schedule};
use serde_json::{Map, Value};

use super::AppoLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig, vtrace_config};
use crate::execution_plan::{Asynchronous, ExecutionPlan};

settings! {
    /// APPO's settings. The defaults are RLlib's.
    pub struct AppoTraining {
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
        /// Clip range of the surrogate: the ratio to the target policy is clipped to 1 ± this value.
        set clip_param: f64 = 0.4, positive;
        /// Upper bound of the ratio of the policy that acted to the target policy.
        set target_worker_clipping: f64 = 2.0, positive;
        /// Updates between two renewals of the target policy, in units of
        /// `circular_buffer_num_batches · circular_buffer_iterations_per_batch`.
        set target_network_update_freq: f64 = 2.0, positive;
        /// Share of the policy that a renewal of the target policy takes over; 1 copies it.
        set tau: f64 = 1.0, between_0_and_1;
        /// Whether the loss penalizes the divergence from the target policy.
        set use_kl_loss: bool = false;
        /// Initial weight of the KL penalty. It adapts to `kl_target`.
        set kl_coeff: f64 = 1.0, finite_and_not_negative;
        /// Target divergence per update, to which the weight of the KL penalty adapts.
        set kl_target: f64 = 0.01, positive;
        /// Weight of the value loss.
        set vf_loss_coeff: f64 = 0.5, finite_and_not_negative;
        /// Weight of the entropy bonus over environment steps: a number, or points `(step, weight)`.
        into entropy_coeff: Schedule = Schedule::Constant(0.01);
        /// Batches that are mixed: N of the circular buffer.
        set circular_buffer_num_batches: usize = 8, at_least_one;
        /// Times that each batch is learned from: K of the circular buffer.
        set circular_buffer_iterations_per_batch: usize = 2, at_least_one;
        /// Batches that may wait for the learner. The runners wait while the queue is full.
        set learner_queue_size: usize = 3;
        /// Batches after which the runners get new weights.
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

impl AppoTraining {
    pub(super) fn vtrace(&self) -> VTraceConfig {
        let thresholds = [self.vtrace_clip_rho_threshold, self.vtrace_clip_pg_rho_threshold];
        vtrace_config(self.gamma, self.lambda_, thresholds)
    }

    /// Updates between two renewals of the target policy.
    pub(super) fn target_updates(&self) -> u64 {
        let all = self
            .circular_buffer_num_batches
            .saturating_mul(self.circular_buffer_iterations_per_batch);
        (self.target_network_update_freq * all as f64).ceil() as u64
    }
}

impl TrainingConfig for AppoTraining {
    const NAME: &'static str = "APPO";
    const COMMON_FIELDS: &'static [&'static str] = &[
        "train_batch_size",
        "fragment_length",
        "circular_buffer_num_batches",
        "circular_buffer_iterations_per_batch",
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
        Box::new(AppoLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        let (batches, iterations) =
            (self.circular_buffer_num_batches, self.circular_buffer_iterations_per_batch);
        let plan = Asynchronous::new(self.train_batch_size, self.fragment_length)
            .queue_size(self.learner_queue_size)
            .broadcast_interval(self.broadcast_interval.saturating_mul(iterations) as u64)
            .circular_buffer(batches, iterations)
            .deterministic(self.deterministic);
        Box::new(plan)
    }

    fn default_model_config() -> Map<String, Value> {
        Map::from_iter([("vf_share_layers".to_string(), Value::Bool(true))])
    }
}
