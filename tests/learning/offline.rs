//! The examples that record, learn from recordings and estimate from them.

#[path = "../../examples/offline_to_online.rs"]
mod offline_to_online;
#[path = "../../examples/policy_evaluation.rs"]
mod policy_evaluation;
#[path = "../../examples/record_then_clone.rs"]
mod record_then_clone;

use rekindle::offline::Estimator;

#[test]
fn a_clone_of_recordings_balances_longer_than_chance() {
    let returns = record_then_clone::run(60.0, 4).unwrap();
    // A random policy has a mean return of 22.
    assert!(returns.expert > 60.0 && returns.clone > 45.0, "{returns:?}");
}

#[test]
fn iql_goes_from_recordings_to_the_environment() {
    let returns = offline_to_online::run(1, 2, 1000).unwrap();
    for mean in [returns.offline, returns.online] {
        assert!((-1800.0..0.0).contains(&mean), "{returns:?}");
    }
}

#[test]
fn weighted_estimates_are_close_to_the_return_of_playing() {
    let (played, estimates) = policy_evaluation::run().unwrap();
    assert_eq!(estimates.len(), 4);
    for (estimator, [value, low, high]) in estimates {
        assert!(low <= value && value <= high, "{estimator:?}");
        let is_weighted = estimator == Estimator::PerDecisionWeightedImportanceSampling;
        let error = (value - played).abs();
        assert!(!is_weighted || error < 0.15 * played, "{estimator:?}: {value} {played}");
    }
}
