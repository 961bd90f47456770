//! The library's side of `cargo xtask compare`: measures a workload and prints one line of JSON.

use std::error::Error;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use rekindle::prelude::*;
use serde_json::json;

/// Measures a workload and prints one line of JSON.
#[derive(Parser)]
struct Args {
    /// What to measure.
    #[arg(long, default_value = "ppo-cartpole")]
    workload: Workload,
    /// Environment steps to train for.
    #[arg(long, default_value_t = 102_400)]
    steps: u64,
    /// The seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workload {
    /// PPO on CartPole: 8 environments × 128 steps, 4 epochs, minibatches of 256, separate 64×64
    /// tanh networks.
    PpoCartpole,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let Workload::PpoCartpole = args.workload;
    let mut algo = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr(2.5e-4)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(4)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(args.seed)
        .build(&args.device.open().map_err(|error| error.to_string())?)?;
    // The first iteration warms caches and is not counted.
    let mut mean = algo.train()?.get("env_runners/episode_return_mean");
    let (first, started) = (algo.env_steps(), Instant::now());
    while algo.env_steps() < first + args.steps {
        mean = algo.train()?.get("env_runners/episode_return_mean");
    }
    let rate = (algo.env_steps() - first) as f64 / started.elapsed().as_secs_f64();
    let line = json!({
        "workload": "ppo-cartpole",
        "system": "rekindle",
        "version": env!("CARGO_PKG_VERSION"),
        "threads": 1,
        "env_steps_per_s": rate,
        "episode_return_mean": mean,
    });
    println!("{line}");
    Ok(())
}
