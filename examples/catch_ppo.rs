//! A paddle catches a falling ball, seen as an image of 10 x 5 pixels, by a small CNN.
//!
//! `cargo run --release --example catch_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("Catch-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        // Output channels, kernel, stride.
        .model("conv_filters", serde_json::json!([[16, 3, 1], [32, 3, 2]]))
        .model("head_fcnet_hiddens", vec![64])
        .model("vf_share_layers", true)
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(6)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment { name: "catch_ppo", metric: EPISODE_RETURN, target: 0.95, max_steps: 200_000 }
        .run(config)
}
