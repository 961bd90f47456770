//! Updates of PPO on recorded experience: our side of `ppo-update` in `cargo xtask compare`.

mod common;

use std::collections::BTreeMap;

use clap::Parser;
use common::{Outcome, rate, report};
use rekindle::algorithms::ppo::PpoObjective;
use rekindle::prelude::*;
use serde_json::json;

const ROWS: usize = 4000;
const EPOCHS: usize = 10;
const MINIBATCH: usize = 128;

/// Updates PPO on 4000 recorded rows of CartPole-v1 and prints rows per second as JSON.
///
/// RLlib's defaults: 10 epochs, minibatches of 128. Every epoch sees every row.
#[derive(Parser)]
struct Args {
    /// Widths of the two hidden layers of policy and value network.
    #[arg(long, value_delimiter = ',', default_value = "256")]
    cases: Vec<usize>,
    /// How long to measure each case.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> Outcome {
    let args = Args::parse();
    let device = DeviceSpec::Cpu.open()?;
    for hidden in args.cases {
        let runner =
            EnvRunnerConfig { num_envs: 8, seed: args.seed, ..EnvRunnerConfig::new("CartPole-v1") };
        let mut runner = SingleAgentEnvRunner::new(runner, 0, &device)?;
        let module = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .model_config(json!({"fcnet_hiddens": [hidden, hidden], "vf_share_layers": false}))
            .build(&device)?;
        runner.set_module(&module, 0)?;
        let rollout = runner.sample(Amount::Timesteps(ROWS), SampleOptions::default())?;
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_string(), vec![rollout])]);

        let training = PpoTraining::default().num_epochs(EPOCHS).minibatch_size(MINIBATCH);
        let config = LearnerConfig {
            num_epochs: EPOCHS,
            minibatch_size: Some(MINIBATCH),
            shuffle_batch_per_epoch: true,
            seed: args.seed,
            ..LearnerConfig::default()
        };
        let objective = Box::new(PpoObjective::new(training));
        let module = module.as_multi_rl_module()?;
        let mut learner = Learner::new(config, objective, module, &device)?;
        let mut update = || {
            learner.update(&data, 0)?;
            Ok((EPOCHS * ROWS) as u64)
        };
        update()?;
        report(&hidden.to_string(), rate(args.seconds, update)?, None);
    }
    Ok(())
}
