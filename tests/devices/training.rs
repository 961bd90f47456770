//! Small configurations, and their weights after training.

use rekindle::core::weights::Weights;
use rekindle::prelude::*;

/// Parameters of a module, by name.
pub(super) fn weights(algo: &Algorithm) -> Weights {
    algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap()
}

/// Returns the exact bits of weights.
pub(super) fn bits(weights: &Weights) -> Vec<(String, Vec<u32>)> {
    let of = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect();
    weights.iter().map(|(name, w)| (name.clone(), of(w.as_slice::<f32>().unwrap()))).collect()
}

pub(super) fn flat(weights: &Weights) -> Vec<f32> {
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
