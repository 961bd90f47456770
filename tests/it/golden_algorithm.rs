//! A checkpoint of a whole algorithm, kept in the repository: later versions load it and continue
//! training from it.

use std::path::PathBuf;

use rekindle::checkpoint::{self, Array, State};
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

fn restored(name: &str) -> Algorithm {
    let device = DeviceSpec::Cpu.open().unwrap();
    Algorithm::from_checkpoint::<PpoTraining>(golden(name), &device).unwrap()
}

/// The values of a tensor, whatever their layout.
fn sorted(array: &Array) -> Vec<f32> {
    let mut values = array.as_slice::<f32>().unwrap().to_vec();
    values.sort_by(f32::total_cmp);
    values
}

#[test]
fn the_saved_state_is_restored_bit_for_bit() {
    let saved = checkpoint::read(golden("saved")).unwrap();
    let moments = &saved.component("learner/optimizer/default_policy").unwrap().tensors;
    // The comparison would pass on empty states: make sure there is something in them.
    assert_eq!(moments.len(), 32);
    let runner = saved.component("env_runners/runner_0").unwrap();
    assert_ne!(runner.data["env"], "null");
    let state = restored("saved").get_state().unwrap();
    for component in ["env_runners", "learner/rl_module"] {
        assert_eq!(state.component(component).unwrap(), saved.component(component).unwrap());
    }
    for field in ["algorithm", "iteration", "env_steps", "metrics"] {
        assert_eq!(state.data[field], saved.data[field], "{field}");
    }
    let training = |state: &State| -> PpoTraining {
        serde_json::from_value(state.data["config"]["training"].clone()).unwrap()
    };
    assert_eq!(training(&state), training(&saved));
    let learner = &saved.component("learner").unwrap().data;
    let now = &state.component("learner").unwrap().data;
    assert_eq!(now["shuffle_rng"], learner["shuffle_rng"]);
    let kl_coeff = &learner["objective"]["kl_coeffs"]["default_policy"];
    let loss = &state.component("learner/losses/default_policy").unwrap().data;
    assert_eq!(&loss["kl_coeff"], kl_coeff);
    // The moments are now saved in the layout of the weights.
    let optimizer = state.component("learner/optimizer/default_policy/default_optimizer").unwrap();
    for (name, moment) in moments {
        assert_eq!(sorted(&optimizer.tensors[name]), sorted(moment), "{name}");
    }
}

#[test]
fn training_continues_from_the_saved_state_bit_for_bit() {
    let mut algo = restored("saved");
    algo.train().unwrap();
    let (state, continued) =
        (algo.get_state().unwrap(), restored("continued").get_state().unwrap());
    for component in ["learner", "env_runners"] {
        assert!(state.component(component).unwrap() == continued.component(component).unwrap());
    }
    let continued = checkpoint::read(golden("continued")).unwrap();
    for component in ["env_runners", "learner/rl_module"] {
        assert!(state.component(component).unwrap() == continued.component(component).unwrap());
    }
}

/// `cargo test --test it write_the_checkpoint -- --ignored`
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
