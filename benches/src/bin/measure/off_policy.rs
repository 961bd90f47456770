//! Algorithms with replay: rekindle's side of `off-policy` in `cargo xtask compare`.

use rekindle::algorithms::{AlgorithmConfig, DqnConfig, TrainingConfig};
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, report, training_rate};

/// Trains one environment with a replay buffer and prints environment steps per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases: `dqn` (CartPole-v1, 64 × 64, minibatches of 64, an update every 4 steps)
    #[arg(long, value_delimiter = ',', default_value = "dqn")]
    cases: Vec<String>,
    /// Seconds to measure each case
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    for case in &args.cases {
        let mut algo = match case.as_str() {
            "dqn" => build(dqn(), args.seed)?,
            _ => return Err(format!("invalid case `{case}`: expected `dqn`").into()),
        };
        let (value, mean) = training_rate(&mut algo, args.seconds)?;
        report(case, value, mean);
    }
    Ok(())
}

/// DQN without extensions, as in Stable-Baselines3.
fn dqn() -> DqnConfig {
    DqnConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![64, 64])
        .model("fcnet_activation", "relu")
        .training(|t| {
            t.lr(1e-4)
                .train_batch_size(64)
                .replay_buffer_config(ReplayConfig::default().capacity(100_000))
                .num_steps_sampled_before_learning_starts(100)
                .sample_timesteps_per_update_round(4)
                .updates_per_env_step(0.25)
                .target_network_update_freq(10_000)
                .epsilon([(0, 1.0), (10_000, 0.05)])
                .grad_clip(10.0)
                .double_q(false)
                .dueling(false)
        })
}

fn build<T: TrainingConfig>(config: AlgorithmConfig<T>, seed: u64) -> Outcome<Algorithm> {
    // As many steps as one call of the peer.
    let config = config.reporting(|r| r.min_sample_timesteps_per_iteration(1000)).seed(seed);
    Ok(config.build(&DeviceSpec::Cpu.open()?)?)
}
