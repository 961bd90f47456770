//! Environments on the device, and learning on the device.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::any_tensor::to_f32;
use rekindle::env_runner::{TensorCartPole, TensorEnv, TensorEnvRunner, TensorPendulum};
use rekindle::prelude::*;

use crate::training::{bits, flat, ppo, weights};
use crate::{cpu, difference, subject};

const STEPS: usize = 12;

/// Observations of a rollout and the weights learned from it.
fn run(env: impl TensorEnv, config: &PpoConfig, device: &Device) -> (Vec<f32>, Vec<f32>) {
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
    (seen, flat(&after))
}

fn compare<E: TensorEnv>(env: impl Fn() -> E, config: &PpoConfig) {
    let (seen, learned) = run(env(), config, &cpu());
    let (seen_there, learned_there) = run(env(), config, &subject());
    let (seen, learned) = (difference(&seen_there, &seen), difference(&learned_there, &learned));
    println!("rollouts differ by {seen:.1e}, weights by {learned:.1e}");
    assert!(seen < 2e-3, "{seen}");
    assert!(learned < 1e-3, "{learned}");
}

#[test]
fn cart_pole_is_played_and_learned_the_same() {
    compare(|| TensorCartPole::new().unwrap(), &ppo("CartPole-v1"));
}

#[test]
fn pendulum_is_played_and_learned_the_same() {
    compare(|| TensorPendulum::new().unwrap(), &ppo("Pendulum-v1"));
}
