use proptest::prelude::*;

use super::*;

const EVERY_REDUCER: [Reducer; 12] = [
    Reducer::EMA,
    Reducer::Ema { coeff: 0.3 },
    Reducer::MEAN,
    Reducer::MIN,
    Reducer::MAX,
    Reducer::SUM,
    Reducer::LifetimeSum,
    Reducer::Item,
    Reducer::Mean { window: Some(3) },
    Reducer::Min { window: Some(3) },
    Reducer::Sum { window: Some(3) },
    Reducer::Percentile { rank: 50.0, window: 3 },
];

fn of(reducer: Reducer, values: &[f64]) -> Stats {
    let mut stats = Stats::new(reducer).unwrap();
    values.iter().for_each(|value| stats.push(*value));
    stats
}

fn merged(reducer: Reducer, parts: &[&[f64]]) -> Stats {
    let parts: Vec<_> = parts.iter().map(|values| of(reducer, values)).collect();
    let mut whole = Stats::new(reducer).unwrap();
    whole.merge(&parts).unwrap();
    whole
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: f64) {
    let found = found.expect("a value");
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} != {expected}");
}

#[test]
fn ema_of_one_and_two_is_one_point_zero_one() {
    assert_close(of(Reducer::EMA, &[1.0, 2.0]).peek(), 1.01);
}

#[test]
fn ema_follows_its_recurrence_for_a_hundred_pushes() {
    let mut stats = Stats::new(Reducer::Ema { coeff: 0.2 }).unwrap();
    let mut expected = 0.0;
    for i in 0..100 {
        let value = f64::from(i * 37 % 23);
        expected = if i == 0 { value } else { 0.8 * expected + 0.2 * value };
        stats.push(value);
        assert_close(stats.peek(), expected);
    }
}

#[test]
fn ema_with_coefficient_one_half_of_three_values() {
    assert_close(of(Reducer::Ema { coeff: 0.5 }, &[0.1, 0.2, 0.3]).peek(), 0.225);
}

#[test]
fn a_window_of_two_sees_the_last_two_values() {
    assert_close(of(Reducer::mean_over(2), &[0.1, 0.2, 0.3]).peek(), 0.25);
    assert_close(of(Reducer::min_over(2), &[0.1, 0.2, 0.3]).peek(), 0.2);
    assert_close(of(Reducer::max_over(2), &[0.3, 0.2, 0.1]).peek(), 0.2);
    assert_close(of(Reducer::Sum { window: Some(2) }, &[10.0, 20.0, 30.0]).peek(), 50.0);
}

#[test]
fn min_of_three_values_is_the_smallest() {
    assert_close(of(Reducer::MIN, &[0.3, 0.1, 0.2]).peek(), 0.1);
}

#[test]
fn lifetime_sum_survives_reduction_and_others_do_not() {
    let mut lifetime = of(Reducer::LifetimeSum, &[10.0, 20.0]);
    let mut sum = of(Reducer::SUM, &[10.0, 20.0]);
    assert_eq!((lifetime.reduce(), sum.reduce()), (Some(30.0), Some(30.0)));
    assert_eq!((lifetime.peek(), sum.peek()), (Some(30.0), Some(0.0)));
}

// Reduction.

#[test]
fn reduction_clears_what_describes_one_iteration() {
    for reducer in [Reducer::MEAN, Reducer::MIN, Reducer::MAX, Reducer::Item] {
        let mut stats = of(reducer, &[4.0]);
        assert_eq!((stats.reduce(), stats.peek()), (Some(4.0), None), "{reducer:?}");
    }
    for reducer in [Reducer::EMA, Reducer::mean_over(2), Reducer::LifetimeSum] {
        let mut stats = of(reducer, &[4.0]);
        assert_eq!((stats.reduce(), stats.peek()), (Some(4.0), Some(4.0)), "{reducer:?}");
    }
}

#[test]
fn nan_does_not_enter_a_reduction_and_is_counted() {
    for reducer in EVERY_REDUCER {
        let mut stats = of(reducer, &[1.0, f64::NAN, f64::NAN]);
        assert_eq!(stats.peek(), of(reducer, &[1.0]).peek(), "{reducer:?}");
        assert_eq!(stats.nan_count(), 2);
        stats.merge(&[of(reducer, &[f64::NAN])]).unwrap();
        assert_eq!(stats.nan_count(), 3);
        let json = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Stats>(&json).unwrap(), stats);
        let _ = stats.reduce();
        assert_eq!(stats.nan_count(), 0);
    }
}

#[test]
fn an_exact_percentile_does_not_touch_its_neighbors() {
    let median = Reducer::Percentile { rank: 50.0, window: 9 };
    assert_eq!(of(median, &[f64::INFINITY, 2.0, 1.0]).peek(), Some(2.0));
    assert_eq!(of(median, &[4.0, 1.0]).peek(), Some(2.5));
    assert_eq!(of(median, &[]).peek(), None);
}

