//! Short training runs of IMPALA and APPO with fixed seeds.

use rekindle::algorithms::{AppoConfig, ImpalaConfig};
use rekindle::prelude::*;

/// Trains until the mean return of the last 100 episodes is enough. Returns the best mean and the steps.
fn train(mut algo: Algorithm, steps: u64, enough: f64) -> (f64, u64) {
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < steps && best < enough {
        let result = algo.train().unwrap();
        best = best.max(result.get("env_runners/episode_return_mean").unwrap_or(best));
    }
    (best, algo.env_steps())
}

fn impala() -> ImpalaConfig {
    ImpalaConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.vf_loss_coeff(0.05).entropy_coeff(0.0))
}

fn appo() -> AppoConfig {
    AppoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(5))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.vf_loss_coeff(0.05).entropy_coeff(0.0))
}

#[test]
#[ignore = "tunes"]
fn tune() {
    let device = DeviceSpec::Cpu.open().unwrap();
    for seed in 0..3 {
        for deterministic in [true, false] {
            for lr in [5e-4, 1e-3, 2e-3] {
                let started = std::time::Instant::now();
                let config = impala().training(|t| t.deterministic(deterministic).lr(lr));
                let found = train(config.seed(seed).build(&device).unwrap(), 500_000, 450.0);
                println!("impala {deterministic} {lr} {seed} {found:?} {:?}", started.elapsed());
                let started = std::time::Instant::now();
                let config = appo().training(|t| t.deterministic(deterministic).lr(lr));
                let found = train(config.seed(seed).build(&device).unwrap(), 500_000, 450.0);
                println!("appo {deterministic} {lr} {seed} {found:?} {:?}", started.elapsed());
            }
        }
    }
}
