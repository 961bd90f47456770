//! The length of an iteration, and the names and windows of its result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use burn::prelude::*;
use rekindle::algorithms::{AppoConfig, ImpalaConfig};
use rekindle::prelude::*;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(200).minibatch_size(None).num_epochs(1))
        .seed(4)
}

#[test]
fn an_iteration_goes_on_until_all_its_minima_are_reached() {
    let steps = |config: PpoConfig| {
        let mut algo = config.build(&device()).unwrap();
        algo.train().unwrap();
        algo.env_steps()
    };
    assert_eq!(steps(config()), 200);
    assert_eq!(steps(config().reporting(|r| r.min_sample_timesteps_per_iteration(500))), 600);
    assert_eq!(steps(config().reporting(|r| r.min_train_timesteps_per_iteration(601))), 800);

    let long = config().reporting(|r| r.min_time_s_per_iteration(0.2));
    let mut algo = long.build(&device()).unwrap();
    let result = algo.train().unwrap();
    assert!(result.get("timers/training_iteration").unwrap() >= 0.2);
    assert_eq!(algo.env_steps() % 200, 0);
    assert!(algo.env_steps() > 200, "only {}", algo.env_steps());

    let message = |c: PpoConfig| c.validate().unwrap_err().to_string();
    let negative = message(config().reporting(|r| r.min_time_s_per_iteration(-1.0)));
    assert!(negative.contains("`min_time_s_per_iteration` is -1"), "{negative}");
    let none = message(config().reporting(|r| r.metrics_num_episodes_for_smoothing(0)));
    assert!(none.contains("`metrics_num_episodes_for_smoothing` is 0"), "{none}");
}

/// The returns of each runner, in order.
#[derive(Clone, Default)]
struct Returns(Arc<Mutex<BTreeMap<usize, Vec<f64>>>>);

impl Callbacks for Returns {
    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.0.lock().unwrap().entry(event.runner).or_default().push(event.episode_return);
        Ok(())
    }
}

#[test]
fn statistics_are_about_the_latest_episodes_of_all_runners_together() {
    for runners in [1, 2, 4] {
        let returns = Returns::default();
        let config = config()
            .env_runners(|e| e.num_env_runners(runners))
            .training(|t| t.train_batch_size(400 * runners))
            .reporting(|r| r.metrics_num_episodes_for_smoothing(4))
            .callbacks(returns.clone());
        let result = config.build(&device()).unwrap().train().unwrap();
        let returns = returns.0.lock().unwrap();
        let share = 4 / runners;
        let latest: Vec<f64> =
            returns.values().flat_map(|all| all[all.len() - share..].to_vec()).collect();
        assert_eq!((returns.len(), latest.len()), (runners, 4));
        let mean = latest.iter().sum::<f64>() / 4.0;
        let max = latest.iter().copied().fold(0.0, f64::max);
        let reported = |key: &str| result.get(&format!("env_runners/{key}")).unwrap();
        assert!((reported("episode_return_mean") - mean).abs() < 1e-9, "{runners} runners");
        assert_eq!(reported("episode_return_max"), max);
    }
}

#[test]
fn one_thing_has_one_name_for_one_agent_and_for_several() {
    let several = config()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 1))
        .multi_agent(|m| m.policies(["default_policy"]));
    let names = |config: PpoConfig, agent: &str| -> BTreeSet<String> {
        let result = config.build(&device()).unwrap().train().unwrap();
        result.iter().map(|(key, _)| key.replace(agent, "<agent>")).collect()
    };
    let one = names(config(), "/default_agent");
    assert_eq!(one, names(several, "/0"));
    for key in [
        "agent_episode_returns_mean<agent>",
        "module_episode_returns_mean/default_policy",
        "num_agent_steps_sampled<agent>",
        "num_agent_steps_sampled_lifetime<agent>",
        "num_module_steps_sampled/default_policy",
        "num_module_steps_sampled_lifetime/default_policy",
        "num_env_steps_sampled",
        "num_env_steps_sampled_lifetime",
        "num_episodes",
        "num_episodes_lifetime",
        "episode_return_mean",
        "episode_return_min",
        "episode_return_max",
        "episode_len_mean",
        "episode_len_min",
        "episode_len_max",
        "episode_duration_sec_mean",
        "sample",
        "env_step_timer",
        "env_reset_timer",
        "rlmodule_inference_timer",
        "weights_seq_no",
    ] {
        assert!(one.contains(&format!("env_runners/{key}")), "{key} is not in {one:?}");
    }
}

#[test]
fn seconds_have_a_total_and_no_rate() {
    let mut algo = config().build(&device()).unwrap();
    algo.train().unwrap();
    let result = algo.train().unwrap();
    assert!(result.get("time_total_s").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(result.get("time_total_s_throughput"), None);
    assert!(result.get("env_runners/num_env_steps_sampled_lifetime_throughput").is_some());
}

/// The lifetime metric after each of three iterations, and its sum over iterations.
fn counted(mut algo: Algorithm, key: &str) -> Vec<[f64; 2]> {
    let mut sum = 0.0;
    let mut count = || {
        let result = algo.train().unwrap();
        sum += result.get(&format!("learners/{key}")).unwrap();
        [result.get(&format!("learners/{key}_lifetime")).unwrap(), sum]
    };
    (0..3).map(|_| count()).collect()
}

#[test]
fn steps_trained_are_counted_per_iteration_and_over_the_lifetime_by_every_plan() {
    let env_steps = "__all_modules__/num_env_steps_trained";
    let of = |each: f64| (1..=3).map(|n| [each * f64::from(n); 2]).collect::<Vec<_>>();
    let ppo = || config().training(|t| t.num_epochs(3)).build(&device()).unwrap();
    assert_eq!(counted(ppo(), env_steps), of(200.0));
    // Each module counts its rows once for each epoch.
    assert_eq!(counted(ppo(), "default_policy/num_module_steps_trained"), of(600.0));
    assert_eq!(counted(ppo(), "__all_modules__/num_module_steps_trained"), of(600.0));

    let two = config()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent));
    let two = || two.build(&device()).unwrap();
    assert_eq!(counted(two(), env_steps), of(200.0));
    let result = two().train().unwrap();
    let modules = |id: &str| result.get(&format!("learners/{id}/num_module_steps_trained"));
    assert_eq!(modules("__all_modules__").unwrap(), modules("0").unwrap() + modules("1").unwrap());

    let impala = ImpalaConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(20).fragment_length(10))
        .seed(1);
    // Eight batches in each iteration.
    assert_eq!(counted(impala.build(&device()).unwrap(), env_steps), of(160.0));
    let appo = AppoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| {
            t.train_batch_size(20).fragment_length(10).circular_buffer_iterations_per_batch(2)
        })
        .seed(1);
    // Batches that are learned from twice count once.
    assert_eq!(counted(appo.build(&device()).unwrap(), env_steps), of(160.0));
}
