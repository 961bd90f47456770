//! Ending trials that do not promise much.

use super::journal::Trial;

/// Whether a trial is worse than the median at a step: the best of its values so far is below the median of the values
/// that other trials had at this step. The first `startup` trials are never ended (Optuna's `MedianPruner`).
pub(super) fn is_below_median(trials: &[Trial], own: &[f64], step: usize, startup: usize) -> bool {
    let others = trials.iter().filter(|trial| trial.is_complete());
    let mut values: Vec<f64> =
        others.filter_map(|trial| trial.intermediate.get(&step)).copied().collect();
    if values.is_empty() || values.len() < startup {
        return false;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        1 => values[middle],
        _ => 0.5 * (values[middle - 1] + values[middle]),
    };
    own.iter().copied().fold(f64::NEG_INFINITY, f64::max) < median
}

#[cfg(test)]
mod tests {
    use super::super::journal::{Trial, TrialState};
    use super::*;

    #[test]
    fn a_trial_whose_best_value_is_below_the_median_is_ended() {
        let trial = |value: f64| Trial {
            state: TrialState::Complete,
            intermediate: [(1, value)].into(),
            ..Trial::default()
        };
        let trials: Vec<_> = [1.0, 2.0, 30.0, 4.0].map(trial).into();
        assert!(is_below_median(&trials, &[2.9], 1, 4));
        assert!(!is_below_median(&trials, &[3.1], 1, 4));
        assert!(!is_below_median(&trials, &[3.1, 0.0], 1, 4), "its best value counts");
        assert!(!is_below_median(&trials, &[0.0], 1, 5), "there are too few trials");
        assert!(!is_below_median(&trials, &[0.0], 2, 0), "no trial has a value at the step");
        let mut failed = trials.clone();
        failed[2].state = TrialState::Pruned;
        assert!(!is_below_median(&failed, &[2.9], 1, 3), "only complete trials count");
    }
}
