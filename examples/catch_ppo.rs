//! A small CNN learns to catch a falling ball with a paddle, from images of 10 × 5 pixels.
//!
//! `cargo run --release --example catch_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = PpoConfig::new()
        .environment("Catch-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        // Output channels, kernel, stride.
        .model("conv_filters", serde_json::json!([[16, 3, 1], [32, 3, 2]]))
        .model("head_fcnet_hiddens", vec![64])
        .model("vf_share_layers", true)
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6)
        });
    common::learn(&tasks::CATCH, config)
}
