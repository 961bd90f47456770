//! CartPole that is cut short after 50 steps, evaluated on 500: what a policy learns from cut
//! episodes must hold beyond them, so the value of the last state has to count.
//!
//! `cargo run --release --example truncated_cartpole_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::Experiment;
use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let short = EnvSpec::new("Example/CartPole50-v1", CartPole::new).with_max_episode_steps(50);
    register(short)?;
    let config = PpoConfig::new()
        .environment("Example/CartPole50-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .evaluation(|e| e.evaluation_interval(5).evaluation_config(|c| c.env("CartPole-v1")))
        .model("fcnet_hiddens", vec![64, 64])
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
        name: "truncated_cartpole_ppo",
        metric: "evaluation/env_runners/episode_return_mean",
        target: 490.0,
        max_steps: 500_000,
    }
    .run(config)
}
