//! Rollouts of environments on the device, and an update from them.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::any_tensor::to_f32;
use rekindle::env_runner::{TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum};
use rekindle::prelude::*;

use super::super::training::{bits, flat, ppo, weights};
use super::{Case, Computed};

const STEPS: usize = 12;
/// Allowed difference after some steps of an environment.
const DYNAMICS: f32 = 1e-3;

pub(super) fn all() -> Vec<Case> {
    vec![
        Case::new("on the device: CartPole", DYNAMICS, |device| {
            run(TensorCartPole::new().unwrap(), &ppo("CartPole-v1"), device)
        }),
        Case::new("on the device: Pendulum", DYNAMICS, |device| {
            run(TensorPendulum::new().unwrap(), &ppo("Pendulum-v1"), device)
        }),
    ]
}

/// Observations of a rollout (`forward`), and the weights learned from it (`gradient`).
fn run(env: impl TensorEnv, config: &PpoConfig, device: &Device) -> Computed {
    let algo = config.build(device).unwrap();
    let before = weights(&algo);
    let (settings, module) = (algo.learner().config().clone(), algo.learner().module().clone());
    let training = config.training.clone();
    let mut learner = Learner::new(settings, move |_| training.loss(), module, device).unwrap();
    let mut runner = TensorEnvRunner::new(env, 8, 3, device).unwrap();
    let module = learner.module().module(DEFAULT_MODULE_ID).unwrap();
    let rollout = runner.sample(module, STEPS).unwrap();
    let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), TrainData::from(&rollout))]);
    let steps = (8 * STEPS) as u64;
    let data = learner.prepare(data, steps).unwrap();
    let mut seen = Vec::new();
    for tensor in [rollout.observations, rollout.next_observations] {
        seen.extend(to_f32(tensor).unwrap());
    }
    for tensor in [rollout.rewards, rollout.done, rollout.episode_returns] {
        seen.extend(to_f32(tensor).unwrap());
    }
    seen.extend(to_f32(rollout.action_logp).unwrap());
    let batch = data[DEFAULT_MODULE_ID].device().unwrap();
    for column in [Columns::ADVANTAGES, Columns::VALUE_TARGETS] {
        seen.extend(to_f32(batch.float::<1>(column).unwrap()).unwrap());
    }
    learner.learn(data, steps).unwrap();
    let after = learner.module().module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    assert_ne!(bits(&before), bits(&after), "it learns");
    Computed { forward: seen, gradient: flat(&after) }
}
