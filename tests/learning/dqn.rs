//! Short training runs of DQN with fixed seeds.

use rekindle::algorithms::DqnConfig;
use rekindle::learner::replay::{PrioritizedConfig, ReplayConfig};
use rekindle::prelude::*;

/// Asserts that 20 greedy episodes have a mean return of at least `enough` after one of the rounds.
fn learns(config: &DqnConfig, steps: u64, enough: f64) {
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config.build(&device).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < steps && best < enough {
        algo.train().unwrap();
        let played = EnvRunnerConfig::new("CartPole-v1").num_envs(10).seed(77);
        let module = algo.module(DEFAULT_MODULE_ID).unwrap();
        let episodes = evaluate(module, &played, 20, SampleOptions::greedy(), &device).unwrap();
        best = best.max(episodes.mean_return());
    }
    assert!(best >= enough, "reached {best}, a random policy has about 22");
}

fn cartpole() -> DqnConfig {
    DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![64, 64])
        .model("fcnet_activation", "relu")
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .training(|t| {
            t.lr(1e-3)
                .train_batch_size(64)
                .replay_buffer_config(ReplayConfig::default().capacity(50_000))
                .sample_timesteps_per_update_round(32)
                .updates_per_env_step(0.5)
                .epsilon([(0, 1.0), (5_000, 0.04)])
                .target_network_update_freq(200)
                .grad_clip(Some(10.0))
        })
        .seed(1)
}

#[test]
fn dqn_learns_cartpole_to_200_within_30_000_steps() {
    learns(&cartpole(), 30_000, 200.0);
}

#[test]
fn dqn_with_priorities_and_three_steps_learns_cartpole_to_200_within_30_000_steps() {
    let config = cartpole().training(|t| {
        let replay = ReplayConfig::default().capacity(50_000);
        t.n_step(3).replay_buffer_config(replay.prioritized(PrioritizedConfig::default()))
    });
    learns(&config, 30_000, 200.0);
}
