//! `SimpleQPolicy`: an algorithm with settings, a target network and a loss that has a state of its own.
//!
//! It learns from each batch once. `DqnConfig` learns from a replay buffer, by the execution plan `Replay`.

use std::error::Error;

use burn::module::Module;
use rekindle::algorithms::{AlgorithmConfig, Synchronous, TrainingConfig};
use rekindle::core::ConfigError;
use rekindle::learner::{AfterUpdate, LearnerError};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::{Deserialize, Serialize};

const EPSILON: f64 = 0.1;

/// `make_model` and `action_sampler_fn`: a Q network, its target network, and the ε-greedy rule.
#[derive(Module, Debug)]
struct SimpleQModel {
    q_model: Mlp,
    target_q_model: Mlp,
    actions: usize,
}

impl RLModule for SimpleQModel {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        let build = || cx.mlp(cx.observation_space().flat_dim(), &[32], actions);
        Ok(Self { q_model: build(), target_q_model: build(), actions })
    }

    /// Returns the log-probabilities of the rule, which the runner samples from. Evaluation takes the
    /// likeliest action. `qf_preds` is also recorded (RLlib's `extra_action_out_fn`).
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = self.q_model.forward(batch.float::<2>(Columns::OBS)?);
        let greedy = q.clone().argmax(1).squeeze_dim::<1>(1).one_hot::<2>(self.actions).float();
        let rule = (greedy * (1.0 - EPSILON) + EPSILON / self.actions as f64).log();
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, rule).with(Columns::QF_PREDS, q))
    }

    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for SimpleQModel {
    fn compute_q_values(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = self.q_model.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, q))
    }
}

impl TargetNetwork for SimpleQModel {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("q_model", "target_q_model")]
    }

    fn forward_target(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = self.target_q_model.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, q))
    }
}

/// `loss_fn`, with the state that RLlib's mixins hold.
#[derive(Debug, Clone)]
struct SimpleQLoss {
    config: SimpleQ,
    /// A moving average of the squared TD error.
    average: f64,
}

impl Loss for SimpleQLoss {
    fn name(&self) -> &str {
        SimpleQ::NAME
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::QNet, Role::TargetNetwork]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        vec![OptimizerGroup::default().lr(self.config.lr)]
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        let batch = cx.batch();
        let actions = batch.int::<1>(Columns::ACTIONS)?.unsqueeze_dim::<2>(1);
        let q = cx.outputs()?.float::<2>(Columns::QF_PREDS)?.gather(1, actions).squeeze_dim::<1>(1);
        let next = Batch::new().with(Columns::OBS, batch.column(Columns::NEXT_OBS)?.clone());
        let next = cx.module.forward_target(&next)?.float::<2>(Columns::QF_PREDS)?;
        let ends = batch.float::<1>(Columns::TERMINATEDS)?;
        let best = next.max_dim(1).squeeze_dim::<1>(1) * (ends * -1.0 + 1.0);
        let target = batch.float::<1>(Columns::REWARDS)? + best * self.config.gamma;
        let td_error = q - target.detach();
        let loss = td_error.clone().square().mean();
        // Values per row go to the execution plan, for example as priorities (`extra_learn_fetches_fn`).
        Ok(Losses::new(loss.clone()).metric("td_error", loss).row_values("td_error", td_error))
    }

    /// `after_optimizer_step`.
    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<(), LearnerError> {
        if let Some(error) = cx.metrics.get("td_error") {
            self.average += 0.1 * (error - self.average);
        }
        cx.report("td_error_average", self.average);
        if cx.updates.is_multiple_of(self.config.target_network_update_freq) {
            cx.update_targets(1.0);
        }
        Ok(())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::from_data(&self.average)?)
    }

    fn set_state(&mut self, state: &State) -> Result<(), LearnerError> {
        self.average = state.data_as()?;
        Ok(())
    }
}

/// Settings of simple Q-learning; RLlib's `DEFAULT_CONFIG`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SimpleQ {
    pub(crate) lr: f64,
    pub(crate) gamma: f32,
    pub(crate) train_batch_size: usize,
    /// Updates between two copies to the target network.
    pub(crate) target_network_update_freq: u64,
}

impl Default for SimpleQ {
    fn default() -> Self {
        Self { lr: 1e-3, gamma: 0.99, train_batch_size: 32, target_network_update_freq: 4 }
    }
}

impl TrainingConfig for SimpleQ {
    const NAME: &'static str = "SimpleQ";

    /// `validate_config`.
    fn validate(&self) -> Result<(), ConfigError> {
        match self.target_network_update_freq {
            0 => Err(ConfigError::new("target_network_update_freq", 0, "it must be at least 1")),
            _ => Ok(()),
        }
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn learner(&self) -> LearnerConfig {
        LearnerConfig::default()
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(SimpleQLoss { config: self.clone(), average: 0.0 })
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }
}

/// Trains, and continues from a checkpoint with the target network and the state of the loss.
pub(crate) fn an_algorithm_with_target_network() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let config = AlgorithmConfig::<SimpleQ>::new()
        .environment("CartPole-v1")
        .rl_module(RLModuleSpec::of::<SimpleQModel>())
        .training(|t| SimpleQ { target_network_update_freq: 2, ..t })
        .seed(0);
    let mut algo = config.build(&device)?;
    let distance = |algo: &Algorithm| -> Result<f32, Box<dyn Error>> {
        let weights = algo.module(DEFAULT_MODULE_ID)?.state_dict()?;
        let mut distance = 0.0;
        for (name, weight) in weights.iter().filter(|(name, _)| name.starts_with("q_model")) {
            let target = weights[&format!("target_{name}")].as_slice::<f32>()?;
            let main = weight.as_slice::<f32>()?;
            distance += main.iter().zip(target).map(|(a, b)| (a - b).abs()).sum::<f32>();
        }
        Ok(distance)
    };
    algo.train()?;
    assert!(distance(&algo)? > 0.0, "the network moved, and its target did not");
    let result = algo.train()?;
    assert_eq!(distance(&algo)?, 0.0, "the second update copied the network");
    assert!(result.get("learners/default_policy/td_error_average").is_some_and(|a| a > 0.0));

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint");
    algo.save_to_path(&path)?;
    let mut resumed = Algorithm::from_checkpoint::<SimpleQ>(&path, &device)?;
    algo.train()?;
    resumed.train()?;
    assert!(algo.learner().get_state()? == resumed.learner().get_state()?);
    Ok(())
}
