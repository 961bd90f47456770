//! DQN and its family: a replay buffer, target networks and ε-greedy exploration; distributions of returns (C51 and
//! QR-DQN), and Rainbow.
//!
//! `cargo run --release --example dqn -- cartpole` (see `--help`)

mod common;
#[path = "common/environments.rs"]
mod environments;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::{DqnConfig, DqnTraining};
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;

/// The settings of the RL Zoo for CartPole.
fn cartpole(t: DqnTraining) -> DqnTraining {
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
}

/// The settings of a task. Those of `acrobot` and `mountain-car` are the RL Zoo's, too.
fn settings(task: &str, t: DqnTraining) -> DqnTraining {
    match task {
        "catch" => t
            .lr(1e-3)
            .train_batch_size(32)
            .replay_buffer_config(ReplayConfig::default().capacity(50_000))
            .epsilon([(0, 1.0), (10_000, 0.01)])
            .target_network_update_freq(500),
        "acrobot" => cartpole(t)
            .lr(6.3e-4)
            .train_batch_size(128)
            .replay_buffer_config(ReplayConfig::default().capacity(50_000))
            .num_steps_sampled_before_learning_starts(0)
            .sample_timesteps_per_update_round(4)
            .updates_per_env_step(1.0)
            .epsilon([(0, 1.0), (12_000, 0.1)])
            .target_network_update_freq(250),
        "mountain-car" => cartpole(t)
            .lr(4e-3)
            .gamma(0.98)
            .train_batch_size(128)
            .replay_buffer_config(ReplayConfig::default().capacity(10_000))
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.5)
            .epsilon([(0, 1.0), (24_000, 0.07)])
            .target_network_update_freq(600),
        // Returns of CartPole are at most 100 with γ 0.99.
        "c51" => cartpole(t).num_atoms(51).v_min(0.0).v_max(100.0).target_network_update_freq(100),
        "qr-dqn" => cartpole(t).num_quantiles(10),
        "stateless-cartpole" => t
            .lr(5e-4)
            .train_batch_size(320)
            .replay_buffer_config(ReplayConfig::default().capacity(100_000))
            .sample_timesteps_per_update_round(32)
            .updates_per_env_step(0.125)
            .n_step(3)
            .burn_in_len(10)
            .epsilon([(0, 1.0), (50_000, 0.02)])
            .target_network_update_freq(2_000)
            .grad_clip(Some(10.0)),
        // All parts of Rainbow. Its noisy layers explore, without ε.
        "rainbow" => t
            .lr(1e-3)
            .train_batch_size(64)
            .replay_buffer_config(
                ReplayConfig::default().capacity(50_000).prioritized(PrioritizedConfig::default()),
            )
            .sample_timesteps_per_update_round(32)
            .updates_per_env_step(0.5)
            .n_step(3)
            .noisy(true)
            .num_atoms(51)
            .v_min(0.0)
            .v_max(100.0)
            .target_network_update_freq(200)
            .grad_clip(Some(10.0)),
        _ => cartpole(t),
    }
}

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[
        &tasks::DQN_CARTPOLE,
        &tasks::DQN_ACROBOT,
        &tasks::DQN_MOUNTAIN_CAR,
        &tasks::C51_CARTPOLE,
        &tasks::QR_DQN_CARTPOLE,
        &tasks::RAINBOW_CARTPOLE,
        &tasks::DQN_MULTI_AGENT_CARTPOLE,
        &tasks::DQN_CATCH,
        &tasks::DQN_STATELESS_CARTPOLE,
    ]);
    let task = chosen.name();
    let config = environments::with_environment(task, DqnConfig::new());
    let config = config.training(|t| settings(task, t));
    let config = match task {
        "catch" => config,
        // Positions without velocities: an LSTM learns from sequences, and begins each after a burn-in.
        "stateless-cartpole" => config
            .env_runners(|e| e.num_envs_per_env_runner(8))
            .evaluation(|e| e.evaluation_interval(20).evaluation_duration(20))
            .reporting(|r| r.min_sample_timesteps_per_iteration(512)),
        // Returns of training include random actions, so the policy is evaluated.
        _ => config
            .evaluation(|e| {
                e.evaluation_interval(if task == "multi-agent-cartpole" { 5 } else { 2 })
            })
            .model("fcnet_hiddens", vec![256, 256])
            .model("fcnet_activation", "relu"),
    };
    chosen.learn(config)
}
