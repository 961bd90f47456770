//! Algorithms learn from recordings of other algorithms.

#[path = "../../examples/offline_to_online.rs"]
mod offline_to_online;
#[path = "../../examples/policy_evaluation.rs"]
mod policy_evaluation;
#[path = "../../examples/record_then_clone.rs"]
mod record_then_clone;

use std::path::Path;

use burn::prelude::Device;
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::prelude::*;

fn device() -> Device {
    Device::flex()
}

#[test]
fn bc_clones_an_expert_to_450() {
    let returns = record_then_clone::run(475.0, 12).unwrap();
    assert!(returns.expert > 450.0 && returns.clone >= 450.0, "{returns:?}");
}

/// Records all of PPO's way to 475: from random to good.
fn record_cartpole(folder: &Path, seed: u64) {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8).output(folder))
        .training(|t| {
            t.lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6).lambda_(0.95)
        })
        .seed(seed);
    let mut algo = config.build(&device()).unwrap();
    while algo
        .train()
        .unwrap()
        .get("env_runners/episode_return_mean")
        .is_none_or(|mean| mean < 200.0)
    {}
}

fn learned<T: TrainingConfig>(
    config: AlgorithmConfig<T>,
    folder: &Path,
    env: &str,
    iterations: usize,
    seed: u64,
) -> f64 {
    let mut config = config;
    config.offline_data.input_ = vec![folder.to_owned()];
    let config = config
        .evaluation(|e| e.evaluation_duration(50).evaluation_config(|c| c.env(env)))
        .seed(seed);
    let mut algo = config.build(&device()).unwrap();
    (0..iterations).for_each(|_| drop(algo.train().unwrap()));
    algo.evaluate().unwrap().mean_return()
}

#[test]
fn marwil_and_cql_exceed_bc_on_a_mixture() {
    for seed in 0..1 {
        let folder = tempfile::tempdir().unwrap();
        record_cartpole(folder.path(), seed);
        let data = rekindle::offline::ParquetData::open(folder.path()).unwrap();
        let steps = rekindle::offline::OfflineSource::num_steps(&data);
        let bc = BcConfig::new().training(|t| t.lr(1e-3).train_batch_size(256));
        let bc = learned(bc, folder.path(), "CartPole-v1", 10, seed);
        let marwil = MarwilConfig::new().training(|t| {
            t.lr(1e-3).train_batch_size(256).beta(3.0).moving_average_sqd_adv_norm_update_rate(0.01)
        });
        let marwil = learned(marwil, folder.path(), "CartPole-v1", 20, seed);
        let cql = CqlConfig::new()
            .training(|t| t.actor_lr(1e-3).critic_lr(1e-3).bc_iters(0).min_q_weight(1.0));
        let cql = learned(
            cql.model("fcnet_hiddens", vec![64, 64]),
            folder.path(),
            "CartPole-v1",
            20,
            seed,
        );
        println!("{seed}: {steps} steps, BC {bc:.0}, MARWIL {marwil:.0}, CQL {cql:.0}");
    }
}

#[test]
fn iql_and_cql_swing_up_a_pendulum_from_what_sac_collected() {
    let folder = tempfile::tempdir().unwrap();
    offline_to_online::record(folder.path(), 6, 0, &device()).unwrap();
    let iql = offline_to_online::iql(folder.path(), 0);
    let iql = learned(iql, folder.path(), "Pendulum-v1", 50, 0);
    let cql = CqlConfig::new()
        .training(|t| {
            t.actor_lr(1e-3).bc_iters(0).min_q_weight(1.0).num_actions(4).train_batch_size(64)
        })
        .model("fcnet_hiddens", vec![64, 64]);
    let cql = learned(cql, folder.path(), "Pendulum-v1", 50, 0);
    println!("IQL {iql:.0}, CQL {cql:.0}");
}

#[test]
fn iql_learns_on_in_the_environment() {
    let returns = offline_to_online::run(4, 20, 4000).unwrap();
    assert!(returns.online > returns.offline, "{returns:?}");
}

#[test]
fn estimates_are_close_to_the_return_of_playing() {
    let (played, estimates) = policy_evaluation::run().unwrap();
    for (estimator, [value, low, high]) in estimates {
        assert!(low <= value && value <= high);
        println!("{estimator:?} {value} {played}");
    }
}
