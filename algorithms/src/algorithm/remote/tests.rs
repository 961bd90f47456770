use burn::prelude::Device;
use rekindle_checkpoint::{Array, Checkpointable, State};
use rekindle_env_runner::connectors::ConnectorConfig;

use super::frame::{from_bytes, to_bytes};
use super::*;
use crate::{DqnConfig, ImpalaConfig, PpoConfig};

fn impala(seed: u64) -> Algorithm {
    let config = ImpalaConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).fragment_length(16))
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![8])
        .seed(seed);
    config.build(&Device::flex()).unwrap()
}

fn state() -> State {
    let mut part = State::from_data(&("part", f64::NAN)).unwrap();
    part.insert_tensor("a/b", Array::new([2, 1], vec![1.5f32, -0.0]).unwrap());
    part.insert_tensor("flags", Array::from(vec![true, false]));
    let inner = State::new().with_tensor("bytes", Array::from(vec![1u8, 2, 3]));
    part.insert_component("inner", inner);
    let mut state = State::from_data(&7).unwrap();
    state.insert_tensor("empty", Array::new([0, 3], Vec::<i64>::new()).unwrap());
    state.insert_tensor("ints", Array::from(vec![i32::MIN]));
    state.insert_component("z", part);
    state.insert_component("a", State::new().with_tensor("x", Array::from(vec![1.0f64])));
    state
}

#[test]
fn states_come_back_from_bytes() {
    let bytes = to_bytes(BATCH, &state()).unwrap();
    assert_eq!(from_bytes(BATCH, &bytes).unwrap(), state());
    let empty = to_bytes(BATCH, &State::new()).unwrap();
    assert_eq!(from_bytes(BATCH, &empty).unwrap(), State::new());
}

#[test]
fn damaged_bytes_are_refused_and_so_are_those_of_something_else() {
    let bytes = to_bytes(BATCH, &state()).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(from_bytes(BATCH, &damaged).is_err(), "byte {at}");
        assert!(from_bytes(BATCH, &bytes[..at]).is_err(), "{at} bytes");
    }
    let message = from_bytes(WEIGHTS, &bytes).unwrap_err().to_string();
    assert!(message.contains("these are the bytes of a batch"), "{message}");
    let mut newer = bytes;
    newer[8] = 9;
    let message = from_bytes(BATCH, &newer).unwrap_err().to_string();
    assert!(message.contains("has version 9, not 1"), "{message}");
}

#[test]
fn a_batch_of_another_process_is_learned_from_like_one_of_this_process() {
    let (mut learner, mut runner, mut alone) = (impala(1), impala(2), impala(1));
    assert_eq!(runner.adopt(&learner.publication().unwrap()).unwrap(), 0);
    let batch = runner.collect_batch().unwrap();
    assert_eq!(learner.learn_from(&batch).unwrap(), 64);
    assert_eq!(learner.env_steps(), 64);
    // The same columns without bytes in between.
    let state = from_bytes(BATCH, &batch).unwrap();
    let data = data_from(state.component(DATA).unwrap()).unwrap();
    let data = alone.learner.prepare(data, 64).unwrap();
    alone.learner.learn(data, 64).unwrap();
    let weights = |algorithm: &Algorithm| algorithm.learner.module().get_state().unwrap();
    assert_eq!(weights(&learner), weights(&alone));
    assert_ne!(weights(&learner), weights(&impala(1)));

    assert_eq!(runner.adopt(&learner.publication().unwrap()).unwrap(), 1);
    let acting = |algorithm: &Algorithm| {
        algorithm
            .env_runners
            .policy_bundle_of("default_policy")
            .unwrap()
            .module()
            .get_state()
            .unwrap()
    };
    learner.publish_weights().unwrap();
    assert_eq!(acting(&runner), acting(&learner));
    assert_eq!(runner.env_steps(), 64);

    learner.learn_from(&batch).unwrap();
    let result = learner.end_iteration(Instant::now()).unwrap();
    assert_eq!(result.get("training_iteration"), Some(1.0));
    assert_eq!(result.get("learners/weights_lag_mean"), Some(0.5));
    assert_eq!(result.get("env_runners/num_env_steps_sampled_lifetime"), Some(128.0));
}

#[test]
fn what_connectors_learn_in_a_runner_reaches_the_learner_once_and_all_runners_then() {
    let filter = ConnectorConfig::MeanStdFilter {
        de_mean_to_zero: true,
        de_std_to_one: true,
        clip_by_value: None,
    };
    let build = |seed| {
        let config = PpoConfig::new()
            .environment("CartPole-v1")
            .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
            .env_runners(|e| e.env_to_module_connector(filter.clone()))
            .seed(seed);
        config.build(&Device::flex()).unwrap()
    };
    let (mut learner, mut one, mut other) = (build(1), build(2), build(3));
    let states = |algorithm: &Algorithm| algorithm.env_runners.connector_states().unwrap();
    let publication = learner.publication().unwrap();
    for runner in [&mut one, &mut other] {
        runner.adopt(&publication).unwrap();
        learner.learn_from(&runner.collect_batch().unwrap()).unwrap();
    }
    let merged = states(&learner);
    assert_ne!(merged, states(&build(1)));
    let publication = learner.publication().unwrap();
    one.adopt(&publication).unwrap();
    other.adopt(&publication).unwrap();
    assert_eq!(states(&one), merged);
    assert_eq!(states(&other), merged);
    // Nothing was collected since, so nothing is news.
    let news = one.env_runners.take_connector_deltas().unwrap();
    learner.env_runners.add_connector_deltas(news);
    learner.env_runners.sync_connectors().unwrap();
    assert_eq!(states(&learner), merged);
}

#[test]
fn an_algorithm_that_replays_is_refused() {
    let dqn = DqnConfig::new().environment("CartPole-v1").build(&Device::flex()).unwrap();
    let message = dqn.publication().unwrap_err().to_string();
    assert!(message.contains("the execution plan `Replay` cannot learn from batches"), "{message}");
}
