//! PPO learns a CartPole that crashes and stalls with the probabilities of RLlib's example, and hardly
//! notices. An environment that crashes is reset alone, and its episode is lost; the others go on. A
//! runner whose environment does not come back would be built anew, which is the default.
//!
//! `cargo run --release --example crashing_cartpole_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let faults = EnvConfig::new()
        // Per step and per reset.
        .with("p_crash", 1e-4)
        .with("p_crash_reset", 1e-3)
        .with("p_stall", 1e-4)
        .with("p_stall_reset", 1e-3)
        // Seconds, uniform between these.
        .with("stall_time_sec", vec![0.0, 0.1]);
    let config = PpoConfig::new()
        .environment("CrashingCartPole-v1")
        .env_config(faults)
        .fault_tolerance(|f| f.restart_failed_sub_environments(true))
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr([(0, 1e-3), (300_000, 0.0)])
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
        name: "crashing_cartpole_ppo",
        metric: EPISODE_RETURN,
        target: 450.0,
        max_steps: 300_000,
    }
    .run(config)
}
