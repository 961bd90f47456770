//! Steps of Adam on both devices.

use rekindle::prelude::*;

use super::training::{flat, ppo, weights};
use super::{difference, subject_spec};

#[cfg_attr(test, test)]
pub(super) fn adam_takes_the_same_steps() {
    let config = ppo("CartPole-v1")
        .training(|t| t.optimizer(OptimizerConfig::adam(1e-5)).lr(1e-3).num_epochs(1));
    let learned = |device: DeviceSpec| {
        let config = config.clone().env_runners(|e| e.device(DeviceSpec::Cpu));
        let mut algo = config.build(&device.open().unwrap()).unwrap();
        algo.train().unwrap();
        flat(&weights(&algo))
    };
    let (expected, found) = (learned(DeviceSpec::Cpu), learned(subject_spec()));
    // Two steps of at most the learning rate each; nearly all are equal.
    let apart = found.iter().zip(&expected).filter(|(f, e)| (*f - *e).abs() > 1e-5).count();
    assert!(apart * 50 < expected.len(), "{apart} of {} parameters", expected.len());
    assert!(difference(&found, &expected) < 4e-3);
}
