//! Connectors in an algorithm: rewards that losses see, modules that come and go, checkpoints.

use rekindle::env_runner::RunnerError;
use rekindle::env_runner::connectors::Connector;
use rekindle::prelude::*;
use serde_json::Value;

fn device() -> burn::prelude::Device {
    DeviceSpec::Cpu.open().unwrap()
}

#[test]
fn normalized_rewards_are_learned_from_and_continue_exactly_from_a_checkpoint() {
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_env_runners(2)
                .num_envs_per_env_runner(2)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
                .env_to_module_connector(ConnectorConfig::normalize_rewards())
        })
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(800).minibatch_size(200).num_epochs(1))
        .seed(3);
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    // An untrained policy has a return of about -1200 on Pendulum.
    let episode_return = result.get("env_runners/episode_return_mean").unwrap();
    assert!((-2000.0..-500.0).contains(&episode_return), "{episode_return}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("algorithm");
    algo.save_to_path(&path).unwrap();
    let mut restored = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    algo.train().unwrap();
    restored.train().unwrap();
    // Everything but the metrics, which hold times.
    let parts = |algo: &Algorithm| algo.get_state().unwrap().components;
    assert_eq!(parts(&algo), parts(&restored));
    assert_eq!(parts(&algo).len(), 2);
}

#[test]
fn a_removed_module_takes_its_connectors_along() {
    let filter = ConnectorConfig::mean_std_filter;
    let mapping = PolicyMapping::All("kept".into());
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_runners(|e| {
            e.env_to_module_connector(filter().for_modules(["gone"]))
                .env_to_module_connector(filter().for_modules(["gone", "kept"]))
        })
        .evaluation(|e| e.evaluation_duration(1))
        .multi_agent(|m| m.policies(["gone", "kept"]).policy_mapping(mapping.clone()))
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(100).minibatch_size(50).num_epochs(1))
        .seed(3);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    algo.evaluate().unwrap();
    algo.remove_module("gone", None).unwrap();
    algo.evaluate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("algorithm")).unwrap();
    let path = folder.path().join("algorithm");
    let mut restored = Algorithm::from_checkpoint::<PpoTraining>(path, &device()).unwrap();
    restored.train().unwrap();
    let bundle = restored.policy_bundle_of("kept").unwrap();
    assert_eq!(bundle.config().env_to_module, [filter()]);
}

#[test]
fn connectors_of_a_module_that_does_not_exist_are_refused() {
    let config = PpoConfig::new().environment("CartPole-v1").env_runners(|e| {
        e.env_to_module_connector(ConnectorConfig::clip_rewards(1.0).for_modules(["playr"]))
    });
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("no module `playr`"), "{message}");
    assert!(message.contains("default_policy"), "{message}");
}

/// Learns a number, which it neither reads nor merges.
#[derive(Debug, Clone)]
struct HalfSaved;

impl Connector for HalfSaved {
    fn name(&self) -> &'static str {
        "HalfSaved"
    }

    fn get_memory(&self) -> Result<Value, RunnerError> {
        Ok(1.into())
    }

    fn get_state(&self) -> Result<Value, RunnerError> {
        Ok(1.into())
    }

    fn take_delta(&mut self) -> Result<Value, RunnerError> {
        Ok(1.into())
    }
}

#[test]
fn what_a_connector_keeps_and_does_not_read_is_refused() {
    let (mut connector, one) = (HalfSaved, Value::from(1));
    for (outcome, expected) in [
        (connector.set_memory(&one), "connector `HalfSaved` has no episode state"),
        (connector.set_state(&one), "connector `HalfSaved` has no state"),
        (connector.merge(&[Value::Null, one.clone()]), "implement `merge`"),
    ] {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    connector.set_memory(&Value::Null).unwrap();
    connector.set_state(&Value::Null).unwrap();
    connector.merge(&[Value::Null]).unwrap();
}
