//! PPO learns a CartPole that crashes and stalls with the probabilities of RLlib's example. A crashed
//! environment is restarted alone and its episode is lost; the others continue. By default, a runner
//! whose environment cannot be restarted is recreated.
//!
//! `cargo run --release --example crashing_cartpole_ppo` (see `--help`)

mod common;
#[path = "common/environments.rs"]
mod environments;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = environments::with_environment("crashing-cartpole", PpoConfig::new())
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(4))
        .training(|t| {
            ppo_settings(t)
                .lr([(0, 1e-3), (tasks::CRASHING_CARTPOLE.max_steps, 0.0)])
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
        });
    common::learn(&tasks::CRASHING_CARTPOLE, config)
}
