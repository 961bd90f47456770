//! A checkpoint of a whole algorithm, kept in the repository: later versions load it and continue
//! training from it.

use std::path::PathBuf;

use rekindle::checkpoint;
use rekindle::prelude::*;

/// Everything that has a state is on: an LSTM, Adam, a filter, the adaptive KL coefficient,
/// schedules, two runners, environments in the middle of their episodes.
fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            e.num_env_runners(2)
                .num_envs_per_env_runner(2)
                .num_threads(1)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![8])
        .model("use_lstm", true)
        .model("lstm_cell_size", 4)
        .model("max_seq_len", 6)
        .model("lstm_use_prev_action", true)
        .model("lstm_use_prev_reward", true)
        .training(|t| {
            t.lr([(0, 5e-3), (400, 1e-3)])
                .entropy_coeff([(0, 0.01), (400, 0.0)])
                .train_batch_size(60)
                .minibatch_size(24)
                .num_epochs(2)
        })
        .seed(11)
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/algorithm").join(name)
}

#[test]
fn the_saved_state_is_restored_bit_for_bit() {
    let saved = checkpoint::read(golden("saved")).unwrap();
    // The comparison would pass on empty states: make sure there is something in them.
    assert_eq!(saved.component("learner/optimizer/default_policy").unwrap().tensors.len(), 32);
    let runner = saved.component("env_runners/runner_0").unwrap();
    assert_ne!(runner.data["env"], "null");
    let algo = Algorithm::from_checkpoint::<PpoTraining>(
        golden("saved"),
        &DeviceSpec::Cpu.open().unwrap(),
    )
    .unwrap();
    assert_eq!(algo.get_state().unwrap(), saved);
}

#[test]
fn training_continues_from_the_saved_state_bit_for_bit() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = Algorithm::from_checkpoint::<PpoTraining>(golden("saved"), &device).unwrap();
    algo.train().unwrap();
    let continued = checkpoint::read(golden("continued")).unwrap();
    let state = algo.get_state().unwrap();
    for component in ["learner", "env_runners"] {
        let (state, continued) = (state.component(component), continued.component(component));
        assert_eq!(state.unwrap(), continued.unwrap(), "{component}");
    }
}

/// `cargo test --test golden_algorithm -- --ignored`
#[test]
#[ignore = "checks nothing: it writes the golden checkpoint; a new one only beside the old ones"]
fn write_the_checkpoint() {
    let mut algo = config().build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    algo.train().unwrap();
    algo.train().unwrap();
    algo.save_to_path(golden("saved")).unwrap();
    algo.train().unwrap();
    algo.save_to_path(golden("continued")).unwrap();
}
