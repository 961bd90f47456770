//! Short training runs of IMPALA and APPO with fixed seeds, one for each kind of module and environment.
//!
//! All but one run in the deterministic mode, so that each run of a test learns the same.

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, ImpalaConfig, TrainingConfig};
use rekindle::prelude::*;
use serde_json::{Value, json};

/// A small task, with settings with which both algorithms learn it.
struct Task {
    env: &'static str,
    env_config: EnvConfig,
    /// The policies, each of the agent of its name; empty for a single agent.
    policies: &'static [&'static str],
    model: Value,
    lr: f64,
    entropy_coeff: f64,
    /// The environment steps within which the mean return of 100 episodes reaches `enough`, for each policy.
    steps: u64,
    enough: f64,
    /// The mean return of a policy that does not learn.
    unlearned: f64,
}

/// With these settings and more steps, the median of five seeds reaches 450 in 150 000 steps.
fn cartpole() -> Task {
    Task {
        env: "CartPole-v1",
        env_config: EnvConfig::new(),
        policies: &[],
        model: json!({ "fcnet_hiddens": [64, 64] }),
        lr: 2e-3,
        entropy_coeff: 0.0,
        steps: 80_000,
        enough: 150.0,
        unlearned: 22.0,
    }
}

/// Two agents with a policy each, both of which must learn.
fn two_agents() -> Task {
    Task {
        env: "MultiAgentCartPole-v1",
        env_config: EnvConfig::new().with("num_agents", 2),
        policies: &["0", "1"],
        model: json!({ "fcnet_hiddens": [32, 32] }),
        enough: 120.0,
        ..cartpole()
    }
}

/// Observations of several kinds. A policy that misses a part of them does not balance the pole.
fn nested() -> Task {
    Task {
        env: "NestedCartPole-v1",
        model: json!({ "fcnet_hiddens": [16], "fusionnet_hiddens": [32] }),
        enough: 120.0,
        ..cartpole()
    }
}

fn images() -> Task {
    Task {
        env: "Catch-v0",
        model: json!({ "conv_filters": [[8, 3, 2], [16, 3, 2]], "head_fcnet_hiddens": [32] }),
        lr: 5e-3,
        entropy_coeff: 0.01,
        steps: 60_000,
        enough: 0.8,
        unlearned: -0.6,
        ..cartpole()
    }
}

/// The right action is the observation before the last one. Half of all guesses are right.
fn memory() -> Task {
    Task {
        env: "RepeatAfterMe-v0",
        env_config: EnvConfig::new().with("episode_len", 20),
        model: json!({
            "use_lstm": true, "lstm_cell_size": 16, "max_seq_len": 10, "fcnet_hiddens": [16],
        }),
        lr: 5e-3,
        entropy_coeff: 0.01,
        steps: 40_000,
        enough: 14.0,
        unlearned: 0.0,
        ..cartpole()
    }
}

/// Two runners with five environments each.
fn with_task<T: TrainingConfig>(config: AlgorithmConfig<T>, task: &Task) -> AlgorithmConfig<T> {
    let mut config = config
        .environment(task.env)
        .env_config(task.env_config.clone())
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        .seed(1);
    if !task.policies.is_empty() {
        let policies = task.policies.iter().copied();
        config =
            config.multi_agent(|m| m.policies(policies).policy_mapping(PolicyMapping::ByAgent));
    }
    let model = task.model.as_object().unwrap();
    model.iter().fold(config, |config, (name, value)| config.model(name, value.clone()))
}

fn impala(task: &Task, deterministic: bool) -> ImpalaConfig {
    let config = ImpalaConfig::new().training(|t| {
        t.lr(task.lr)
            .train_batch_size(100)
            .fragment_length(10)
            .vf_loss_coeff(0.05)
            .entropy_coeff(task.entropy_coeff)
            .deterministic(deterministic)
    });
    with_task(config, task)
}

fn appo(task: &Task, deterministic: bool) -> AppoConfig {
    let config = AppoConfig::new().training(|t| {
        t.lr(task.lr)
            .train_batch_size(100)
            .fragment_length(10)
            .vf_loss_coeff(0.05)
            .entropy_coeff(task.entropy_coeff)
            .deterministic(deterministic)
    });
    with_task(config, task)
}

/// Trains until each policy has reached enough. Returns the best mean return of the policy that is worst, and
/// the steps.
fn train<T: TrainingConfig>(config: &AlgorithmConfig<T>, task: &Task) -> (f64, u64) {
    let mut keys = vec!["env_runners/episode_return_mean".to_owned()];
    if !task.policies.is_empty() {
        let of = |id: &&str| format!("env_runners/module_episode_returns_mean/{id}");
        keys = task.policies.iter().map(of).collect();
    }
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < task.steps && best < task.enough {
        let result = algo.train().unwrap();
        let means = keys.iter().map(|key| result.get(key).unwrap_or(f64::NEG_INFINITY));
        best = best.max(means.fold(f64::INFINITY, f64::min));
    }
    (best, algo.env_steps())
}

fn learns<T: TrainingConfig>(config: &AlgorithmConfig<T>, task: &Task) {
    let (best, steps) = train(config, task);
    let Task { env, enough, unlearned, .. } = task;
    let algorithm = T::NAME;
    assert!(
        best >= *enough,
        "{algorithm} on {env} reached {best} in {steps} steps instead of {enough}; without learning it is {unlearned}"
    );
}

/// Asserts that both algorithms learn the task, in the deterministic mode.
fn both_learn(task: &Task) {
    learns(&impala(task, true), task);
    learns(&appo(task, true), task);
}

#[test]
fn impala_and_appo_learn_cartpole_with_a_fully_connected_module() {
    both_learn(&cartpole());
}

#[test]
fn impala_and_appo_learn_two_independent_policies() {
    both_learn(&two_agents());
}

#[test]
fn impala_and_appo_learn_from_images_with_a_convolutional_module() {
    both_learn(&images());
}

#[test]
fn impala_and_appo_learn_to_remember_with_a_recurrent_module() {
    both_learn(&memory());
}

#[test]
fn impala_and_appo_learn_from_nested_observations() {
    both_learn(&nested());
}

#[test]
fn impala_and_appo_learn_cartpole_when_nobody_waits() {
    let task = cartpole();
    learns(&impala(&task, false), &task);
    learns(&appo(&task, false), &task);
}

/// Without learning, returns do not depend on the time: fewer steps show what more would.
#[test]
fn no_task_is_passed_with_a_learning_rate_of_0() {
    for task in [cartpole(), two_agents(), images(), memory(), nested()] {
        let task = Task { lr: 0.0, steps: 8_000, ..task };
        for (best, _) in [train(&impala(&task, true), &task), train(&appo(&task, true), &task)] {
            let halfway = (task.unlearned + task.enough) / 2.0;
            assert!(best < halfway, "{best} on {}", task.env);
        }
    }
}
