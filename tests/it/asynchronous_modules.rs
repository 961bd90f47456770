//! Modules that are replaced, added and removed while experience waits to be learned from.

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, ImpalaConfig, TrainingConfig};
use rekindle::prelude::*;
use serde_json::{Value, json};

use crate::support::device;

fn impala() -> ImpalaConfig {
    small(
        ImpalaConfig::new()
            .training(|t| t.train_batch_size(40).fragment_length(10).deterministic(true)),
    )
}

fn appo() -> AppoConfig {
    small(AppoConfig::new().training(|t| {
        t.train_batch_size(40)
            .fragment_length(10)
            .circular_buffer_num_batches(4)
            .use_kl_loss(true)
            .deterministic(true)
    }))
}

fn small<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![8])
        .seed(3)
}

fn two_agents<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

fn module(of: &Algorithm, id: &str, settings: Value) -> AnyRLModule {
    let spec = of.module(id).unwrap().spec();
    let spec = RLModuleSpec::default()
        .observation_space(spec.get_observation_space().unwrap().clone())
        .action_space(spec.get_action_space().unwrap().clone())
        .model_config(settings);
    spec.build_seeded(&device(), Generator::from_seed(7)).unwrap()
}

/// Trains twice, and asserts that the module learns.
fn trains(algo: &mut Algorithm, id: &str) {
    let before = algo.module(id).unwrap().state_dict().unwrap();
    for _ in 0..2 {
        let result = algo.train().unwrap();
        let loss = result.get(&format!("learners/{id}/policy_loss")).unwrap();
        assert!(loss.is_finite());
    }
    assert_ne!(algo.module(id).unwrap().state_dict().unwrap(), before);
}

fn replaces<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&device()).unwrap();
    trains(&mut algo, DEFAULT_MODULE_ID);
    let lstm = |size| json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": size});
    for settings in [json!({"fcnet_hiddens": [5]}), lstm(4), lstm(6), json!({"fcnet_hiddens": [8]})]
    {
        let module = module(&algo, DEFAULT_MODULE_ID, settings);
        algo.replace_module(DEFAULT_MODULE_ID, module).unwrap();
        trains(&mut algo, DEFAULT_MODULE_ID);
    }
}

#[test]
fn experience_that_waits_is_left_out_if_its_module_has_another_memory() {
    replaces(&impala());
    replaces(&appo());
}

fn removes<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let mut algo = two_agents(config.clone()).build(&device()).unwrap();
    trains(&mut algo, "1");
    let removed = algo.remove_module("1", Some(PolicyMapping::All("0".into()))).unwrap();
    trains(&mut algo, "0");
    algo.add_module("2", removed, Some(PolicyMapping::All("2".into())), None).unwrap();
    trains(&mut algo, "2");
}

#[test]
fn experience_that_waits_is_left_out_if_its_module_was_removed() {
    removes(&impala());
    removes(&appo());
}

#[test]
fn batches_of_a_module_that_was_replaced_leave_the_circular_buffer() {
    let trained = |replaces: bool| {
        let mut algo = appo().build(&device()).unwrap();
        algo.train().unwrap();
        if replaces {
            let module = module(&algo, DEFAULT_MODULE_ID, json!({"fcnet_hiddens": [8]}));
            algo.replace_module(DEFAULT_MODULE_ID, module).unwrap();
        }
        let result = algo.train().unwrap();
        let dropped = result.get("learners/__all_modules__/num_updates_without_rows_lifetime");
        (result.get("learners/default_policy/num_module_steps_trained").unwrap(), dropped)
    };
    let (all, none) = trained(false);
    let (fewer, dropped) = trained(true);
    assert_eq!(none, None);
    assert!(fewer < all && dropped.is_some_and(|draws| draws > 0.0), "{fewer} {all} {dropped:?}");
}
