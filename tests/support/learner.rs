//! Shared parts of learner tests: handmade experience and a small loss.
#![allow(dead_code, reason = "every test uses some of it")]
use burn::prelude::*;
use rekindle::core::ModuleId;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::weights::Weights;
use rekindle::env_runner::{Rollout, Segment, SegmentEnd};
use rekindle::learner::{LearnerError, ModuleRollouts};
use rekindle::metrics::MetricsLogger;
use rekindle::prelude::*;

pub(crate) fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// Returns one terminated episode.
pub(crate) fn rollout(observations: Buffer, actions: Vec<i64>, rewards: Vec<f32>) -> Rollout {
    let segments = vec![Segment::new(0..actions.len(), SegmentEnd::Terminated)];
    let finals = observations.slice(0..actions.len().min(1)).unwrap();
    let actions = Buffer::from_i64(actions, &[]).unwrap();
    Rollout::new(observations, actions, rewards, segments, finals)
}

/// Returns `rows` random observations of a space, with actions and rewards.
pub(crate) fn experience(space: &Space, actions: i64, rows: usize, seed: u64) -> Vec<Rollout> {
    let mut rng = Generator::from_seed(seed);
    let mut observations = Buffer::zeros(space, rows);
    for row in 0..rows {
        space.sample_into(&mut rng, observations.row_mut(row)).unwrap();
    }
    let actions = (0..rows as i64).map(|i| i % actions).collect();
    vec![rollout(observations, actions, vec![0.5; rows])]
}

pub(crate) fn data(of: &[(&str, Vec<Rollout>)]) -> ModuleRollouts {
    of.iter().map(|(id, rollouts)| ((*id).to_string(), rollouts.clone())).collect()
}

/// Behavior cloning. Modules with a value function also learn to predict rewards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cloning {
    pub(crate) roles: Vec<Role>,
    /// Whether the mean reward is added to the loss as a constant, without a gradient.
    pub(crate) rewards_are_constants: bool,
    pub(crate) optimizer: OptimizerGroup,
}

impl Cloning {
    pub(crate) fn lr(lr: f64) -> Self {
        Self { optimizer: OptimizerGroup::default().lr(lr), ..Self::default() }
    }

    pub(crate) fn learner(self, config: LearnerConfig, module: MultiRLModule) -> Learner {
        Learner::new(config, move |_| Box::new(self.clone()), module, &device()).unwrap()
    }
}

impl Loss for Cloning {
    fn name(&self) -> &str {
        "cloning"
    }

    fn required_roles(&self) -> Vec<Role> {
        self.roles.clone()
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        vec![self.optimizer.clone()]
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        let mut total = cx.logp()?.mean().neg();
        if self.rewards_are_constants {
            total = total + cx.batch().float::<1>(Columns::REWARDS)?.mean();
        } else if cx.module.has_role(Role::ValueFunction) {
            let error = cx.values()? - cx.batch().float::<1>(Columns::REWARDS)?;
            let vf_loss = error.square().mean();
            return Ok(Losses::new(total + vf_loss.clone()).metric("vf_loss", vf_loss));
        }
        Ok(total.into())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

pub(crate) fn learner(config: LearnerConfig, module: MultiRLModule) -> Learner {
    Cloning::default().learner(config, module)
}

/// Returns the learner's metrics since the last call.
pub(crate) fn metrics(learner: &mut Learner) -> Metrics {
    let mut logger = MetricsLogger::new();
    logger.aggregate("learner", [learner.take_metrics()]).unwrap();
    logger.reduce()
}

pub(crate) fn weights(learner: &Learner, id: &str) -> Weights {
    learner.module().module(id).unwrap().state_dict().unwrap()
}

/// Returns the outputs of the inference pass on 8 observations of the module's space.
pub(crate) fn logits(module: &AnyRLModule) -> Vec<f32> {
    let space = module.spec().get_observation_space().unwrap();
    let observations = experience(space, 1, 8, 7).remove(0).observations;
    let column = rekindle::core::host_batch::upload(&observations, &device()).unwrap();
    let out = module.forward_inference(&Batch::new().with(Columns::OBS, column)).unwrap();
    to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap()
}

/// Saves a state to a new directory.
pub(crate) fn saved(state: &State) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    rekindle::checkpoint::write(&path, state).unwrap();
    (folder, path)
}

pub(crate) fn ids(module: &MultiRLModule) -> Vec<&ModuleId> {
    module.keys().collect()
}
