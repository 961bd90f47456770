//! CartPole seen through a nested Dict of Boxes, choices and tuples: the default encoder reads every
//! part with a network of its own and fuses them.
//!
//! `cargo run --release --example nested_cartpole_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("NestedCartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![32])
        .model("fusionnet_hiddens", vec![64])
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment {
        name: "nested_cartpole_ppo",
        metric: EPISODE_RETURN,
        target: 450.0,
        max_steps: 300_000,
    }
    .run(config)
}
