//! IQL learns to swing up a pendulum from recordings of SAC, and learns on in the environment.
//!
//! `cargo run --release --example offline_to_online [RECORDINGS] [--seed N]`

#[path = "common/program.rs"]
mod program;

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::prelude::Device;
use clap::Parser;
use rekindle::algorithms::Replay;
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;

/// Mean returns of IQL.
#[derive(Debug)]
#[allow(dead_code, reason = "a program that calls `run` reads the fields")]
pub(crate) struct Returns {
    pub(crate) offline: f64,
    pub(crate) online: f64,
}

/// Records everything that SAC collects on its way from a random policy to a good one.
pub(crate) fn record(
    folder: &Path,
    iterations: usize,
    seed: u64,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.output(folder))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.actor_lr(1e-3).critic_lr(1e-3).alpha_lr(1e-3).train_batch_size(64))
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .seed(seed);
    let mut algo = config.build(device)?;
    for _ in 0..iterations {
        algo.train()?;
    }
    Ok(())
}

/// The settings of IQL. Rewards are as the environment gives them, so advantages have a smaller factor than in the
/// paper.
pub(crate) fn iql(recorded: &Path, seed: u64) -> IqlConfig {
    IqlConfig::new()
        .environment("Pendulum-v1")
        .offline_data(|o| o.input_(recorded))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.tau(0.005)
                .expectile(0.8)
                .beta(1.0)
                .actor_lr(1e-3)
                .critic_lr(1e-3)
                .value_lr(1e-3)
                .train_batch_size(64)
        })
        .evaluation(|e| e.evaluation_duration(50))
        .seed(seed)
}

/// How long each part takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    /// Thousands of steps of SAC to record, unless there are recordings.
    pub(crate) recorded: usize,
    /// Hundreds of updates from recordings.
    pub(crate) updates: usize,
    /// Steps in the environment after them.
    pub(crate) env_steps: u64,
}

/// Learns from recordings, and then in the environment.
///
/// # Errors
/// If an environment, an update or a file fails.
pub(crate) fn run(
    recordings: Option<&Path>,
    amounts: Amounts,
    seed: u64,
) -> Result<Returns, Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let folder = tempfile::tempdir()?;
    let recorded = match recordings {
        Some(path) => path.to_owned(),
        None => {
            let path = folder.path().join("recorded");
            record(&path, amounts.recorded, seed, &device)?;
            path
        }
    };
    let mut algo = iql(&recorded, seed).build(&device)?;
    for _ in 0..amounts.updates {
        algo.train()?;
    }
    let offline = algo.evaluate()?.mean_return();
    println!("greedy return from recordings  {offline:.1}");
    let checkpoint = folder.path().join("checkpoint");
    algo.save_to_path(&checkpoint)?;

    // Another plan: a quarter of each minibatch comes from the recordings, the rest from the environment.
    let plan = Replay::new(ReplayConfig::default(), 64).learning_starts(500).data_share(0.25);
    let mut algo = iql(&recorded, seed)
        .with_execution_plan(plan)
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .build(&device)?;
    algo.restore_component(checkpoint.join("learner"), "learner")?;
    while algo.env_steps() < amounts.env_steps {
        algo.train()?;
    }
    let online = algo.evaluate()?.mean_return();
    println!("greedy return after {} steps in the environment  {online:.1}", algo.env_steps());
    Ok(Returns { offline, online })
}

/// IQL learns from recordings of SAC, and then in the environment.
#[derive(Parser)]
struct Args {
    /// Directory with recordings of Pendulum-v1 [default: the first steps of SAC are recorded]
    recordings: Option<PathBuf>,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[allow(dead_code, reason = "a test may call `run`")]
fn main() -> Result<(), MainError> {
    let args = Args::parse();
    program::show_warnings();
    let amounts = Amounts { recorded: 3, updates: 50, env_steps: 10_000 };
    run(args.recordings.as_deref(), amounts, args.seed)?;
    Ok(())
}
