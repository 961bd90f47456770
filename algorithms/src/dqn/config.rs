//! DQN's settings.

use rekindle_core::settings::{at_least_one, between_0_and_1, positive_and_finite};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, PrioritizedConfig, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{QNetwork, RLModuleSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::DqnLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Replay};

/// How a TD error becomes a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TdErrorLoss {
    /// Half the square up to 1, and linear beyond, as in RLlib and Stable-Baselines3.
    #[default]
    Huber,
    /// The square.
    Mse,
}

settings! {
    /// DQN's settings. The defaults are RLlib's.
    pub struct DqnTraining {
        /// Learning rate over environment steps: a number, or points `(step, rate)`.
        into lr: Schedule = Schedule::Constant(5e-4);
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Transitions of a minibatch.
        set train_batch_size: usize = 32, at_least_one;
        /// The replay buffer of each module.
        set replay_buffer_config: ReplayConfig = default_replay(), checked;
        /// Environment steps before the first update.
        set num_steps_sampled_before_learning_starts: u64 = 1000;
        /// Environment steps that are collected between two rounds of updates; Stable-Baselines3's `train_freq`
        /// times its environments.
        set sample_timesteps_per_update_round: usize = 4, at_least_one;
        /// Updates per environment step: 1 takes as many updates as steps. RLlib's `training_intensity` divided
        /// by the size of a minibatch.
        set updates_per_env_step: f64 = 0.25, positive_and_finite;
        /// Steps of a transition: a fixed number, or a range from which each transition draws its own.
        into n_step: NStep = NStep::Steps(1), NStep::check;
        /// Steps before a sequence of a module with memory, from which its state at the start of the sequence is
        /// computed anew, without gradients; 0 begins with the stored state.
        set burn_in_len: usize = 0;
        /// Probability of a random action over environment steps.
        into epsilon: Schedule = Schedule::from([(0, 1.0), (10_000, 0.05)]);
        /// Whether the main network chooses the next action, whose value is the target network's.
        set double_q: bool = true;
        /// Whether action values are the sum of a value and of advantages.
        set dueling: bool = true;
        /// How a TD error becomes a loss.
        set td_error_loss_fn: TdErrorLoss = TdErrorLoss::Huber;
        /// Environment steps between two updates of the target networks.
        set target_network_update_freq: u64 = 500;
        /// Share of the main networks that an update of the target networks takes over; 1 copies them.
        set tau: f64 = 1.0, between_0_and_1;
        /// Bound on gradients; `None` does not clip.
        into grad_clip: Option<f64> = Some(40.0);
        /// Quantity that `grad_clip` bounds.
        set grad_clip_by: GradClipBy = GradClipBy::GlobalNorm;
        /// Rule that turns gradients into steps.
        set optimizer: OptimizerConfig = OptimizerConfig::adam(1e-8);
    }
}

fn default_replay() -> ReplayConfig {
    ReplayConfig::default().capacity(50_000).prioritized(PrioritizedConfig::default())
}

fn checked(field: &'static str, config: &ReplayConfig) -> Result<(), ConfigError> {
    config.check_fields().map_err(|error| error.within(field))
}

impl TrainingConfig for DqnTraining {
    const NAME: &'static str = "DQN";
    const COMMON_FIELDS: &'static [&'static str] = &[
        "train_batch_size",
        "replay_buffer_config",
        "num_steps_sampled_before_learning_starts",
        "sample_timesteps_per_update_round",
        "updates_per_env_step",
    ];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.epsilon.validate("epsilon")?;
        let capacity = self.replay_buffer_config.capacity;
        for (field, value) in
            [("train_batch_size", self.train_batch_size), ("n_step", self.n_step.most())]
        {
            if value > capacity {
                let constraint =
                    format!("it must not exceed `replay_buffer_config.capacity` ({capacity})");
                return Err(ConfigError::new(field, value, constraint));
            }
        }
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig { minibatch_size: Some(self.train_batch_size), ..LearnerConfig::default() }
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(DqnLoss::new(self.clone()))
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        let plan = Replay::new(self.replay_buffer_config.clone(), self.train_batch_size)
            .learning_starts(self.num_steps_sampled_before_learning_starts)
            .sample_timesteps(self.sample_timesteps_per_update_round)
            .updates_per_env_step(self.updates_per_env_step);
        Box::new(plan)
    }

    fn default_module() -> RLModuleSpec {
        RLModuleSpec::of::<QNetwork>()
    }

    fn module_settings(&self) -> Map<String, Value> {
        let settings = [("epsilon", json!(self.epsilon)), ("dueling", json!(self.dueling))];
        settings.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
    }
}
