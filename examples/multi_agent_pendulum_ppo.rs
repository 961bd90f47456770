//! Two agents swing up one pendulum each, with one policy and one observation filter each.
//!
//! `cargo run --release --example multi_agent_pendulum_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{ppo_settings, tasks};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let config = PpoConfig::new()
        .environment("MultiAgentPendulum-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| {
            e.num_envs_per_env_runner(10)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            ppo_settings(t)
                .lr([(0, 1e-3), (tasks::MULTI_AGENT_PENDULUM.max_steps, 1e-4)])
                .gamma(0.9)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
                .entropy_coeff(0.0)
        });
    common::learn(&tasks::MULTI_AGENT_PENDULUM, config)
}
