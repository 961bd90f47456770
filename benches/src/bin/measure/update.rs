//! Updates of PPO on recorded experience: rekindle's side of `ppo-update` in `cargo xtask compare`.

use std::collections::BTreeMap;

use rekindle::algorithms::TrainingConfig as _;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, cartpole, rate, report};

use crate::Timing;

const ROWS: usize = 4000;
const EPOCHS: usize = 10;
const MINIBATCH: usize = 128;

/// Updates PPO on 4000 recorded rows of CartPole-v1 and prints rows per second as JSON.
///
/// RLlib's defaults: 10 epochs, minibatches of 128. Every epoch sees every row.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Width of the two hidden layers of policy and value network, for each case
    #[arg(long, value_delimiter = ',', default_value = "256")]
    cases: Vec<usize>,
    #[command(flatten)]
    timing: Timing,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    for &hidden in &args.cases {
        let (mut runner, module) = cartpole(8, hidden, args.timing.seed)?;
        let rollout = runner.sample(Amount::Timesteps(ROWS), SampleOptions::default())?;
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_string(), vec![rollout])]);

        let training = PpoTraining::default().num_epochs(EPOCHS).minibatch_size(MINIBATCH);
        let config = LearnerConfig::default()
            .num_epochs(EPOCHS)
            .minibatch_size(MINIBATCH)
            .shuffle_batch_per_epoch(true)
            .seed(args.timing.seed);
        let module = module.as_multi_rl_module()?;
        let mut learner = Learner::new(config, move |_| training.loss(), module, &device)?;
        let mut update = || {
            learner.update(&data, 0)?;
            Ok((EPOCHS * ROWS) as u64)
        };
        update()?;
        report(&hidden.to_string(), rate(args.timing.seconds, update)?, None);
    }
    Ok(())
}
