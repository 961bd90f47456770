//! PPO learns Pendulum: continuous actions, and observations standardized by a running filter.
//!
//! The statistics of the filter are part of the checkpoint. A policy without them would see other
//! observations than those it was trained on.
//!
//! `cargo run --release --example pendulum_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(10)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t)
                .lr([(0, 1e-3), (tasks::PENDULUM.max_steps, 1e-4)])
                .gamma(0.9)
                .entropy_coeff(0.0)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
        });
    common::learn(&tasks::PENDULUM, config)
}
