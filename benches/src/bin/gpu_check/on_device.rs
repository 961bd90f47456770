//! The speed of PPO with environments on the device.

use std::time::{Duration, Instant};

use rekindle::prelude::*;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::learn::Task;
use crate::{settings, subject_spec};

/// Measures environment steps per second of PPO on the device, updates included, and prints a line of JSON per
/// case.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(long, default_value = "cartpole")]
    env: Task,
    /// Copies of the environment
    #[arg(long, default_value_t = 4096)]
    num_envs: usize,
    /// Steps of each copy per iteration
    #[arg(long, default_value_t = 32)]
    rollout: usize,
    /// Rows per minibatch
    #[arg(long, default_value_t = 32_768)]
    minibatch_size: usize,
    /// Passes over the rows of each update, for each case
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    epochs: Vec<usize>,
    /// Seconds to measure each case
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = subject_spec().open()?;
    for &epochs in &args.epochs {
        let config = PpoConfig::new()
            .environment(args.env.id())
            .env_runners(|e| e.on_device(true).num_envs_per_env_runner(args.num_envs))
            .model("fcnet_hiddens", vec![64, 64])
            .training(|training| {
                settings::ppo_settings(training)
                    .lr(2.5e-3)
                    .minibatch_size(args.minibatch_size)
                    .num_epochs(epochs)
                    .train_batch_size(args.num_envs * args.rollout)
            })
            .seed(0);
        let mut algo = config.build(&device)?;
        algo.train()?;
        let (started, steps) = (Instant::now(), algo.env_steps());
        // Until all operations of a rollout are issued; the device may still compute.
        let mut sampling = 0.0;
        while started.elapsed() < Duration::from_secs_f64(args.seconds) {
            let result = algo.train()?;
            sampling += result.get("timers/env_runner_sampling_timer").unwrap_or(f64::NAN);
        }
        let seconds = started.elapsed().as_secs_f64();
        let line = json!({
            "case": format!("{}-{epochs}", args.env.id()), "system": "rekindle",
            "value": (algo.env_steps() - steps) as f64 / seconds, "unit": "env steps/s",
            "num_envs": args.num_envs, "rollout": args.rollout, "epochs": epochs,
            "minibatch_size": args.minibatch_size, "share_of_issuing_rollouts": sampling / seconds,
        });
        println!("{line}");
    }
    Ok(())
}
