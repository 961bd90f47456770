//! PPO learns a CartPole that crashes and stalls with the probabilities of RLlib's example. A crashed
//! environment is restarted alone and its episode is lost; the others continue. By default, a runner
//! whose environment cannot be restarted is recreated.
//!
//! `cargo run --release --example crashing_cartpole_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let faults = EnvConfig::new()
        // Probabilities per step and per reset.
        .with("p_crash", 1e-4)
        .with("p_crash_reset", 1e-3)
        .with("p_stall", 1e-4)
        .with("p_stall_reset", 1e-3)
        // Seconds, drawn uniformly from this range.
        .with("stall_time_sec", vec![0.0, 0.1]);
    let config = PpoConfig::new()
        .environment("CrashingCartPole-v1")
        .env_config(faults)
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t)
                .lr([(0, 1e-3), (tasks::CRASHING_CARTPOLE.max_steps, 0.0)])
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
        });
    common::learn(&tasks::CRASHING_CARTPOLE, config)
}
