//! A2C on CartPole-v1: rekindle's side of `a2c-cartpole` in `cargo xtask compare`.

use rekindle::algorithms::A2cConfig;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, report, sizes, training_rate};

use crate::Timing;

/// Trains A2C on CartPole-v1 with the settings of Stable-Baselines3, and prints environment steps per
/// second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// ENVSxROLLOUTxHIDDEN of each case: environments, steps of each environment per update, width of the
    /// hidden layers
    #[arg(long, value_delimiter = ',', default_value = "8x5x64")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: Timing,
}

pub(crate) fn run(args: &Args) -> Outcome {
    for case in &args.cases {
        let [num_envs, rollout, hidden] = sizes(case)?;
        let config = A2cConfig::new()
            .environment("CartPole-v1")
            .env_runners(|e| e.num_envs_per_env_runner(num_envs))
            .model("fcnet_hiddens", vec![hidden, hidden])
            .training(|t| t.train_batch_size(num_envs * rollout))
            // 50 updates, as in one call of the peer.
            .reporting(|r| r.min_sample_timesteps_per_iteration(50 * num_envs * rollout))
            .seed(args.timing.seed);
        let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
        let (value, mean) = training_rate(&mut algo, args.timing.seconds)?;
        report(case, value, mean);
    }
    Ok(())
}
