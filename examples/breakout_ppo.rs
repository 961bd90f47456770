//! A CNN learns Breakout on a 10 × 10 grid with one channel each for paddle, ball, trail and bricks.
//!
//! `cargo run --release --example breakout_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    // ANCHOR: config
    let config = PpoConfig::new()
        .environment("Breakout-v0")
        .env_runners(|e| e.num_envs_per_env_runner(64))
        // Output channels, kernel, stride.
        .model("conv_filters", serde_json::json!([[16, 3, 2], [32, 3, 2]]))
        .model("head_fcnet_hiddens", vec![128])
        .model("vf_share_layers", true)
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(4096).minibatch_size(512).num_epochs(3)
        });
    // ANCHOR_END: config
    common::learn(&tasks::BREAKOUT, config)
}
