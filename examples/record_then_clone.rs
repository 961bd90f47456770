//! Records what PPO collects on CartPole as Parquet files, and clones it without an environment.
//!
//! `cargo run --release --example record_then_clone`

#[path = "common/program.rs"]
mod program;

use std::error::Error;

use burn::prelude::Device;
use rekindle::algorithms::AlgorithmConfig;
use rekindle::algorithms::TrainingConfig;
use rekindle::offline::ParquetData;
use rekindle::prelude::*;

/// Mean returns of the policies.
#[derive(Debug)]
#[allow(dead_code, reason = "a program that calls `run` reads the fields")]
pub(crate) struct Returns {
    pub(crate) expert: f64,
    pub(crate) clone: f64,
}

/// Trains PPO until `target`, and goes on recording for some iterations.
fn record(target: f64, device: &Device) -> Result<(tempfile::TempDir, f64), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .training(|t| {
            t.lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6).lambda_(0.95)
        })
        .evaluation(|e| e.evaluation_duration(50))
        .seed(0);
    let mut algo = config.build(device)?;
    while algo.train()?.get("env_runners/episode_return_mean").is_none_or(|mean| mean < target) {}
    let checkpoint = folder.path().join("checkpoint");
    algo.save_to_path(&checkpoint)?;
    // The same run goes on, and records.
    let output = folder.path().join("recorded");
    let mut expert = Algorithm::from_checkpoint_with::<PpoTraining>(&checkpoint, device, |c| {
        c.env_runners(|e| e.output(&output))
    })?;
    for _ in 0..10 {
        expert.train()?;
    }
    let mean = expert.evaluate()?.mean_return();
    // The end of the runners writes the episodes that go on.
    drop(expert);
    Ok((folder, mean))
}

/// Learns from recordings for some iterations of 100 updates, and plays.
fn clone_of<T: TrainingConfig>(
    config: AlgorithmConfig<T>,
    iterations: usize,
    device: &Device,
) -> Result<f64, Box<dyn Error>> {
    let mut algo = config.build(device)?;
    for _ in 0..iterations {
        algo.train()?;
    }
    Ok(algo.evaluate()?.mean_return())
}

/// Records an expert and clones it.
///
/// # Errors
/// If an environment, an update or a file fails.
pub(crate) fn run(target: f64, iterations: usize) -> Result<Returns, Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let (folder, expert) = record(target, &device)?;
    let recorded = folder.path().join("recorded");
    let data = ParquetData::open(&recorded)?;
    println!("recorded {} steps; the expert has a mean return of {expert:.0}", data.num_steps());
    let config = BcConfig::new()
        .offline_data(|o| o.input_(&recorded))
        .training(|t| t.lr(1e-3).train_batch_size(256))
        .evaluation(|e| {
            e.evaluation_duration(50).evaluation_config(|c| c.env("CartPole-v1").explore(false))
        })
        .seed(0);
    let clone = clone_of(config, iterations, &device)?;
    println!("its clone has a mean return of {clone:.0}");
    Ok(Returns { expert, clone })
}

#[allow(dead_code, reason = "a test may call `run`")]
fn main() -> Result<(), MainError> {
    program::no_arguments("record_then_clone", "Records PPO on CartPole, and clones it with BC.");
    program::show_warnings();
    run(475.0, 20)?;
    Ok(())
}
