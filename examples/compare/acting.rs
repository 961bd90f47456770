//! Acting on CartPole-v1: our side of `acting` in `cargo xtask compare`.

mod common;

use clap::Parser;
use common::{Outcome, rate, report};
use rekindle::prelude::*;
use serde_json::json;

/// Samples CartPole-v1 with a 64 × 64 tanh policy and prints environment steps per second as JSON.
#[derive(Parser)]
struct Args {
    /// Numbers of environments.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,1024")]
    cases: Vec<usize>,
    /// How long to measure each case.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Outcome {
    let args = Args::parse();
    let device = DeviceSpec::Cpu.open()?;
    for num_envs in args.cases {
        let config =
            EnvRunnerConfig { num_envs, seed: args.seed, ..EnvRunnerConfig::new("CartPole-v1") };
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
        let module = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .model_config(json!({"fcnet_hiddens": [64, 64], "vf_share_layers": false}))
            .build(&device)?;
        runner.set_module(&module, 0)?;
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
