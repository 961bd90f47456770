//! A policy that Stable-Baselines3 trained plays here as it plays there.
//!
//! Exported by `scripts/parity/export_sb3.py`.

use burn::tensor::activation::log_softmax;
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use serde_json::json;

use crate::support::{Recorded, actor_critic, cpu, forward, path};

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
    let runner = EnvRunnerConfig { num_envs: 8, ..EnvRunnerConfig::new("CartPole-v1") };
    let policy = load();
    let evaluation = evaluate(&policy, &runner, 100, SampleOptions::greedy(), &cpu()).unwrap();
    assert_eq!(evaluation.returns.len(), 100);
    assert!(evaluation.mean_return() >= 475.0, "{}", evaluation.mean_return());
    println!("mean greedy return: {}", evaluation.mean_return());
}
