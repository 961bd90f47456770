//! Training steps on the same experience on both devices.

use rekindle::core::weights::Weights;
use rekindle::prelude::*;

use crate::{difference, subject, subject_spec};

/// Parameters of a module, by name.
pub(crate) fn weights(algo: &Algorithm) -> Weights {
    algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()
}

/// Returns the exact bits of weights.
pub(crate) fn bits(weights: &Weights) -> Vec<(String, Vec<u32>)> {
    let of = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect();
    weights.iter().map(|(name, w)| (name.clone(), of(w.as_slice::<f32>().unwrap()))).collect()
}

pub(crate) fn flat(weights: &Weights) -> Vec<f32> {
    weights.values().flat_map(|w| w.as_slice::<f32>().unwrap().to_vec()).collect()
}

/// A few minibatches.
pub(crate) fn ppo(env: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.lr(0.5)
                .train_batch_size(64)
                .minibatch_size(32)
                .num_epochs(2)
                .vf_clip_param(f64::INFINITY)
                .entropy_coeff(0.01)
                .grad_clip(0.5)
                // Adam turns gradients that are rounding errors into full steps.
                .optimizer(OptimizerConfig::sgd())
        })
        .seed(3)
}

/// Trains on `device` with experience that is collected on the CPU.
fn learn(config: &PpoConfig, device: DeviceSpec) -> (Weights, Weights) {
    let cpu = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config.clone().learners(|l| l.device(device)).build(&cpu).unwrap();
    let before = weights(&algo);
    let result = algo.train().unwrap();
    let loss = result.get("learners/default_policy/total_loss").unwrap();
    assert!(loss.is_finite());
    (before, weights(&algo))
}

fn compare(config: &PpoConfig) {
    let (first, expected) = learn(config, DeviceSpec::Cpu);
    let (begin, found) = learn(config, subject_spec());
    assert_eq!(bits(&first), bits(&begin), "initial parameters come from the host");
    assert_ne!(bits(&first), bits(&expected), "it learns");
    let difference = difference(&flat(&found), &flat(&expected));
    println!("weights after training differ by {difference:.1e}");
    assert!(difference < 1e-4, "{difference}");
    // Everything on the device, including runners.
    let mut algo = config.build(&subject()).unwrap();
    assert_eq!(bits(&weights(&algo)), bits(&first));
    algo.train().unwrap();
    assert!(flat(&weights(&algo)).iter().all(|x| x.is_finite()));
}

#[test]
fn ppo_with_an_mlp_learns_the_same() {
    compare(&ppo("CartPole-v1"));
}

#[test]
fn ppo_with_continuous_actions_learns_the_same() {
    compare(&ppo("Pendulum-v1"));
}

#[test]
fn ppo_with_an_lstm_learns_the_same() {
    compare(
        &ppo("StatelessCartPole-v1")
            .model("use_lstm", true)
            .model("lstm_cell_size", 8)
            .model("max_seq_len", 6),
    );
}

#[test]
fn ppo_with_a_cnn_learns_the_same() {
    let mut config = ppo("Catch-v0")
        .model("conv_filters", serde_json::json!([[4, 3, 2], [8, 3, 2]]))
        .model("head_fcnet_hiddens", vec![16])
        .model("vf_share_layers", true);
    // No MLP reads images.
    config.model_config.remove("fcnet_hiddens");
    compare(&config);
}

#[test]
fn adam_takes_the_same_steps() {
    let config = ppo("CartPole-v1")
        .training(|t| t.optimizer(OptimizerConfig::adam(1e-5)).lr(1e-3).num_epochs(1));
    let ((_, expected), (_, found)) =
        (learn(&config, DeviceSpec::Cpu), learn(&config, subject_spec()));
    let (expected, found) = (flat(&expected), flat(&found));
    // Two steps of at most the learning rate each; nearly all are equal.
    let apart = found.iter().zip(&expected).filter(|(f, e)| (*f - *e).abs() > 1e-5).count();
    assert!(apart * 50 < expected.len(), "{apart} of {} parameters", expected.len());
    assert!(difference(&found, &expected) < 4e-3);
}
