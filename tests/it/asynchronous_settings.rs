//! Settings of IMPALA and APPO whose effect shows only in the weights, in the deterministic mode.

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, AppoTraining, Asynchronous, ImpalaConfig};
use rekindle::prelude::*;

use crate::support::device;

fn number(result: &Metrics, key: &str) -> f64 {
    result.get(key).unwrap_or_else(|| panic!("{key} is missing"))
}

/// An update per batch of 20 rows.
fn appo(change: impl FnOnce(AppoTraining) -> AppoTraining) -> AlgorithmConfig<AppoTraining> {
    let training = |t: AppoTraining| {
        let t = t.train_batch_size(20).fragment_length(5).lr(1e-2).deterministic(true);
        change(t.circular_buffer_num_batches(1).circular_buffer_iterations_per_batch(1))
    };
    AppoConfig::new()
        .environment("CartPole-v1")
        .model("fcnet_hiddens", vec![8])
        .training(training)
        .seed(5)
}

/// The weights of APPO's target policy and of the policy.
fn weights(algo: &Algorithm) -> [Vec<Vec<f32>>; 2] {
    let state = algo.learner().get_state().unwrap();
    let target = find(&state, "target").unwrap();
    let policy = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let numbers = |weight: &Array| weight.as_slice::<f32>().unwrap().to_vec();
    [target.tensors.values().map(numbers).collect(), policy.values().map(numbers).collect()]
}

fn find<'a>(state: &'a State, name: &str) -> Option<&'a State> {
    let inner = state.components.values().find_map(|part| find(part, name));
    state.components.get(name).or(inner)
}

#[test]
fn the_target_policy_is_renewed_at_its_interval() {
    let mut algo = appo(|t| t.target_network_update_freq(3.0)).build(&device()).unwrap();
    let mut both = [false; 2];
    for _ in 0..7 {
        algo.train().unwrap();
        let updates = algo.learner().weights_seq_no();
        let [target, policy] = weights(&algo);
        let renewed = updates % 3 == 0;
        both[usize::from(renewed)] = true;
        assert_eq!(target == policy, renewed, "after {updates} updates");
    }
    assert_eq!(both, [true; 2], "the test saw both cases");
}

#[test]
fn a_renewal_takes_over_a_share_of_the_policy() {
    let config = appo(|t| t.target_network_update_freq(1.0).tau(0.25));
    let one_update = Asynchronous::new(20, 5).deterministic(true).batches_per_step(1);
    let mut algo = config.with_execution_plan(one_update).build(&device()).unwrap();
    // The first step collects only.
    for _ in 0..2 {
        algo.train().unwrap();
    }
    let [before, _] = weights(&algo);
    algo.train().unwrap();
    assert_eq!(algo.learner().weights_seq_no(), 2);
    let [target, policy] = weights(&algo);
    let all = target.iter().zip(&before).zip(&policy);
    for ((target, before), policy) in all.flat_map(|((t, b), p)| t.iter().zip(b).zip(p)) {
        let expected = 0.75 * before + 0.25 * policy;
        assert!((target - expected).abs() < 1e-6, "{target} for {expected}");
    }
    assert_ne!(target, before);
}

/// In the first update the target is the policy itself, so the divergence is that of rounding and the weight is halved.
/// Then every divergence is far above the target.
#[test]
fn the_weight_of_the_kl_penalty_adapts_after_each_update() {
    let config =
        appo(|t| t.target_network_update_freq(1e6).use_kl_loss(true).kl_coeff(0.3).kl_target(1e-6));
    let mut algo = config.build(&device()).unwrap();
    for _ in 0..3 {
        let result = algo.train().unwrap();
        let updates = algo.learner().weights_seq_no();
        let expected = 0.3 * 0.5 * 1.5f64.powi(i32::try_from(updates).unwrap() - 1);
        let found = number(&result, "learners/default_policy/curr_kl_coeff");
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} after {updates} updates");
    }
}

#[test]
fn runners_act_with_older_weights_if_these_are_broadcast_less_often() {
    let lag = |interval: usize| {
        let mut algo = ImpalaConfig::new()
            .environment("CartPole-v1")
            .model("fcnet_hiddens", vec![8])
            .training(|t| {
                t.train_batch_size(20)
                    .fragment_length(5)
                    .broadcast_interval(interval)
                    .deterministic(true)
            })
            .seed(5)
            .build(&device())
            .unwrap();
        (0..4).map(|_| number(&algo.train().unwrap(), "learners/weights_lag_mean")).sum::<f64>()
    };
    let lags = [1, 2, 100].map(lag);
    assert!(lags[0] < lags[1] && lags[1] < lags[2], "{lags:?}");
}
