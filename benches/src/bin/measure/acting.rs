//! Acting on CartPole-v1: rekindle's side of `acting` in `cargo xtask compare`.

use rekindle::prelude::*;
use rekindle_benches::{Outcome, WithTensors, cartpole_with, rate, report};

/// Acts in CartPole-v1 with a 64 × 64 tanh policy and prints environment steps per second as JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of environments of each case
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,1024")]
    cases: Vec<usize>,
    /// Seconds to measure each case
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seed of environments and actions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Act with tensors, as modules without a pass over host memory do
    #[arg(long)]
    with_tensors: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    for &num_envs in &args.cases {
        let spec = match args.with_tensors {
            true => RLModuleSpec::of::<WithTensors>(),
            false => RLModuleSpec::default(),
        };
        let (mut runner, _module) = cartpole_with(spec, num_envs, 64, args.seed)?;
        let timesteps = usize::max(256, 4 * num_envs);
        let mut sample = || {
            runner.sample(Amount::Timesteps(timesteps), SampleOptions::default())?;
            Ok(timesteps as u64)
        };
        sample()?;
        report(&num_envs.to_string(), rate(args.seconds, sample)?, None);
    }
    Ok(())
}
