//! SAC in continuous action spaces, with gSDE and with critics of CrossQ, and in a discrete one, and TQC.
//!
//! `cargo run --release --example sac -- pendulum` (see `--help`)

mod common;

use std::process::ExitCode;

use common::{Chosen, tasks};
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;

fn main() -> Result<ExitCode, MainError> {
    let chosen = Chosen::parse(&[
        &tasks::SAC_PENDULUM,
        &tasks::SAC_MOUNTAIN_CAR_CONTINUOUS,
        &tasks::SAC_CARTPOLE,
        &tasks::TQC_PENDULUM,
        &tasks::CROSSQ_PENDULUM,
    ]);
    match chosen.name() {
        "cartpole" => {
            let config = SacConfig::new()
                .environment("CartPole-v1")
                .env_runners(|e| e.num_envs_per_env_runner(4))
                .model("fcnet_hiddens", vec![64, 64])
                .training(|t| {
                    t.actor_lr(3e-4)
                        .critic_lr(1e-3)
                        .alpha_lr(1e-3)
                        .train_batch_size(128)
                        .num_steps_sampled_before_learning_starts(1000)
                        .sample_timesteps_per_update_round(4)
                        .updates_per_env_step(0.25)
                        // One step changes the value of slow drifts too little to learn from.
                        .n_step(3)
                        .tau(0.02)
                        // Of at most ln 2 ≈ 0.69: near that, the policy would be almost random.
                        .target_entropy(0.3)
                });
            chosen.learn(evaluated(config, 5000))
        }
        // The settings of the RL Zoo. Without lasting noise, the car does not reach the flag before it has learned
        // to stand still.
        "mountain-car-continuous" => {
            let config = SacConfig::new()
                .environment("MountainCarContinuous-v0")
                .model("fcnet_hiddens", vec![64, 64])
                .model("log_std_init", -3.67)
                .training(|t| {
                    t.gamma(0.9999)
                        .tau(0.01)
                        .train_batch_size(512)
                        .replay_buffer_config(ReplayConfig::default().capacity(50_000))
                        .num_steps_sampled_before_learning_starts(0)
                        .sample_timesteps_per_update_round(32)
                        .learn_alpha(false)
                        .initial_alpha(0.1)
                        .use_sde(true)
                });
            chosen.learn(evaluated(config, 5000))
        }
        "tqc-pendulum" => {
            let config = TqcConfig::new().environment("Pendulum-v1");
            let config = config.training(|t| t.actor_lr(1e-3).critic_lr(1e-3).alpha_lr(1e-3));
            chosen.learn(evaluated(config, 1000))
        }
        "crossq-pendulum" => {
            let adam = OptimizerConfig::Adam { beta_1: 0.5, beta_2: 0.999, epsilon: 1e-8 };
            let config = SacConfig::new()
                .environment("Pendulum-v1")
                .model("fcnet_hiddens", vec![64, 64])
                .training(|t| {
                    t.actor_lr(1e-3)
                        .critic_lr(1e-3)
                        .alpha_lr(1e-3)
                        .train_batch_size(128)
                        .critics_use_batch_renorm(true)
                        .optimizer(adam)
                });
            chosen.learn(evaluated(config, 1000))
        }
        // The settings of the RL Zoo.
        _ => {
            let config = SacConfig::new().environment("Pendulum-v1");
            let config = config.training(|t| t.actor_lr(1e-3).critic_lr(1e-3).alpha_lr(1e-3));
            chosen.learn(evaluated(config, 1000))
        }
    }
}

/// Evaluates the policy every `steps` environment steps: returns of training are those of random actions, too.
fn evaluated<T: TrainingConfig>(config: AlgorithmConfig<T>, steps: usize) -> AlgorithmConfig<T> {
    config
        .reporting(|r| r.min_sample_timesteps_per_iteration(steps))
        .evaluation(|e| e.evaluation_interval(1))
}
