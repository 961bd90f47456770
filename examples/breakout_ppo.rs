//! Breakout on a grid of 10 x 10 with a channel each for paddle, ball, trail and bricks, by a CNN.
//!
//! `cargo run --release --example breakout_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("Breakout-v0")
        .env_runners(|e| e.num_envs_per_env_runner(64))
        // Output channels, kernel, stride.
        .model("conv_filters", serde_json::json!([[16, 3, 2], [32, 3, 2]]))
        .model("head_fcnet_hiddens", vec![128])
        .model("vf_share_layers", true)
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(4096)
                .minibatch_size(512)
                .num_epochs(3)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment { name: "breakout_ppo", metric: EPISODE_RETURN, target: 10.0, max_steps: 3_000_000 }
        .run(config)
}
