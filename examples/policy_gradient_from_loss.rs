//! Two algorithms from a loss function: policy gradients on the reward of each step, which learn badly, and
//! on the rewards that follow, which reach the maximum.
//!
//! `cargo run --release --example policy_gradient_from_loss -- with-returns` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::{AlgorithmConfig, CustomTraining};
use rekindle::prelude::*;

// ANCHOR: losses
/// Maximizes the reward of the same step: 1 for every action on CartPole, good or bad.
pub(crate) fn reward_only() -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("RewardOnly", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::REWARDS)?).mean().neg())
    })
    .with_defaults(defaults)
}

/// Maximizes the discounted rewards that follow.
pub(crate) fn with_returns() -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("MyPG", |cx, batch| {
        let returns = batch.float::<1>(Columns::RETURNS_TO_GO)?;
        Ok((cx.logp()? * (returns.clone() - returns.mean())).mean().neg())
    })
    .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.99))
    .with_defaults(defaults)
}
// ANCHOR_END: losses

fn defaults(config: AlgorithmConfig<CustomTraining>) -> AlgorithmConfig<CustomTraining> {
    config
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).batch_mode(BatchMode::CompleteEpisodes))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.lr(2e-3).train_batch_size(512))
        .seed(0)
}

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[&tasks::FROM_LOSS, &tasks::REWARD_ONLY]);
    match chosen.name() {
        "reward-only" => chosen.learn(reward_only()),
        _ => chosen.learn(with_returns()),
    }
}
