//! TD3 and DDPG: deterministic policies that explore with noise.
//!
//! `cargo run --release --example td3 -- td3` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[&tasks::TD3_PENDULUM, &tasks::DDPG_PENDULUM]);
    // The settings of the RL Zoo, except that learning starts earlier.
    match chosen.name() {
        "ddpg" => {
            let config = evaluated(DdpgConfig::new());
            chosen.learn(
                config.training(|t| t.gamma(0.98).num_steps_sampled_before_learning_starts(1000)),
            )
        }
        _ => {
            let config = evaluated(Td3Config::new());
            chosen.learn(
                config.training(|t| t.gamma(0.98).num_steps_sampled_before_learning_starts(1000)),
            )
        }
    }
}

/// Evaluates the policy every 1000 environment steps: returns of training are those of random actions, too.
fn evaluated<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("Pendulum-v1")
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .evaluation(|e| e.evaluation_interval(1))
}
