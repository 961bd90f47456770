//! Two agents swing up a pendulum each, with a policy and an observation filter of their own.
//!
//! `cargo run --release --example multi_agent_pendulum_ppo` (see `--help`)

mod common;

use std::error::Error;
use std::process::ExitCode;

use common::{EPISODE_RETURN, Experiment};
use rekindle::prelude::*;

fn main() -> Result<ExitCode, Box<dyn Error>> {
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
            t.lr([(0, 1e-3), (400_000, 1e-4)])
                .gamma(0.9)
                .lambda_(0.95)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .use_kl_loss(false)
                .grad_clip(0.5)
        });
    Experiment {
        name: "multi_agent_pendulum_ppo",
        metric: EPISODE_RETURN,
        target: 2.0 * -300.0,
        max_steps: 400_000,
    }
    .run(config)
}
