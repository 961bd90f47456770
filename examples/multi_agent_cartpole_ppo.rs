//! Two agents balance one pole each, with one policy each.
//!
//! `cargo run --release --example multi_agent_cartpole_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        // The agents are named 0 and 1. Each one acts with and trains the policy of its name.
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(10)
        });
    common::learn(&tasks::MULTI_AGENT_CARTPOLE, config)
}
