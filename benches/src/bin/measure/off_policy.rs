//! Algorithms with replay, and PQN: rekindle's side of `dqn-cartpole`, `pqn-cartpole`, `sac-pendulum-64` and
//! `off-policy-256` in `cargo xtask compare`.

use rekindle::algorithms::{
    AlgorithmConfig, DqnConfig, PqnConfig, SacConfig, Td3Config, TrainingConfig,
};
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, report, training_rate};

/// Trains an algorithm with a replay buffer, or PQN, and prints environment steps per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases: `dqn` (CartPole-v1, 64 × 64, minibatches of 64, an update every 4 steps), `sac-64` (Pendulum-v1,
    /// 64 × 64, minibatches of 64, an update every step), `sac-256` and `td3-256` (256 × 256, minibatches of 256), and
    /// `pqn` (CartPole-v1, 4 environments × 128 steps, 64 × 64 with layer normalization)
    #[arg(long, value_delimiter = ',', default_value = "dqn,pqn,sac-64,sac-256,td3-256")]
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
            "pqn" => build(pqn(), args.seed)?,
            "sac-64" => build(sac(64, 64), args.seed)?,
            "sac-256" => build(sac(256, 256), args.seed)?,
            "td3-256" => build(td3(), args.seed)?,
            _ => return Err(format!("invalid case `{case}`; see `--help`").into()),
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
                .replay_buffer_config(buffer())
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

/// PQN with CleanRL's defaults, except for the networks.
fn pqn() -> PqnConfig {
    PqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![64, 64])
        .model("fcnet_activation", "relu")
        .training(|t| t.epsilon([(0, 1.0), (10_000, 0.05)]))
}

/// SAC with the defaults of Stable-Baselines3.
fn sac(hidden: usize, rows: usize) -> SacConfig {
    SacConfig::new()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![hidden, hidden])
        .training(|t| t.train_batch_size(rows).replay_buffer_config(buffer()))
}

/// TD3 with the defaults of Stable-Baselines3, but for its networks.
fn td3() -> Td3Config {
    Td3Config::new()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![256, 256])
        .training(|t| t.replay_buffer_config(buffer()))
}

fn buffer() -> ReplayConfig {
    ReplayConfig::default().capacity(100_000)
}

fn build<T: TrainingConfig>(config: AlgorithmConfig<T>, seed: u64) -> Outcome<Algorithm> {
    // As many steps as one call of the peer.
    let config = config.reporting(|r| r.min_sample_timesteps_per_iteration(500)).seed(seed);
    Ok(config.build(&DeviceSpec::Cpu.open()?)?)
}
