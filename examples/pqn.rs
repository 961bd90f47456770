//! PQN: Q(λ) on fresh experience of several environments, without a replay buffer and target networks.
//!
//! `cargo run --release --example pqn -- cartpole` (see `--help`)

mod common;
#[path = "common/environments.rs"]
mod environments;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::{PqnConfig, PqnTraining};
use rekindle::prelude::*;

/// The settings of purejaxql for CartPole, with 32 environments and 64 steps each.
fn cartpole(t: PqnTraining) -> PqnTraining {
    t.lr(1e-3)
        .lambda_(0.95)
        .train_batch_size(2048)
        .num_epochs(4)
        .minibatch_size(Some(128))
        .epsilon([(0, 1.0), (100_000, 0.05)])
}

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[&tasks::PQN_CARTPOLE, &tasks::PQN_CATCH]);
    let task = chosen.name();
    let config = environments::with_environment(task, PqnConfig::new());
    let config = match task {
        "catch" => config
            .env_runners(|e| e.num_envs_per_env_runner(16))
            .training(|t| t.lr(1e-3).train_batch_size(512).epsilon([(0, 1.0), (50_000, 0.01)])),
        // Returns of training include random actions, so the policy is evaluated.
        _ => config
            .env_runners(|e| e.num_envs_per_env_runner(32))
            .evaluation(|e| e.evaluation_interval(5))
            .model("fcnet_activation", "relu")
            .training(cartpole),
    };
    chosen.learn(config)
}
