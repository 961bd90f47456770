//! DQN's settings.

use rekindle_core::settings::{
    at_least_one, between_0_and_1, finite_and_not_negative, if_set, positive_and_finite,
};
use rekindle_core::{ConfigError, Schedule, settings};
use rekindle_learner::replay::{NStep, PrioritizedConfig, ReplayConfig};
use rekindle_learner::{GradClipBy, LearnerConfig, Loss, OptimizerConfig, OptimizerGroup};
use rekindle_rl_module::{QNetwork, RLModuleSpec, ValueDistribution};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::DqnLoss;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Replay};
use crate::off_policy::{COMMON_FIELDS, check_sizes, checked_replay};

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
        set replay_buffer_config: ReplayConfig = default_replay(), checked_replay;
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
        /// Probability of a random action over environment steps. Noisy layers explore in place of it.
        into epsilon: Schedule = Schedule::from([(0, 1.0), (10_000, 0.05)]);
        /// Whether the main network chooses the next action, whose value is the target network's.
        set double_q: bool = true;
        /// Whether action values are the sum of a value and of advantages.
        set dueling: bool = true;
        /// Number of atoms of the distribution of each action's return: above 1, the algorithm is C51 (Bellemare
        /// et al., 2017).
        set num_atoms: usize = 1, at_least_one;
        /// Return of the first atom.
        set v_min: f64 = -10.0;
        /// Return of the last atom.
        set v_max: f64 = 10.0;
        /// Number of quantiles of the distribution of each action's return; with some, the algorithm is QR-DQN
        /// (Dabney et al., 2018). Stable-Baselines3 has 200.
        into num_quantiles: Option<usize> = None, if_set(at_least_one);
        /// Whether all layers of the heads are noisy (Fortunato et al., 2018), which explores in place of ε
        /// ([`QNetworkConfig::noisy`](rekindle_rl_module::QNetworkConfig::noisy)).
        set noisy: bool = false;
        /// Standard deviation of the noise at the start, times the root of a layer's inputs.
        set sigma0: f64 = 0.5, finite_and_not_negative;
        /// How a TD error becomes a loss. Distributions have losses of their own: the cross entropy (C51) and
        /// the quantile Huber loss (QR-DQN).
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

impl DqnTraining {
    /// Returns the kind of distribution that the algorithm learns; `None` for expected values.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that describe none ([`ValueDistribution::from_settings`]).
    pub fn value_distribution(&self) -> Result<Option<ValueDistribution>, ConfigError> {
        let range = [self.v_min, self.v_max];
        ValueDistribution::from_settings(self.num_atoms, range, self.num_quantiles)
    }

    /// Checks that each changed setting of values and exploration has an effect.
    fn check_effects(&self) -> Result<(), ConfigError> {
        let default = Self::default();
        let distribution = self.value_distribution()?;
        for (field, value, default) in
            [("v_min", self.v_min, default.v_min), ("v_max", self.v_max, default.v_max)]
        {
            if value != default
                && !matches!(distribution, Some(ValueDistribution::Categorical { .. }))
            {
                let constraint = "only atoms have a range of returns; set `num_atoms` above 1, or remove the setting";
                return Err(ConfigError::new(field, value, constraint));
            }
        }
        if distribution.is_some() && self.td_error_loss_fn != default.td_error_loss_fn {
            let constraint = "distributions of returns have a loss of their own; remove the setting, or set `num_atoms` to 1 and no `num_quantiles`";
            return Err(ConfigError::new("td_error_loss_fn", "mse", constraint));
        }
        if self.noisy && self.epsilon != default.epsilon {
            let constraint =
                "noisy layers explore in place of ε; remove the setting, or set `noisy` to false";
            return Err(ConfigError::new("epsilon", &self.epsilon, constraint));
        }
        if !self.noisy && self.sigma0 != default.sigma0 {
            let constraint =
                "only noisy layers read it; set `noisy` to true, or remove the setting";
            return Err(ConfigError::new("sigma0", self.sigma0, constraint));
        }
        Ok(())
    }
}

impl TrainingConfig for DqnTraining {
    const NAME: &'static str = "DQN";
    const MIN_SAMPLE_TIMESTEPS_PER_ITERATION: usize = 1000;
    const COMMON_FIELDS: &'static [&'static str] = COMMON_FIELDS;

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()?;
        self.epsilon.validate("epsilon")?;
        self.check_effects()?;
        check_sizes(&self.replay_buffer_config, self.train_batch_size, self.n_step)?;
        self.loss().optimizers().iter().try_for_each(OptimizerGroup::validate)
    }

    fn check_sampling(&self, env_runners: &EnvRunnersConfig) -> Result<(), ConfigError> {
        env_runners.check_explores(Self::NAME)
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default().minibatch_size(self.train_batch_size)
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
        let settings = [
            ("epsilon", json!(self.epsilon)),
            ("dueling", json!(self.dueling)),
            ("num_atoms", json!(self.num_atoms)),
            ("v_min", json!(self.v_min)),
            ("v_max", json!(self.v_max)),
            ("num_quantiles", json!(self.num_quantiles)),
            ("noisy", json!(self.noisy)),
            ("sigma0", json!(self.sigma0)),
        ];
        settings.map(|(field, value)| (field.to_owned(), value)).into_iter().collect()
    }
}
