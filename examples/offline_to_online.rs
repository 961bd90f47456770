//! IQL learns to swing up a pendulum from recordings of SAC, and learns on in the environment.
//!
//! `cargo run --release --example offline_to_online`

#[path = "common/program.rs"]
mod program;

use std::error::Error;
use std::path::Path;

use burn::prelude::Device;
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

/// The settings of IQL, with those of the paper for its losses.
pub(crate) fn iql(recorded: &Path, seed: u64) -> IqlConfig {
    IqlConfig::new()
        .environment("Pendulum-v1")
        .offline_data(|o| o.input_(recorded))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.tau(0.005).expectile(0.8).beta(3.0).train_batch_size(64))
        .evaluation(|e| e.evaluation_duration(50))
        .seed(seed)
}

/// Learns from recordings for `updates` hundreds of updates, and then for `env_steps` in the environment.
///
/// # Errors
/// If an environment, an update or a file fails.
pub(crate) fn run(
    iterations: usize,
    updates: usize,
    env_steps: u64,
) -> Result<Returns, Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let folder = tempfile::tempdir()?;
    let recorded = folder.path().join("recorded");
    record(&recorded, iterations, 0, &device)?;
    let mut algo = iql(&recorded, 0).build(&device)?;
    for _ in 0..updates {
        algo.train()?;
    }
    let offline = algo.evaluate()?.mean_return();
    println!("from recordings: {offline:.0}");
    let checkpoint = folder.path().join("checkpoint");
    algo.save_to_path(&checkpoint)?;

    // Another plan: half of each minibatch comes from the recordings, the rest from the environment.
    let plan = Replay::new(ReplayConfig::default(), 64).learning_starts(500).data_share(0.5);
    let mut algo = iql(&recorded, 0)
        .with_execution_plan(plan)
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .build(&device)?;
    algo.restore_component(checkpoint.join("learner"), "learner")?;
    while algo.env_steps() < env_steps {
        algo.train()?;
    }
    let online = algo.evaluate()?.mean_return();
    println!("after {} steps in the environment: {online:.0}", algo.env_steps());
    Ok(Returns { offline, online })
}

#[allow(dead_code, reason = "a test may call `run`")]
fn main() -> Result<(), MainError> {
    program::no_arguments(
        "offline_to_online",
        "IQL learns from recordings of SAC, and then in the environment.",
    );
    program::show_warnings();
    run(6, 50, 10_000)?;
    Ok(())
}
