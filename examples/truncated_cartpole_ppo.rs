//! CartPole truncated after 50 steps in training and 500 in evaluation. The policy generalizes beyond
//! 50 steps only because truncated episodes bootstrap from the value of their last state.
//!
//! `cargo run --release --example truncated_cartpole_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let short = EnvSpec::new("Example/CartPole50-v1", CartPole::new).with_max_episode_steps(50);
    register(short)?;
    let config = PpoConfig::new()
        .environment("Example/CartPole50-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .evaluation(|e| e.evaluation_interval(5).evaluation_config(|c| c.env("CartPole-v1")))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(10)
        });
    common::learn(&tasks::TRUNCATED_CARTPOLE, config)
}
