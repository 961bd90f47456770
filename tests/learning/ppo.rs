//! Short training runs of PPO with fixed seeds.

use rekindle::prelude::*;

use crate::settings::ppo_settings;

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
            training(t)
                .gamma(0.9)
                .entropy_coeff(0.0)
                .train_batch_size(2000)
                .minibatch_size(64)
                .num_epochs(10)
        })
        .seed(0);
    let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, 100_000, -500.0);
    assert!(best >= -500.0, "reached {best}, a random policy has about -1250");
}

/// Applies the settings that most tasks here share.
fn training(t: PpoTraining) -> PpoTraining {
    ppo_settings(t).lr(1e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6)
}

fn learns(config: PpoConfig, steps: u64, enough: f64) {
    let algo = config.seed(0).build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, steps, enough);
    assert!(best >= enough, "reached {best}, not {enough}, within {steps} steps");
}

#[test]
fn a_cnn_learns_to_catch() {
    let config = PpoConfig::new()
        .environment("Catch-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .model("conv_filters", serde_json::json!([[8, 3, 2], [16, 3, 2]]))
        .model("head_fcnet_hiddens", vec![32])
        .model("vf_share_layers", true)
        .training(|t| training(t).lr(2e-3));
    learns(config, 30_000, 0.8);
}

#[test]
fn a_cnn_learns_to_break_bricks() {
    let config = PpoConfig::new()
        .environment("Breakout-v0")
        .env_runners(|e| e.num_envs_per_env_runner(32))
        .model("conv_filters", serde_json::json!([[16, 3, 2], [16, 3, 2]]))
        .model("head_fcnet_hiddens", vec![64])
        .model("vf_share_layers", true)
        .training(|t| training(t).lr(2e-3));
    learns(config, 60_000, 2.0);
}

#[test]
fn an_lstm_balances_a_pole_without_seeing_velocities() {
    let config = PpoConfig::new()
        .environment("StatelessCartPole-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(16)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("use_lstm", true)
        .model("lstm_cell_size", 32)
        .model("fcnet_hiddens", vec![32])
        .model("fcnet_activation", "relu")
        .training(|t| training(t).lr(2e-3));
    learns(config, 60_000, 90.0);
}

#[test]
fn a_nested_observation_is_no_obstacle() {
    let config = PpoConfig::new()
        .environment("NestedCartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![16])
        .model("fusionnet_hiddens", vec![32])
        .training(|t| training(t).lr(2e-3));
    learns(config, 40_000, 120.0);
}

#[test]
fn two_pendulums_learn_side_by_side() {
    let config = PpoConfig::new()
        .environment("MultiAgentPendulum-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| {
            e.num_envs_per_env_runner(10)
                .env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .multi_agent(|m| m.policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| {
            training(t).gamma(0.9).train_batch_size(2000).minibatch_size(64).entropy_coeff(0.0)
        });
    learns(config, 80_000, 2.0 * -900.0);
}

/// Returns PPO on environments as tensor programs.
fn on_device(env: &str, num_envs: usize) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(num_envs))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| {
            t.lambda_(0.95)
                .train_batch_size(num_envs * 32)
                .num_epochs(8)
                .clip_param(0.2)
                .vf_clip_param(f64::INFINITY)
                .use_kl_loss(false)
                .grad_clip(0.5)
        })
        .seed(1)
}

#[test]
fn ppo_learns_cartpole_on_the_device_to_150_within_60_000_steps() {
    let config = on_device("CartPole-v1", 64).training(|t| t.lr(2e-3).minibatch_size(512));
    let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, 60_000, 150.0);
    assert!(best >= 150.0, "reached {best}, a random policy has about 22");
}

#[test]
fn ppo_learns_pendulum_on_the_device_to_minus_500_within_200_000_steps() {
    let config =
        on_device("Pendulum-v1", 128).training(|t| t.lr(2e-3).gamma(0.9).minibatch_size(256));
    let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let best = best_return(algo, 200_000, -500.0);
    assert!(best >= -500.0, "reached {best}, a random policy has about -1200");
}
