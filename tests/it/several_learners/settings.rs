//! Settings of several learners, and what is refused.

use rekindle::algorithms::{AsyncGradients, LearnersConfig};

use super::*;

fn refused<T: TrainingConfig>(config: &AlgorithmConfig<T>, parts: &[&str]) {
    let message = config.build(&device()).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "no {part}: {message}");
    }
}

fn learners(config: PpoConfig, f: impl FnOnce(LearnersConfig) -> LearnersConfig) -> PpoConfig {
    config.learners(f)
}

#[test]
fn numbers_and_devices_that_cannot_be_are_refused_by_name() {
    refused(&learners(ppo(), |l| l.num_learners(0)), &["`num_learners` is 0", "set it to 1"]);
    refused(&learners(ppo(), |l| l.num_learners(1000)), &["`num_learners` is 1000", "at most"]);
    let cpu = DeviceSpec::Cpu;
    let one = learners(ppo(), |l| l.num_learners(2).devices(vec![cpu]));
    refused(&one, &["`learners.devices`", "[\"cpu\"]", "is 2"]);
    let both = learners(ppo(), |l| l.num_learners(2).devices(vec![cpu, cpu]).device(cpu));
    refused(&both, &["`learners.device` is cpu", "`learners.devices`"]);
}

#[test]
fn plans_and_losses_that_cannot_be_shared_are_refused_by_name() {
    let two = |l: LearnersConfig| l.num_learners(2);
    let on_device = ppo().env_runners(|e| e.on_device(true)).learners(two);
    refused(&on_device, &["`learners.num_learners` is 2", "`env_runners.on_device`"]);
    let plan =
        A2cConfig::new().environment("CartPole-v1").with_execution_plan(AsyncGradients::new(5));
    refused(&plan.learners(two), &["`learners.num_learners` is 2", "`AsyncGradients`"]);
    let renorm = sac().training(|t| t.critics_use_batch_renorm(true)).learners(two);
    refused(&renorm, &["`default_policy`", "the SAC loss", "one learner"]);
}

#[test]
fn a_loss_that_is_no_mean_over_rows_is_refused_at_build_with_what_to_do() {
    let with = |sum: bool| {
        AlgorithmConfig::from_loss("Sums", move |cx, _| {
            let logp = cx.logp()?;
            Ok(if sum { logp.sum() } else { cx.sum(logp)? })
        })
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(40))
        .learners(|l| l.num_learners(2))
    };
    refused(&with(true), &["`default_policy`", "`LossContext::sum`", "`num_learners` 1"]);
    with(false).build(&device()).unwrap();
}

#[test]
fn learners_on_devices_that_are_named_are_settings_as_data() {
    let text = r#"{"environment": {"env": "CartPole-v1"}, "learners": {"num_learners": 2, "devices": ["cpu", "cpu"]}}"#;
    let config = PpoConfig::from_json(text).unwrap();
    assert_eq!(config.learners.num_learners, 2);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config);
    let mut algo =
        config.training(|t| t.train_batch_size(128).num_epochs(1)).build(&device()).unwrap();
    algo.train().unwrap();
    all_equal(&algo, 2);
    // Data name every setting, those with their defaults too.
    let json = serde_json::to_value(ppo()).unwrap();
    assert_eq!(json["learners"]["num_learners"], 1);
    assert_eq!(json["learners"]["devices"], serde_json::json!([]));
}
