//! Short learning tests of fixed seeds; `cargo xtask learn` runs the full ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use rekindle::prelude::*;

fn best_return(mut algo: Algorithm, steps: u64, enough: f64) -> f64 {
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < steps && best < enough {
        let result = algo.train().unwrap();
        best = best.max(result.get("env_runners/episode_return_mean").unwrap_or(best));
    }
    best
}

#[test]
fn ppo_learns_cartpole_to_150_within_40_000_steps() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| {
            t.lr(2e-3)
                .lambda_(0.95)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(8)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(1);
    let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, 40_000, 150.0);
    assert!(best >= 150.0, "reached {best}, a random policy has about 22");
}

#[test]
fn ppo_learns_pendulum_to_minus_500_within_100_000_steps() {
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(10)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr(1e-3)
                .gamma(0.9)
                .lambda_(0.95)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .vf_loss_coeff(0.5)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(0);
    let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, 100_000, -500.0);
    assert!(best >= -500.0, "reached {best}, a random policy has about -1250");
}
