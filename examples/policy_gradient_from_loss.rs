//! Two algorithms from a loss function: policy gradients on the reward of each step, which learn badly, and
//! on the rewards that follow, which reach the maximum.
//!
//! `cargo run --release --example policy_gradient_from_loss`

#[path = "common/program.rs"]
mod program;

use rekindle::algorithms::{AlgorithmConfig, CustomTraining};
use rekindle::prelude::*;

const STEPS: u64 = 300_000;

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

/// Trains for a number of steps, or until the mean return is 475. Returns the last mean return.
pub(crate) fn train(
    config: &AlgorithmConfig<CustomTraining>,
    max_steps: u64,
) -> Result<f64, MainError> {
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    let mut mean = 0.0;
    while algo.env_steps() < max_steps && mean < 475.0 {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
        if algo.iteration() % 25 == 0 {
            println!("{:>12}: {:>7} steps, mean return {mean:>5.1}", algo.name(), algo.env_steps());
        }
    }
    println!("{:>12}: {:>7} steps, mean return {mean:>5.1}", algo.name(), algo.env_steps());
    Ok(mean)
}

fn main() -> Result<(), MainError> {
    program::show_warnings();
    program::no_arguments(
        "policy_gradient_from_loss",
        "Trains two algorithms from loss functions on CartPole.",
    );
    train(&reward_only(), STEPS)?;
    train(&with_returns(), STEPS)?;
    Ok(())
}
