//! Memory stays flat over a long run.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![cfg(target_os = "linux")]

use std::sync::{Mutex, PoisonError};

use rekindle::algorithms::AsyncGradients;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;

/// The tests measure their process, so that only one may run at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Returns the resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn is_flat(mut algo: Algorithm) {
    let mut train = |iterations| {
        for _ in 0..iterations {
            algo.train().unwrap();
        }
        resident()
    };
    let early = train(200);
    let late = train(800);
    assert!(late < early + 4 * 1024, "{early} KiB grew to {late} KiB");
    assert!(late < 200 * 1024, "{late} KiB");
}

#[test]
fn memory_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// Threads that learn come and go, and batches wait in a queue and in the circular buffer.
#[test]
fn memory_of_the_asynchronous_plan_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = DeviceSpec::Cpu.open().unwrap();
    let impala = ImpalaConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(8).fragment_length(4))
        .seed(0);
    is_flat(impala.build(&device).unwrap());
    let appo = AppoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(8).fragment_length(4))
        .seed(0);
    is_flat(appo.build(&device).unwrap());
}

/// Runners with a copy of the learner each.
#[test]
fn memory_of_the_plan_of_a3c_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = A2cConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![16])
        .with_execution_plan(AsyncGradients::new(4).updates_per_step(8))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// The buffer is full after 100 iterations.
#[test]
fn memory_of_replay_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let replay = ReplayConfig::default().capacity(1600).prioritized(PrioritizedConfig::default());
    let config = DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.replay_buffer_config(replay)
                .train_batch_size(8)
                .num_steps_sampled_before_learning_starts(16)
                .sample_timesteps_per_update_round(16)
                .updates_per_env_step(0.125)
        })
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

#[test]
fn memory_of_runners_on_the_device_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// Three optimizers, and targets that move after each update.
#[test]
fn memory_of_sac_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.replay_buffer_config(ReplayConfig::default().capacity(160))
                .train_batch_size(8)
                .num_steps_sampled_before_learning_starts(16)
        })
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}
