//! The example of algorithms from a loss function.

use rekindle::algorithms::{AlgorithmConfig, CustomTraining};
use rekindle::prelude::*;

#[allow(dead_code, reason = "the example has a `main`")]
#[path = "../../examples/policy_gradient_from_loss.rs"]
mod example;

/// Trains for a number of steps, or until the mean return is enough. Returns the last mean return.
fn train(config: &AlgorithmConfig<CustomTraining>, max_steps: u64, enough: f64) -> f64 {
    let mut algo = config.clone().seed(0).build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let mut mean = 0.0;
    while algo.env_steps() < max_steps && mean < enough {
        mean = algo.train().unwrap().get("env_runners/episode_return_mean").unwrap_or(mean);
    }
    mean
}

#[test]
fn a_loss_over_returns_learns_and_one_over_rewards_does_not() {
    let learned = train(&example::with_returns(), 100_000, 150.0);
    assert!(learned >= 150.0, "{learned}");
    let unlearned = train(&example::reward_only(), 20_000, 150.0);
    assert!(unlearned < 60.0, "{unlearned}");
}

#[test]
fn an_algorithm_from_a_loss_function_is_under_25_lines() {
    let source = include_str!("../../examples/policy_gradient_from_loss.rs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let of = |function: &str| {
        let body = source.split(&format!("fn {function}")).nth(1).unwrap();
        let body = body.split("\n}\n").next().unwrap();
        body.lines().filter(is_code).count() + 1
    };
    let lines = of("with_returns") + of("defaults");
    assert!((15..25).contains(&lines), "{lines} lines");
}
