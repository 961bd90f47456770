//! Short training runs of IMPALA and APPO with fixed seeds.

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, ImpalaConfig, TrainingConfig};
use rekindle::prelude::*;

/// Two runners with five environments each, and a small network.
fn cartpole<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    config
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        .model("fcnet_hiddens", vec![64, 64])
}

/// With these settings, the median of five seeds reaches 450 in 150 000 steps.
fn impala() -> ImpalaConfig {
    cartpole(ImpalaConfig::new().training(|t| {
        t.lr(2e-3).train_batch_size(100).fragment_length(10).vf_loss_coeff(0.05).entropy_coeff(0.0)
    }))
}

/// With these settings, the median of five seeds reaches 450 in 120 000 steps.
fn appo() -> AppoConfig {
    cartpole(AppoConfig::new().training(|t| {
        t.lr(2e-3).train_batch_size(100).fragment_length(10).vf_loss_coeff(0.05).entropy_coeff(0.0)
    }))
}

/// Asserts that the mean return of the last 100 episodes reaches 150 in 80 000 steps.
fn learns<T: TrainingConfig>(config: &AlgorithmConfig<T>) {
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < 80_000 && best < 150.0 {
        let result = algo.train().unwrap();
        best = best.max(result.get("env_runners/episode_return_mean").unwrap_or(best));
    }
    assert!(best >= 150.0, "reached {best}, a random policy has about 22");
}

#[test]
fn impala_learns_cartpole_to_150() {
    learns(&impala().training(|t| t.deterministic(true)).seed(1));
}

#[test]
fn appo_learns_cartpole_to_150() {
    learns(&appo().training(|t| t.deterministic(true)).seed(1));
}

#[test]
fn impala_and_appo_learn_cartpole_to_150_when_nobody_waits() {
    learns(&impala().seed(1));
    learns(&appo().seed(1));
}
