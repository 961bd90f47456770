//! Learning from recorded steps, and reading them: rekindle's side of `offline-cloning`, `offline-reading` and
//! `offline-256` in `cargo xtask compare`.

use std::path::Path;

use rekindle::algorithms::{
    AlgorithmConfig, BcConfig, CqlConfig, IqlConfig, MarwilConfig, PpoConfig, SacConfig,
    TrainingConfig,
};
use rekindle::learner::TrainData;
use rekindle::offline::{OfflineSource, ParquetData};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, rate, report, training_rate};

/// Learns from 20 000 recorded random steps, and prints rows per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases: `bc` and `marwil` (CartPole-v1, 64 × 64, batches of 2000 rows, 100 updates per training step), `read` (from
    /// Parquet files to batches of the learner, without updates), `iql` and `cql` (Pendulum-v1, 256 × 256, minibatches
    /// of 256)
    #[arg(long, value_delimiter = ',', default_value = "bc,marwil,read,iql,cql")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: super::Timing,
}

const STEPS: u64 = 20_000;
const BATCH: usize = 2000;

pub(crate) fn run(args: &Args) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (cart_pole, pendulum) = (folder.path().join("cart_pole"), folder.path().join("pendulum"));
    let seed = args.timing.seed;
    for case in &args.cases {
        match case.as_str() {
            "iql" | "cql" if !pendulum.exists() => record_pendulum(&pendulum, seed)?,
            "bc" | "marwil" | "read" if !cart_pole.exists() => record_cart_pole(&cart_pole, seed)?,
            _ => {}
        }
        let seconds = args.timing.seconds;
        let value = match case.as_str() {
            "bc" => {
                let config = BcConfig::new().training(|t| t.train_batch_size(BATCH));
                updates(config, &cart_pole, vec![64, 64], args)?
            }
            "marwil" => {
                let config = MarwilConfig::new().training(|t| t.train_batch_size(BATCH));
                updates(config, &cart_pole, vec![64, 64], args)?
            }
            "iql" => updates(IqlConfig::new(), &pendulum, vec![256, 256], args)?,
            "cql" => updates(
                CqlConfig::new().training(|t| t.bc_iters(0)),
                &pendulum,
                vec![256, 256],
                args,
            )?,
            "read" => {
                let data = ParquetData::open(&cart_pole)?;
                rate(seconds, || read(&data))?
            }
            _ => return Err(format!("invalid case `{case}`; see `--help`").into()),
        };
        report(case, value, None);
    }
    Ok(())
}

/// Records random steps: 8 environments of CartPole-v1.
fn record_cart_pole(folder: &Path, seed: u64) -> Outcome {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8).output(folder))
        .training(|t| t.train_batch_size(4000).minibatch_size(4000).num_epochs(1).lr(0.0))
        .model("fcnet_hiddens", vec![8])
        .seed(seed);
    collect(config)
}

/// Records random steps of Pendulum-v1: those before SAC learns.
fn record_pendulum(folder: &Path, seed: u64) -> Outcome {
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.output(folder))
        .training(|t| t.num_steps_sampled_before_learning_starts(2 * STEPS))
        .reporting(|r| r.min_sample_timesteps_per_iteration(4000))
        .model("fcnet_hiddens", vec![8])
        .seed(seed);
    collect(config)
}

fn collect<T: TrainingConfig>(config: AlgorithmConfig<T>) -> Outcome {
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    while algo.env_steps() < STEPS {
        algo.train()?;
    }
    Ok(())
}

/// Learns from recordings, and returns the rows learned from per second.
fn updates<T: TrainingConfig>(
    config: AlgorithmConfig<T>,
    folder: &Path,
    hidden: Vec<i64>,
    args: &Args,
) -> Outcome<f64> {
    let mut algo = config
        .offline_data(|o| o.input_(folder))
        .model("fcnet_hiddens", hidden)
        .seed(args.timing.seed)
        .build(&DeviceSpec::Cpu.open()?)?;
    Ok(training_rate(&mut algo, args.timing.seconds)?.0)
}

/// Reads all steps into batches of the learner. Returns their number.
fn read(data: &ParquetData) -> Outcome<u64> {
    let (mut rows, mut pending) = (0, Vec::new());
    for part in 0..data.num_parts() {
        pending.extend(data.read(part)?.into_values().flatten());
        if pending.iter().map(Rollout::env_steps).sum::<usize>() >= BATCH
            || part + 1 == data.num_parts()
        {
            rows += TrainData::from_rollouts(&pending, 1)?.rows() as u64;
            pending.clear();
        }
    }
    Ok(rows)
}
