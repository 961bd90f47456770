//! Short training runs of A2C, vanilla policy gradients and the plan of A3C with fixed seeds.

use rekindle::algorithms::AsyncGradients;
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

fn a2c() -> A2cConfig {
    A2cConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .reporting(|r| r.min_sample_timesteps_per_iteration(1000))
        .model("fcnet_hiddens", vec![64, 64])
}

fn vpg() -> VpgConfig {
    VpgConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64, 64])
}

#[test]
fn a2c_learns_cartpole_to_200_within_100_000_steps() {
    let algo = a2c().seed(1).build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let (best, steps) = train(algo, 100_000, 200.0);
    assert!(best >= 200.0, "reached {best} in {steps} steps, a random policy has about 22");
}

#[test]
fn ppo_learns_cartpole_to_200_within_100_000_steps_with_the_plan_of_a3c() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.lr(2e-3).lambda_(0.95).clip_param(0.2).vf_clip_param(f64::INFINITY))
        .training(|t| t.vf_loss_coeff(0.5).use_kl_loss(false).grad_clip(0.5))
        .training(|t| t.num_epochs(1).minibatch_size(None))
        .with_execution_plan(AsyncGradients::new(8).deterministic(true));
    let algo = config.seed(1).build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let (best, steps) = train(algo, 100_000, 200.0);
    assert!(best >= 200.0, "reached {best} in {steps} steps, a random policy has about 22");
}

#[test]
fn policy_gradients_learn_cartpole_to_200_within_120_000_steps_with_and_without_a_critic() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let without = vpg()
        .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.use_critic(false));
    for config in [vpg(), without] {
        let algo = config.seed(1).build(&device).unwrap();
        let (best, steps) = train(algo, 120_000, 200.0);
        assert!(best >= 200.0, "reached {best} in {steps} steps, a random policy has about 22");
    }
}

#[test]
fn without_a_critic_policy_gradients_need_complete_episodes() {
    let config = vpg().training(|t| t.use_critic(false));
    let message = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap_err().to_string();
    assert!(message.contains("set `batch_mode` to `complete_episodes`"), "{message}");
}
