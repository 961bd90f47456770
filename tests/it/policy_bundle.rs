//! A bundle acts as evaluation does, also in another process, and verifies this.

use rekindle::checkpoint;
use rekindle::env_runner::RunnerError;
use rekindle::prelude::*;

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(4).env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(400).minibatch_size(100).num_epochs(2))
        .seed(1)
}

#[test]
fn a_bundles_greedy_actions_equal_those_of_the_evaluation_runner() {
    acts_as_evaluated(&config());
}

#[test]
fn a_bundle_with_memory_acts_as_evaluated_too() {
    let recurrent = config()
        .model("use_lstm", true)
        .model("lstm_cell_size", 8)
        .model("lstm_use_prev_action", true)
        .model("lstm_use_prev_reward", true);
    acts_as_evaluated(&recurrent);
}

fn acts_as_evaluated(config: &PpoConfig) {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config.build(&device).unwrap();
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    // ANCHOR: bundle
    algo.policy_bundle().unwrap().save_to_path(&path).unwrap();
    let mut policy = PolicyBundle::from_checkpoint(&path, &device).unwrap();
    // ANCHOR_END: bundle

    // Replays the evaluation's episodes: same start, same actions, same return.
    let expected = algo.evaluate().unwrap();
    let seed = rekindle::core::rng::stream(1, 0, 0, rekindle::core::rng::Purpose::Evaluation);
    let mut seeds = rekindle::core::rng::stream(
        seed.clone().next_u64(),
        0,
        0,
        rekindle::core::rng::Purpose::EnvSeed,
    );
    let mut envs = make_vec("Pendulum-v1", 10).unwrap();
    let mut step = rekindle::env::VectorStep::new(envs.observation_space(), 10);
    let start: Vec<_> = (0..10).map(|_| Some(u64::from(seeds.next_u32()))).collect();
    envs.reset(&start, &mut step).unwrap();
    let mut returns = [0.0; 10];
    for _ in 0..200 {
        // ANCHOR: act
        let actions = policy.compute_actions(&step.observations, false).unwrap().clone();
        // ANCHOR_END: act
        envs.step(&actions, &mut step).unwrap();
        policy.set_rewards(&step.rewards);
        returns.iter_mut().zip(&step.rewards).for_each(|(r, reward)| *r += reward);
    }
    for (found, expected) in returns.iter().zip(&expected.returns) {
        assert!((found - expected).abs() < 1e-2, "{found} {expected}");
    }
}

#[path = "../../examples/deployed_policy.rs"]
#[allow(dead_code, reason = "the test calls `answer` instead of `main`")]
mod deployed_policy;

#[test]
fn a_program_without_the_training_stack_answers_observations() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let algo = config().build(&device).unwrap();
    let mut policy = algo.policy_bundle().unwrap();
    let seen = Buffer::from_f32(vec![0.5, -0.5, 1.0, 1.0, 0.0, -2.0], &[3]).unwrap();
    let expected = policy.compute_actions(&seen, false).unwrap().as_f32().unwrap().to_vec();
    policy.reset();
    let lines = "{\"Float\":[0.5,-0.5,1]}\n{\"Float\":[1,0,-2]}\n";
    let mut answers = Vec::new();
    deployed_policy::answer(&mut policy, lines.as_bytes(), &mut answers).unwrap();
    let answers = String::from_utf8(answers).unwrap();
    let found: Vec<f32> = answers
        .lines()
        .map(|line| match serde_json::from_str(line).unwrap() {
            rekindle::env::Value::Float(action) => action[0],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, expected);
    let wrong = "{\"Discrete\":1}\n".as_bytes();
    assert!(deployed_policy::answer(&mut policy, wrong, Vec::new()).is_err());
}

#[test]
fn a_bundle_that_acts_differently_is_refused() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config().build(&device).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
    algo.policy_bundle().unwrap().save_to_path(&ours).unwrap();
    algo.train().unwrap();
    algo.policy_bundle().unwrap().save_to_path(&other).unwrap();

    // Combines the weights of one bundle with the test vector of the other.
    let mut mixed = checkpoint::read(&ours).unwrap();
    let trained = checkpoint::read(&other).unwrap();
    mixed.components = trained.components;
    let path = folder.path().join("mixed");
    checkpoint::write(&path, &mixed).unwrap();
    let error = PolicyBundle::from_checkpoint(&path, &device).unwrap_err();
    assert!(matches!(error, RunnerError::TestVector { .. }), "{error}");
}

#[test]
fn a_bundle_with_nan_for_a_recorded_action_is_refused() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    config().build(&device).unwrap().policy_bundle().unwrap().save_to_path(&path).unwrap();
    let mut state = checkpoint::read(&path).unwrap();
    let action = &mut state.data["test_actions"]["column"]["Float"]["data"][3];
    assert!(action.is_number());
    *action = "NaN".into();
    let damaged = folder.path().join("damaged");
    checkpoint::write(&damaged, &state).unwrap();
    let error = PolicyBundle::from_checkpoint(&damaged, &device).unwrap_err();
    let RunnerError::TestVector { difference } = error else { panic!("{error}") };
    assert_eq!(difference, f32::INFINITY);
}

#[test]
fn exploration_and_likelihoods_survive_saving() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config().build(&device).unwrap();
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let mut ours = algo.policy_bundle().unwrap();
    ours.save_to_path(&path).unwrap();
    let mut restored = PolicyBundle::from_checkpoint(&path, &device).unwrap();
    let space = &ours.config().observation_space.clone();
    let seen = rekindle::env::Buffer::zeros(space, 3);
    ours.set_seed(7);
    restored.set_seed(7);
    for _ in 0..2 {
        let actions = ours.compute_actions(&seen, true).unwrap().clone();
        assert_eq!(&actions, restored.compute_actions(&seen, true).unwrap());
        let likelihoods = ours.compute_log_likelihoods(&seen, &actions).unwrap();
        assert_eq!(likelihoods, restored.compute_log_likelihoods(&seen, &actions).unwrap());
        assert!(likelihoods.iter().all(|logp| logp.is_finite()));
    }
}
