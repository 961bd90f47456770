//! CartPole observed as a nested Dict of Boxes, Discrete values and Tuples. The default encoder reads
//! each part with its own network and fuses the features.
//!
//! `cargo run --release --example nested_cartpole_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = PpoConfig::new()
        .environment("NestedCartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![32])
        .model("fusionnet_hiddens", vec![64])
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(10)
        });
    common::learn(&tasks::NESTED_CARTPOLE, config)
}
