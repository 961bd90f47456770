//! Training steps on experience that is collected on the CPU.

use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::learner::replay::ReplayConfig;
use rekindle::prelude::*;

use super::super::cpu;
use super::super::training::{bits, flat, ppo, weights};
use super::{Case, Computed, DEEP};

pub(super) fn all() -> Vec<Case> {
    const LOSS: &[&str] = &["total_loss"];
    let mut cnn = ppo("Catch-v0")
        .model("conv_filters", serde_json::json!([[4, 3, 2], [8, 3, 2]]))
        .model("head_fcnet_hiddens", vec![16])
        .model("vf_share_layers", true);
    // No MLP reads images.
    cnn.model_config.remove("fcnet_hiddens");
    let lstm = ppo("StatelessCartPole-v1")
        .model("use_lstm", true)
        .model("lstm_cell_size", 8)
        .model("max_seq_len", 6);
    vec![
        step("PPO, MLP", ppo("CartPole-v1"), LOSS),
        step("PPO, continuous actions", ppo("Pendulum-v1"), LOSS),
        step("PPO, LSTM", lstm, LOSS),
        step("PPO, CNN", cnn, LOSS),
        step("DQN", dqn(), LOSS),
        step("SAC", sac(), &["critic_loss", "actor_loss", "alpha_loss"]),
    ]
}

/// A case of the weights after an iteration (`gradient`), and of means of losses (`forward`).
fn step<T>(name: &str, config: AlgorithmConfig<T>, losses: &'static [&'static str]) -> Case
where
    T: TrainingConfig + Clone + 'static,
{
    Case::new(format!("step: {name}"), DEEP, move |device| learn(&config, losses, device))
}

fn learn<T>(config: &AlgorithmConfig<T>, losses: &[&str], device: &Device) -> Computed
where
    T: TrainingConfig + Clone + 'static,
{
    let initial = bits(&weights(&config.build(&cpu()).unwrap()));
    let on_cpu = config.clone().env_runners(|e| e.device(DeviceSpec::Cpu));
    let mut algo = on_cpu.build(device).unwrap();
    assert_eq!(bits(&weights(&algo)), initial, "initial parameters come from the host");
    let result = algo.train().unwrap();
    let learned = weights(&algo);
    assert_ne!(bits(&learned), initial, "it learns");
    let of = |name: &&str| {
        let path = format!("learners/{DEFAULT_MODULE_ID}/{name}");
        result.get(&path).unwrap_or_else(|| panic!("no `{path}`")) as f32
    };
    // Everything on the device, including runners.
    let mut there = config.build(device).unwrap();
    there.train().unwrap();
    assert!(flat(&weights(&there)).iter().all(|x| x.is_finite()));
    Computed { forward: losses.iter().map(of).collect(), gradient: flat(&learned) }
}

/// Updates after all experience of an iteration, so that every device learns from the same.
const STEPS: usize = 32;

fn buffer() -> ReplayConfig {
    ReplayConfig::default().capacity(64)
}

fn dqn() -> DqnConfig {
    DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.lr(0.1)
                .train_batch_size(16)
                .replay_buffer_config(buffer())
                .num_steps_sampled_before_learning_starts(0)
                .sample_timesteps_per_update_round(STEPS)
                .updates_per_env_step(0.125)
                .optimizer(OptimizerConfig::sgd())
        })
        .reporting(|r| r.min_sample_timesteps_per_iteration(STEPS))
        .seed(3)
}

fn sac() -> SacConfig {
    SacConfig::new()
        .environment("Pendulum-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.actor_lr(0.01)
                .critic_lr(0.01)
                .alpha_lr(0.01)
                .train_batch_size(16)
                .replay_buffer_config(buffer())
                .num_steps_sampled_before_learning_starts(0)
                .sample_timesteps_per_update_round(STEPS)
                .updates_per_env_step(0.125)
                .optimizer(OptimizerConfig::sgd())
        })
        .reporting(|r| r.min_sample_timesteps_per_iteration(STEPS))
        .seed(3)
}