#[test]
fn memory_does_not_grow_with_the_number_of_values() {
    let values = vec![1.0; 10_000];
    assert_eq!(of(Reducer::mean_over(3), &values).window().unwrap().len(), 3);
    assert!(of(Reducer::MEAN, &values).running().is_some());
}

// Merging.

#[test]
fn merged_means_are_weighted_where_rllib_reports_nine() {
    assert_close(merged(Reducer::MEAN, &[&[1.0, 2.0, 3.0, 4.0, 5.0], &[15.0]]).peek(), 5.0);
}

#[test]
fn merged_moving_averages_are_weighted() {
    let ema = Reducer::Ema { coeff: 0.5 };
    // Averages 2.5 of two values and 4 of one.
    assert_close(merged(ema, &[&[2.0, 3.0], &[4.0]]).peek(), 3.0);
}

#[test]
fn a_merged_window_takes_from_its_parts_in_turns() {
    let parts: [&[f64]; 2] = [&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]];
    // The latest three are 3, 30 and one of 2 and 20, not the whole last part.
    assert_close(merged(Reducer::min_over(3), &parts).peek(), 2.0);
    assert_close(merged(Reducer::max_over(3), &parts).peek(), 30.0);
}

#[test]
fn merging_another_reducer_is_an_error_and_changes_nothing() {
    let mut mean = of(Reducer::MEAN, &[1.0]);
    let error = mean.merge(&[of(Reducer::MEAN, &[2.0]), of(Reducer::SUM, &[2.0])]).unwrap_err();
    assert!(matches!(error, MetricsError::ReducerMismatch { .. }), "{error}");
    assert_eq!(mean.peek(), Some(1.0));
}

proptest! {
    #[test]
    fn merging_later_values_equals_pushing_them(
        before in prop::collection::vec(-1e3..1e3, 0..9),
        after in prop::collection::vec(-1e3..1e3, 0..9),
    ) {
        for reducer in EVERY_REDUCER {
            let pushed = of(reducer, &[before.clone(), after.clone()].concat());
            let mut whole = of(reducer, &before);
            whole.merge(&[of(reducer, &after)]).unwrap();
            match pushed.peek() {
                Some(expected) => assert_close(whole.peek(), expected),
                None => assert_eq!(whole.peek(), None),
            }
        }
    }

    #[test]
    fn merging_does_not_depend_on_the_order_of_the_parts(
        a in prop::collection::vec(-1e3..1e3, 1..9),
        b in prop::collection::vec(-1e3..1e3, 1..9),
    ) {
        for reducer in [Reducer::EMA, Reducer::MEAN, Reducer::MIN, Reducer::MAX, Reducer::LifetimeSum] {
            let forth = merged(reducer, &[&a, &b]).peek().unwrap();
            assert_close(merged(reducer, &[&b, &a]).peek(), forth);
        }
    }

    #[test]
    fn a_merged_average_lies_between_its_values(
        past in -1e3..1e3,
        a in prop::collection::vec(-1e3..1e3, 1..9),
        b in prop::collection::vec(-1e3..1e3, 1..9),
    ) {
        for reducer in [Reducer::MEAN, Reducer::Ema { coeff: 0.3 }] {
            let mut whole = of(reducer, &[past]);
            whole.merge(&[of(reducer, &a), of(reducer, &b)]).unwrap();
            let all = || a.iter().chain(&b).chain([&past]).copied();
            let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
            let value = whole.peek().unwrap();
            prop_assert!(low - 1e-9 <= value && value <= high + 1e-9);
        }
    }

    #[test]
    fn saved_statistics_are_restored_bit_for_bit(
        values in prop::collection::vec(any::<f64>(), 0..9),
    ) {
        for reducer in EVERY_REDUCER {
            let stats = of(reducer, &values);
            let json = serde_json::to_string(&stats).unwrap();
            let restored: Stats = serde_json::from_str(&json).unwrap();
            // Debug output rather than `==`: the sum of both infinities is NaN.
            prop_assert_eq!(format!("{restored:?}"), format!("{stats:?}"));
        }
    }
}

#[test]
fn saved_infinities_are_restored() {
    let stats = of(Reducer::mean_over(3), &[f64::INFINITY, f64::NEG_INFINITY, -0.0]);
    let json = serde_json::to_string(&stats).unwrap();
    assert_eq!(serde_json::from_str::<Stats>(&json).unwrap(), stats, "{json}");
}

#[test]
fn inconsistent_saved_statistics_are_rejected() {
    for json in [
        r#"{"reducer":{"kind":"mean","window":1},"state":{"window":[1.0,2.0]}}"#,
        r#"{"reducer":{"kind":"mean","window":null},"state":{"window":[]}}"#,
        r#"{"reducer":{"kind":"ema","coeff":2.0},"state":{"running":{"count":0,"first":0,"value":0}}}"#,
    ] {
        assert!(serde_json::from_str::<Stats>(json).is_err(), "{json}");
    }
}
