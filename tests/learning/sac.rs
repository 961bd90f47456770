//! Short training runs of SAC and TD3 with fixed seeds.

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;

/// Asserts that 10 greedy episodes have a mean return of at least `enough` after one of the rounds of 500 steps.
fn learns<T: TrainingConfig>(config: &AlgorithmConfig<T>, steps: u64, enough: f64) {
    let device = DeviceSpec::Cpu.open().unwrap();
    let config = config
        .clone()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![64, 64])
        .reporting(|r| r.min_sample_timesteps_per_iteration(500))
        .seed(1);
    let mut algo = config.build(&device).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < steps && best < enough {
        algo.train().unwrap();
        let played = EnvRunnerConfig::new("Pendulum-v1").num_envs(10).seed(77);
        let module = algo.module(DEFAULT_MODULE_ID).unwrap();
        let episodes = evaluate(module, &played, 10, SampleOptions::greedy(), &device).unwrap();
        best = best.max(episodes.mean_return());
    }
    assert!(best >= enough, "reached {best}, a random policy has about -1250");
}

#[test]
fn sac_learns_pendulum_to_minus_300_within_8000_steps() {
    let config = SacConfig::new().training(|t| {
        t.actor_lr(1e-3)
            .critic_lr(1e-3)
            .alpha_lr(1e-3)
            .train_batch_size(128)
            .replay_buffer_config(ReplayConfig::default().capacity(20_000))
    });
    learns(&config, 8000, -300.0);
}

#[test]
fn td3_learns_pendulum_to_minus_300_within_8000_steps() {
    let config = Td3Config::new().training(|t| {
        t.gamma(0.98)
            .train_batch_size(128)
            .num_steps_sampled_before_learning_starts(500)
            .replay_buffer_config(ReplayConfig::default().capacity(20_000))
    });
    learns(&config, 8000, -300.0);
}
