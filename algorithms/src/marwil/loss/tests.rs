use std::collections::BTreeMap;

use rekindle_core::Generator;

use super::*;
use crate::echo::Echo;

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < tolerance, "{found:?} {expected:?}");
    }
}

/// Log-probabilities −0.5, −1, −2 with advantages 2, −1, 0.5 of values 1. Returns the total, the policy loss and the
/// moving average after `steps` minibatches.
fn losses(config: MarwilTraining, steps: usize) -> (MarwilLoss, [f64; 2]) {
    let device = Device::flex().autodiff();
    let module = Echo::build(&device);
    let targets = Tensor::<1>::from_floats([3.0, 0.0, 1.5], &device);
    let batch = Echo::batch([-0.5, -1.0, -2.0], &device).with(Columns::VALUE_TARGETS, targets);
    let mut loss = MarwilLoss::new(config);
    let mut found = [0.0; 2];
    for _ in 0..steps {
        let at = PrepareContext::new("a", &module, &device);
        let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
        let cx = LossContext::new(at, &batch, &scalars, &mut rng);
        let losses = loss.compute(&cx).unwrap();
        let policy = losses.metrics.iter().find(|(name, _)| *name == "policy_loss").unwrap();
        let number = |tensor: &Tensor<1>| f64::from(to_f32(tensor.clone().inner()).unwrap()[0]);
        found = [number(&losses.total), number(&policy.1)];
    }
    (loss, found)
}

fn square(loss: &MarwilLoss) -> f64 {
    loss.square.numbers().unwrap().map(f64::from).iter().sum()
}

#[test]
fn the_moving_average_and_the_weights_are_the_reference_figures() {
    let (loss, [total, policy]) = losses(MarwilTraining::default(), 1);
    close(&[square(&loss)], &[99.999_999_017_5], 1e-10);
    let weights_of = |square: f32| {
        let advantages = Tensor::<1>::from_floats([2.0, -1.0, 0.5], &Device::flex());
        let square = Tensor::from_floats([square], &Device::flex());
        let weights = to_f32(weights(advantages, square, 1.0)).unwrap();
        weights.into_iter().map(f64::from).collect::<Vec<_>>()
    };
    let expected = [1.221_403, 0.904_837, 1.051_271];
    close(&weights_of(99.999_999), &expected, 1e-6);
    let logp = [-0.5, -1.0, -2.0];
    let mean = expected.iter().zip(logp).map(|(weight, logp)| weight * logp).sum::<f64>() / 3.0;
    close(&[policy, total], &[-mean, -mean + 0.5 * 1.75], 1e-5);

    let fast = MarwilTraining::default().moving_average_sqd_adv_norm_update_rate(0.1);
    let (loss, _) = losses(fast, 1);
    close(&[square(&loss)], &[90.175], 1e-6);
    close(&weights_of(90.175), &[1.234_436, 0.900_048, 1.054_064], 1e-6);
}

#[test]
fn small_steps_of_the_moving_average_add_up_and_survive_a_checkpoint() {
    let (mut loss, _) = losses(MarwilTraining::default(), 1000);
    let expected = 1.75 + (100.0 - 1.75) * (1.0 - 1e-8_f64).powi(1000);
    close(&[square(&loss)], &[expected], 1e-9);
    let state = loss.get_state().unwrap();
    let mut restored = MarwilLoss::new(MarwilTraining::default());
    restored.set_state(&state).unwrap();
    assert_eq!(restored.square.numbers().unwrap(), loss.square.numbers().unwrap());
    let mean = || Tensor::<1>::from_floats([3.0], &Device::flex());
    restored.square.follow(mean(), 0.3);
    loss.square.follow(mean(), 0.3);
    assert_eq!(restored.get_state().unwrap(), loss.get_state().unwrap());
    let nan = Tensor::<1>::from_floats([f32::NAN], &Device::flex());
    loss.square.follow(nan, 0.3);
    assert_eq!(restored.get_state().unwrap(), loss.get_state().unwrap());
    let bad = State::from_data(&[-1.0, 0.0]).unwrap();
    let message = loss.set_state(&bad).unwrap_err().to_string();
    assert!(message.contains("squared advantages is [-1.0, 0.0]"), "{message}");
}

#[test]
fn without_beta_all_actions_count_alike() {
    let (_, [_, policy]) = losses(MarwilTraining::default().beta(0.0), 1);
    close(&[policy], &[3.5 / 3.0], 1e-6);
}
