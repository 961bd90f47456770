//! Policy gradients on CartPole: A2C, VPG with a value function, and PPO with the plan of A3C.
//!
//! `cargo run --release --example policy_gradients -- a2c` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{Chosen, ppo_settings, tasks};
use rekindle::algorithms::{A2cConfig, AlgorithmConfig, AsyncGradients, TrainingConfig, VpgConfig};
use rekindle::prelude::*;

/// The environment and the network of all three.
fn cartpole<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config.environment("CartPole-v1").model("fcnet_hiddens", vec![64, 64])
}

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[&tasks::A2C, &tasks::VPG, &tasks::A3C]);
    match chosen.name() {
        // The settings of Stable-Baselines3, which are the defaults.
        "a2c" => {
            let config = A2cConfig::new().env_runners(|e| e.num_envs_per_env_runner(8));
            chosen.learn(cartpole(config))
        }
        "vpg" => {
            let config = VpgConfig::new()
                .env_runners(|e| e.num_envs_per_env_runner(8))
                .training(|t| t.lr(2e-3).train_batch_size(1024));
            chosen.learn(cartpole(config))
        }
        // `a3c`: two runners compute gradients of 8 steps of 8 environments each.
        _ => {
            let config = PpoConfig::new()
                .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(8))
                .training(|t| ppo_settings(t).lr(1e-3).entropy_coeff(0.0))
                .training(|t| t.num_epochs(1).minibatch_size(None))
                .with_execution_plan(AsyncGradients::new(8));
            chosen.learn(cartpole(config))
        }
    }
}
