//! SAC with the defaults of Stable-Baselines3 on the device.

use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, report, training_rate};

use crate::subject_spec;

/// Trains SAC on Pendulum-v1 (256 × 256, minibatches of 256, an update every step) and prints environment steps per
/// second as lines of JSON: acting on the device, and acting on the CPU.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Width of the hidden layers
    #[arg(long, default_value_t = 256)]
    hidden: usize,
    /// Environment steps of an iteration
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Seconds to measure each case
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = subject_spec().open()?;
    let Args { hidden, steps, .. } = *args;
    for (place, runners) in
        [("acting on the device", subject_spec()), ("acting on the CPU", DeviceSpec::Cpu)]
    {
        let config = SacConfig::new()
            .environment("Pendulum-v1")
            .env_runners(|e| e.device(runners))
            .model("fcnet_hiddens", vec![hidden, hidden])
            .training(|t| t.replay_buffer_config(ReplayConfig::default().capacity(100_000)))
            .reporting(|r| r.min_sample_timesteps_per_iteration(steps))
            .seed(0);
        let (value, mean) = training_rate(&mut config.build(&device)?, args.seconds)?;
        report(&format!("sac-{hidden}, {place}"), value, mean);
    }
    Ok(())
}
