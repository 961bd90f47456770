//! Two agents balance a pole each, with a policy of their own.
//!
//! `cargo run --release --example multi_agent_cartpole_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        // The agents are called 0 and 1; each plays with, and trains, the policy of its name.
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
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
        name: "multi_agent_cartpole_ppo",
        metric: EPISODE_RETURN,
        target: 2.0 * 450.0,
        max_steps: 400_000,
    }
    .run(config)
}
