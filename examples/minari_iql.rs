//! IQL learns from a dataset of Minari.
//!
//! `cargo run --release --example minari_iql -- [DATASET [ENVIRONMENT]]`
//!
//! `DATASET` is a directory that Minari recorded or downloaded, in HDF5, Arrow or Parquet files, and `ENVIRONMENT` where
//! the policy is evaluated: for `~/.minari/datasets/mujoco/halfcheetah/medium-v0` that is
//! `gymnasium:HalfCheetah-v5`. Without them, SAC records a dataset in Pendulum-v1, which Minari reads as well.

#[path = "common/program.rs"]
mod program;

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::prelude::Device;
use clap::Parser;
use rekindle::offline::{MinariData, OfflineSource, OutputFormat};
use rekindle::prelude::*;

/// IQL learns from a dataset of Minari.
#[derive(Parser)]
#[command(name = "minari_iql")]
struct Args {
    /// Directory of the dataset; one is recorded in Pendulum-v1 without it
    dataset: Option<PathBuf>,
    /// Environment for evaluation
    environment: Option<String>,
}

/// Records a dataset on SAC's way from a random policy to a good one.
pub(crate) fn record(
    folder: &Path,
    iterations: usize,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.output(folder).output_format(OutputFormat::Minari))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.actor_lr(1e-3).critic_lr(1e-3).alpha_lr(1e-3).train_batch_size(64))
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .seed(0);
    let mut algo = config.build(device)?;
    for _ in 0..iterations {
        algo.train()?;
    }
    Ok(())
}

/// Learns from a dataset for `updates` hundreds of updates. Returns the mean return in the environment, if one is
/// given.
///
/// # Errors
/// If the dataset cannot be read, or an environment or an update fails.
pub(crate) fn learn(
    dataset: &Path,
    environment: Option<&str>,
    updates: usize,
    device: &Device,
) -> Result<Option<f64>, Box<dyn Error>> {
    let data = MinariData::open(dataset)?;
    println!("{} episodes, {} steps", data.num_episodes(), data.num_steps());
    let mut config = IqlConfig::new()
        .offline_source(data)
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.tau(0.005).expectile(0.8).beta(3.0).train_batch_size(64))
        .evaluation(|e| e.evaluation_duration(20))
        .seed(0);
    if let Some(environment) = environment {
        config = config.environment(environment);
    }
    let mut algo = config.build(device)?;
    for _ in 0..updates {
        algo.train()?;
    }
    match environment {
        Some(_) => Ok(Some(algo.evaluate()?.mean_return())),
        None => Ok(None),
    }
}

#[allow(dead_code, reason = "a test may call `learn`")]
fn main() -> Result<(), MainError> {
    program::show_warnings();
    let args = Args::parse();
    let device = DeviceSpec::Cpu.open()?;
    let folder = tempfile::tempdir()?;
    let (dataset, environment) = match &args.dataset {
        Some(dataset) => (dataset.clone(), args.environment.as_deref()),
        None => {
            let recorded = folder.path().join("sac-pendulum-v0");
            record(&recorded, 6, &device)?;
            (recorded, Some("Pendulum-v1"))
        }
    };
    match learn(&dataset, environment, 50, &device)? {
        Some(mean) => println!("mean return: {mean:.0}"),
        None => println!("name an environment to evaluate the policy in it"),
    }
    Ok(())
}
