//! Estimates the return of a policy from episodes of another one, and compares it with the return of playing it.
//!
//! `cargo run --release --example policy_evaluation`

#[path = "common/program.rs"]
mod program;

use std::error::Error;

use rekindle::algorithms::OffPolicyEstimation;
use rekindle::offline::{Estimator, ParquetData};
use rekindle::prelude::*;

const GAMMA: f64 = 0.95;

/// Returns the mean discounted return of a module that samples its actions.
fn played(module: &AnyRLModule, episodes: usize) -> Result<f64, Box<dyn Error>> {
    let config = EnvRunnerConfig::new("CartPole-v1").num_envs(10).seed(7);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &DeviceSpec::Cpu.open()?)?;
    runner.set_module(module, PublishedAt::default())?;
    let experience = runner.collect(Amount::Episodes(episodes), SampleOptions::default())?;
    let (mut sum, mut count) = (0.0, 0.0);
    for rollout in experience.rollouts.values().flatten() {
        for segment in &rollout.segments {
            let rewards: Vec<_> = segment.rows().map(|row| rollout.rewards[row]).collect();
            sum += rewards.iter().rev().fold(0.0, |after, r| f64::from(*r) + GAMMA * after);
            count += 1.0;
        }
    }
    Ok(sum / count)
}

/// Estimates of a return, with the bounds of their intervals.
pub(crate) type Estimates = Vec<(Estimator, [f64; 3])>;

/// Records episodes of a policy, improves the policy a little, and estimates its return from the recorded episodes.
/// Returns the return that was played, and the estimates with their intervals.
///
/// # Errors
/// If an environment, an update or a file fails.
pub(crate) fn run() -> Result<(f64, Estimates), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let device = DeviceSpec::Cpu.open()?;
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8).batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.lr(1e-3).train_batch_size(4096).minibatch_size(512).num_epochs(2))
        .seed(0);
    // With a learning rate of 0, the policy that acts stays the same.
    let recorded = folder.path().join("recorded");
    let mut before = config
        .clone()
        .training(|t| t.lr(0.0))
        .env_runners(|e| e.output(&recorded))
        .build(&device)?;
    before.train()?;
    drop(before);
    let mut after = config.build(&device)?;
    after.train()?;
    let module = after.module(DEFAULT_MODULE_ID)?;

    let estimation = OffPolicyEstimation::default().gamma(GAMMA).methods([
        Estimator::ImportanceSampling,
        Estimator::WeightedImportanceSampling,
        Estimator::PerDecisionImportanceSampling,
        Estimator::PerDecisionWeightedImportanceSampling,
    ]);
    let data = ParquetData::open(&recorded)?;
    let estimates = estimation.estimate(module, &data, DEFAULT_MODULE_ID)?;
    let mean = played(module, 200)?;
    println!("played: {mean:.2}");
    let mut found = Vec::new();
    for (estimator, estimate) in estimates {
        let [value, low, high] = [estimate.value, estimate.low, estimate.high];
        println!("{:>5}: {value:.2} [{low:.2}, {high:.2}]", estimator.name());
        found.push((estimator, [value, low, high]));
    }
    Ok((mean, found))
}

#[allow(dead_code, reason = "a test may call `run`")]
fn main() -> Result<(), MainError> {
    program::no_arguments(
        "policy_evaluation",
        "Estimates the return of a policy on CartPole from the episodes of another one.",
    );
    program::show_warnings();
    run()?;
    Ok(())
}
