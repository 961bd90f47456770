//! DQN: a replay buffer, target networks and ε-greedy exploration.
//!
//! `cargo run --release --example dqn -- cartpole` (see `--help`)

mod common;
#[path = "common/environments.rs"]
mod environments;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::DqnConfig;
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let chosen =
        Chosen::parse(&[&tasks::DQN_CARTPOLE, &tasks::DQN_CATCH, &tasks::DQN_STATELESS_CARTPOLE]);
    let config = DqnConfig::new();
    let config = match chosen.name() {
        "catch" => config.training(|t| {
            t.lr(1e-3)
                .train_batch_size(32)
                .replay_buffer_config(ReplayConfig::default().capacity(50_000))
                .epsilon([(0, 1.0), (10_000, 0.01)])
                .target_network_update_freq(500)
        }),
        // Positions without velocities: an LSTM learns from sequences, and begins each after a burn-in.
        "stateless-cartpole" => config
            .env_runners(|e| e.num_envs_per_env_runner(8))
            .evaluation(|e| e.evaluation_interval(20).evaluation_duration(20))
            .reporting(|r| r.min_sample_timesteps_per_iteration(512))
            .training(|t| {
                t.lr(5e-4)
                    .train_batch_size(320)
                    .replay_buffer_config(ReplayConfig::default().capacity(100_000))
                    .sample_timesteps_per_update_round(32)
                    .updates_per_env_step(0.125)
                    .n_step(3)
                    .burn_in_len(10)
                    .epsilon([(0, 1.0), (50_000, 0.02)])
                    .target_network_update_freq(2_000)
                    .grad_clip(Some(10.0))
            }),
        // The settings of the RL Zoo. Returns of training include random actions, so the policy is evaluated.
        _ => {
            config.evaluation(|e| e.evaluation_interval(8).evaluation_duration(20)).training(|t| {
                t.lr(2.3e-3)
                    .train_batch_size(64)
                    .replay_buffer_config(ReplayConfig::default().capacity(100_000))
                    .sample_timesteps_per_update_round(256)
                    .updates_per_env_step(0.5)
                    .epsilon([(0, 1.0), (8_000, 0.04)])
                    .target_network_update_freq(10)
                    .grad_clip(Some(10.0))
                    .dueling(false)
                    .double_q(false)
            })
        }
    };
    let config = environments::with_environment(chosen.name(), config);
    let config = match chosen.name() {
        "catch" | "stateless-cartpole" => config,
        _ => config.model("fcnet_hiddens", vec![256, 256]).model("fcnet_activation", "relu"),
    };
    chosen.learn(config)
}
