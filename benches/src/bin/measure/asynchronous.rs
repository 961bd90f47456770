//! IMPALA and APPO on CartPole-v1: rekindle's side of `asynchronous-cartpole` in `cargo xtask compare`.

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, ImpalaConfig, TrainingConfig};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, report, training_rate};

use crate::Timing;

/// Trains on CartPole-v1 with two env runners of 5 environments each and RLlib's settings, and prints
/// environment steps per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Algorithms: `impala`, `appo`
    #[arg(long, value_delimiter = ',', default_value = "impala,appo")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: Timing,
}

pub(crate) fn run(args: &Args) -> Outcome {
    for case in &args.cases {
        let mut algo = match case.as_str() {
            "impala" => build(ImpalaConfig::new(), args.timing.seed)?,
            "appo" => build(AppoConfig::new(), args.timing.seed)?,
            _ => return Err(format!("invalid case `{case}`: expected `impala` or `appo`").into()),
        };
        let (value, mean) = training_rate(&mut algo, args.timing.seconds)?;
        report(case, value, mean);
    }
    Ok(())
}

fn build<T: TrainingConfig>(config: AlgorithmConfig<T>, seed: u64) -> Outcome<Algorithm> {
    let config = config
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        .model("fcnet_hiddens", vec![64, 64])
        .seed(seed);
    Ok(config.build(&DeviceSpec::Cpu.open()?)?)
}
