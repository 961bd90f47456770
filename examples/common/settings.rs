//! Settings that most PPO examples share.

use rekindle::prelude::*;

/// Applies the PPO settings that most examples share. They follow Stable-Baselines3 and CleanRL.
/// Learning rate, batch sizes and epochs are left to each example.
pub(crate) fn ppo_settings(training: PpoTraining) -> PpoTraining {
    training
        .lambda_(0.95)
        .clip_param(0.2)
        // RLlib clips value errors at 10, which hides most of a return of 500.
        .vf_clip_param(f64::INFINITY)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .use_kl_loss(false)
        .grad_clip(0.5)
}
