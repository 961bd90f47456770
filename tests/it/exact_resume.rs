//! Train 2N = train N, save, restore in a new process, train N: bit for bit.

use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::checkpoint;
use rekindle::prelude::*;

const ITERATIONS: usize = 3;

/// Everything that could be forgotten is on: a filter, the adaptive KL coefficient, a learning-rate
/// and an entropy schedule, two runners, minibatches that do not divide the batch.
fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_env_runners(2)
                .num_envs_per_env_runner(3)
                .num_threads(1)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![16, 16])
        .training(|t| {
            t.lr([(0, 5e-3), (2000, 1e-4)])
                .entropy_coeff([(0, 0.01), (2000, 0.0)])
                .train_batch_size(300)
                .minibatch_size(64)
                .num_epochs(3)
        })
        .seed(11)
}

/// The same with recurrent state: two LSTMs, previous actions and rewards, episodes cut into sequences.
fn recurrent() -> PpoConfig {
    config()
        .model("use_lstm", true)
        .model("lstm_cell_size", 6)
        .model("max_seq_len", 8)
        .model("lstm_use_prev_action", true)
        .model("lstm_use_prev_reward", true)
}

fn train(algo: &mut Algorithm) {
    for _ in 0..ITERATIONS {
        algo.train().unwrap();
    }
}

/// The part of this test that runs in the new process; does nothing in a plain test run.
#[test]
fn continue_in_a_new_process() {
    let Ok(folder) = std::env::var("REKINDLE_RESUME") else { return };
    let folder = PathBuf::from(folder);
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(folder.join("half"), &device).unwrap();
    train(&mut algo);
    algo.save_to_path(folder.join("resumed")).unwrap();
}

fn resume_in_a_new_process(folder: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "exact_resume::continue_in_a_new_process"])
        .env("REKINDLE_RESUME", folder)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn n_plus_n_iterations_equal_2n_bit_for_bit() {
    resumes_exactly(&config(), 12);
}

#[test]
fn n_plus_n_iterations_equal_2n_bit_for_bit_with_memory() {
    resumes_exactly(&recurrent(), 12 + 2 * 4);
}

fn resumes_exactly(config: &PpoConfig, parameters: usize) {
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config.build(&device).unwrap();
    train(&mut algo);
    algo.save_to_path(folder.path().join("half")).unwrap();
    train(&mut algo);
    resume_in_a_new_process(folder.path());

    let straight = algo.get_state().unwrap();
    let resumed = checkpoint::read(folder.path().join("resumed")).unwrap();
    for component in ["learner", "env_runners"] {
        let (straight, resumed) = (straight.component(component), resumed.component(component));
        assert_eq!(straight.unwrap(), resumed.unwrap(), "{component}");
    }
    for field in ["algorithm", "config", "iteration", "env_steps"] {
        assert_eq!(straight.data[field], resumed.data[field], "{field}");
    }
    // The comparison would pass on empty states: make sure there is something in them.
    let optimizer =
        straight.component("learner/optimizer/default_policy/default_optimizer").unwrap();
    assert_eq!(optimizer.tensors.len(), 2 * parameters);
    assert_ne!(straight.component("env_runners/runner_0").unwrap().data["env"], "null");
    assert_ne!(straight.data["env_steps"], 0);
}

#[test]
fn restoring_rewinds_an_algorithm_that_went_on() {
    let folder = tempfile::tempdir().unwrap();
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config().build(&device).unwrap();
    algo.train().unwrap();
    algo.evaluate().unwrap();
    algo.save_to_path(folder.path().join("one")).unwrap();
    let first = (algo.train().unwrap(), algo.evaluate().unwrap());
    algo.restore_from_path(folder.path().join("one")).unwrap();
    let second = (algo.train().unwrap(), algo.evaluate().unwrap());
    assert_eq!(first.1, second.1);
    for key in ["learners/default_policy/vf_loss", "learners/default_policy/policy_loss"] {
        assert_eq!(first.0.get(key), second.0.get(key), "{key}");
        assert!(first.0.get(key).is_some(), "{key}");
    }
}

/// New episodes begin; what was learned stays.
#[test]
fn a_checkpoint_is_restored_with_another_number_of_environments_and_runners() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut saved = config().build(&device).unwrap();
    saved.train().unwrap();
    saved.save_to_path(&path).unwrap();
    let learned = |algo: &Algorithm| {
        let weights = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
        let filter = algo.policy_bundle().unwrap().connector_state().unwrap();
        (weights, filter, algo.env_steps(), algo.iteration())
    };
    for (runners, envs) in [(2, 1), (2, 5), (1, 3), (3, 2)] {
        let config = config()
            .env_runners(|e| e.num_env_runners(runners).num_envs_per_env_runner(envs))
            .seed(12);
        let mut restored = config.build(&device).unwrap();
        restored.restore_from_path(&path).unwrap();
        assert_eq!(learned(&restored), learned(&saved), "{runners} {envs}");
        let steps = restored.env_steps();
        restored.train().unwrap();
        assert!(restored.env_steps() >= steps + 300, "{runners} {envs}");
    }
}
