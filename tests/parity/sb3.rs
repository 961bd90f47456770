//! Policies of Stable-Baselines3 and sb3-contrib: the same outputs, and the same play.
//!
//! Recorded by `scripts/parity/export_sb3.py` (a policy trained on CartPole) and `record_sb3.py`.

use burn::tensor::activation::log_softmax;
use rekindle::checkpoint::Array;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::weights::Weights;
use rekindle::prelude::*;
use serde_json::json;

use crate::support::{Recorded, actor_critic, actor_critic_on, cpu, forward, import, path};

fn load() -> AnyRLModule {
    let config = json!({ "fcnet_hiddens": [64, 64], "vf_share_layers": false });
    let mut module = actor_critic(config);
    let weights = read_safetensors(path("sb3_policy.safetensors")).unwrap();
    module.load_state_dict(&NameMap::sb3_ppo_mlp_policy().apply(&weights).unwrap()).unwrap();
    module
}

#[test]
fn sb3s_policy_loads_and_acts_the_same_on_1000_observations() {
    let recorded = Recorded::read("sb3_recorded");
    let (logits, values) = forward(&load(), recorded.float("obs", &cpu().autodiff()));
    recorded.check("log_probs", log_softmax(logits.clone(), 1));
    recorded.check("values", values);
    let actions = recorded.0["actions"].as_slice::<u8>().unwrap();
    let logits = to_f32(logits).unwrap();
    assert_eq!((logits.len(), actions.len()), (2000, 1000));
    for (logits, action) in logits.as_chunks::<2>().0.iter().zip(actions) {
        assert_eq!(u8::from(logits[1] > logits[0]), *action);
    }
}

#[test]
fn sb3s_policy_reaches_475_on_our_cartpole() {
    let runner = EnvRunnerConfig::new("CartPole-v1").num_envs(8);
    let policy = load();
    let evaluation = evaluate(&policy, &runner, 100, SampleOptions::greedy(), &cpu()).unwrap();
    assert_eq!(evaluation.returns.len(), 100);
    assert!(evaluation.mean_return() >= 475.0, "{}", evaluation.mean_return());
    println!("mean greedy return: {}", evaluation.mean_return());
}

#[test]
fn sb3s_networks_of_unequal_sizes_and_its_gaussian_compute_the_same() {
    let spaces = [Space::unbounded(&[4]).unwrap(), Space::boxed(-2.0, 2.0, &[2]).unwrap()];
    let config = json!({
        "fcnet_hiddens": [24, 16],
        "vf_fcnet_hiddens": [18],
        "vf_share_layers": false,
        "free_log_std": true,
    });
    let module = import("sb3_unequal", &NameMap::sb3_ppo_mlp_policy(), spaces, config);
    Recorded::read("sb3_unequal_recorded").check_outputs::<2>(&module);
}

/// The spaces of the recorded image policies.
fn image_spaces() -> [Space; 2] {
    [Space::image(&[44, 44, 3]).unwrap(), Space::discrete(3).unwrap()]
}

#[test]
fn sb3s_cnn_policy_computes_the_same_from_bytes() {
    let config = json!({
        "conv_filters": [[4, 8, 4, "valid"], [6, 4, 2, "valid"], [5, 3, 1, "valid"]],
        "conv_fcnet_hiddens": [8],
        "vf_share_layers": true,
    });
    let module = import("sb3_cnn", &NameMap::sb3_ppo_cnn_policy(), image_spaces(), config);
    Recorded::read("sb3_cnn_recorded").check_outputs::<4>(&module);
}

#[test]
fn sb3s_cnn_policy_with_two_extractors_and_layers_after_them_computes_the_same() {
    let config = json!({
        "conv_filters": [[4, 8, 4, "valid"], [6, 4, 2, "valid"], [5, 3, 1, "valid"]],
        "conv_fcnet_hiddens": [8],
        "vf_share_layers": false,
        "head_fcnet_hiddens": [6],
        "vf_head_fcnet_hiddens": [5],
        "head_fcnet_activation": "tanh",
    });
    let map = NameMap::sb3_ppo_cnn_policy();
    let module = import("sb3_cnn_separate", &map, image_spaces(), config);
    Recorded::read("sb3_cnn_separate_recorded").check_outputs::<4>(&module);
}

#[test]
fn the_documented_config_has_the_shapes_of_sb3s_default_cnn_policy() {
    let zeros = |shape: &Array| {
        let shape: Vec<usize> =
            shape.as_slice::<i64>().unwrap().iter().map(|&axis| axis.try_into().unwrap()).collect();
        Array::new(shape.clone(), vec![0f32; shape.iter().product()]).unwrap()
    };
    let shapes = Recorded::read("sb3_cnn_recorded").part("default");
    let weights: Weights =
        shapes.iter().map(|(name, shape)| (name.clone(), zeros(shape))).collect();
    assert_eq!(weights["features_extractor.linear.0.weight"].shape(), [512, 3136]);
    let images = Space::image(&[84, 84, 4]).unwrap();
    let config = json!({
        "conv_filters": [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]],
        "conv_fcnet_hiddens": [512],
        "vf_share_layers": true,
    });
    let mut module = actor_critic_on(images, Space::discrete(3).unwrap(), config);
    module.load_state_dict(&NameMap::sb3_ppo_cnn_policy().apply(&weights).unwrap()).unwrap();
}

#[test]
fn recurrent_ppos_policy_computes_the_same_with_an_lstm_for_each_network() {
    let spaces = [Space::unbounded(&[3]).unwrap(), Space::discrete(2).unwrap()];
    let config = json!({
        "use_lstm": true,
        "fcnet_hiddens": [],
        "lstm_cell_size": 5,
        "recurrent_num_layers": 2,
        "vf_share_layers": false,
        "head_fcnet_hiddens": [7, 6],
        "vf_head_fcnet_hiddens": [5],
        "head_fcnet_activation": "tanh",
    });
    let map = NameMap::sb3_recurrent_ppo_mlp_lstm_policy();
    let module = import("sb3_recurrent", &map, spaces, config);
    Recorded::read("sb3_recurrent_recorded").check_memory(&module);
}

#[test]
fn recurrent_ppos_policy_computes_the_same_with_one_lstm_for_both_networks() {
    let spaces = [Space::unbounded(&[3]).unwrap(), Space::discrete(2).unwrap()];
    let config = json!({
        "use_lstm": true,
        "fcnet_hiddens": [],
        "lstm_cell_size": 5,
        "vf_share_layers": true,
        "head_fcnet_hiddens": [7],
        "head_fcnet_activation": "tanh",
    });
    let map = NameMap::sb3_recurrent_ppo_mlp_lstm_policy();
    let module = import("sb3_recurrent_shared", &map, spaces, config);
    Recorded::read("sb3_recurrent_shared_recorded").check_memory(&module);
}
