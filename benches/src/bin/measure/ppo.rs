//! PPO on CartPole-v1: rekindle's side of `ppo-cartpole`, `memory` and `scaling` in `cargo xtask compare`.

use rekindle::prelude::*;
use rekindle_benches::{Outcome, rate, report, sizes, training_rate};
use serde_json::json;

use crate::Timing;

/// Trains PPO on CartPole-v1 and prints environment steps per second as a line of JSON.
///
/// 4 epochs over 4 minibatches, separate tanh networks with two hidden layers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// ENVSxROLLOUTxHIDDEN of each case: environments, steps of each environment per iteration,
    /// width of the hidden layers
    #[arg(long, value_delimiter = ',', default_value = "8x128x64")]
    cases: Vec<String>,
    /// Environment steps to train for, instead of `--seconds`
    #[arg(long)]
    steps: Option<u64>,
    #[command(flatten)]
    timing: Timing,
}

pub(crate) fn run(args: &Args) -> Outcome {
    for case in &args.cases {
        let mut algo = algorithm(sizes(case)?, args.timing.seed)?;
        let (value, mean) = match args.steps {
            Some(steps) => rate_of_steps(&mut algo, steps)?,
            None => training_rate(&mut algo, args.timing.seconds)?,
        };
        report(case, value, mean);
    }
    Ok(())
}

/// Trains for a number of environment steps, from the first.
fn rate_of_steps(algo: &mut Algorithm, steps: u64) -> Outcome<(f64, Option<f64>)> {
    let mut mean = None;
    let value = rate(0.0, || {
        while algo.env_steps() < steps {
            mean = algo.train()?.get("env_runners/episode_return_mean");
        }
        Ok(algo.env_steps())
    })?;
    Ok((value, mean))
}

fn algorithm([num_envs, rollout, hidden]: [usize; 3], seed: u64) -> Outcome<Algorithm> {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(num_envs))
        .model("fcnet_hiddens", vec![hidden, hidden])
        // Initial weights and Adam's epsilon follow Stable-Baselines3.
        .model("fcnet_kernel_initializer", orthogonal(std::f64::consts::SQRT_2))
        .model("fcnet_bias_initializer", json!({"type": "constant", "value": 0.0}))
        .model("head_fcnet_bias_initializer", json!({"type": "constant", "value": 0.0}))
        .model("pi_output_kernel_initializer", orthogonal(0.01))
        .model("head_fcnet_kernel_initializer", orthogonal(1.0))
        .training(|t| {
            t.lr(2.5e-4)
                .lambda_(0.95)
                .train_batch_size(num_envs * rollout)
                .minibatch_size(num_envs * rollout / 4)
                .num_epochs(4)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
                .grad_clip(0.5)
                .optimizer(OptimizerConfig::adam(1e-5))
        })
        .seed(seed);
    Ok(config.build(&DeviceSpec::Cpu.open()?)?)
}

fn orthogonal(gain: f64) -> serde_json::Value {
    json!({"type": "orthogonal", "gain": gain})
}
