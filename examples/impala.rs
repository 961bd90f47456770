//! IMPALA: two runners act while a learner learns, and V-trace corrects for actions chosen by older
//! weights.
//!
//! `cargo run --release --example impala -- cartpole` (see `--help`)

mod common;
#[path = "common/environments.rs"]
mod environments;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::ImpalaConfig;
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[
        &tasks::IMPALA_CARTPOLE,
        &tasks::IMPALA_MULTI_AGENT_CARTPOLE,
        &tasks::IMPALA_STATELESS_CARTPOLE,
        &tasks::IMPALA_CATCH,
        &tasks::IMPALA_NESTED_CARTPOLE,
    ]);
    let config = ImpalaConfig::new()
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        // Small batches: each update follows the policy that acted closely.
        .training(|t| {
            t.lr(2e-3)
                .train_batch_size(100)
                .fragment_length(10)
                .vf_loss_coeff(0.05)
                .entropy_coeff(0.0)
        });
    let config = match chosen.name() {
        "stateless-cartpole" => {
            config.training(|t| t.lr(1e-3).train_batch_size(200).fragment_length(20))
        }
        "catch" => config.training(|t| t.entropy_coeff(0.01).vf_loss_coeff(0.5)),
        _ => config,
    };
    let config = environments::with_environment(chosen.name(), config);
    chosen.learn(config)
}
