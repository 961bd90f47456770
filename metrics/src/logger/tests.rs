use std::thread;

use super::*;

const STEPS: &str = "num_env_steps_sampled_lifetime";
const RATE: &str = "num_env_steps_sampled_lifetime_throughput";

fn logger(values: &[(&str, f64)], reducer: Reducer) -> MetricsLogger {
    let mut logger = MetricsLogger::new();
    logger.log_dict("", values.iter().copied(), reducer).unwrap();
    logger
}

// Assertions 84 and 85 of the reference.

#[test]
fn keys_are_paths() {
    let mut logger = logger(&[("a/b/c", 1.0), ("a/d", 2.0)], Reducer::MEAN);
    assert_eq!((logger.peek("a/b/c"), logger.peek("a/d")), (Some(1.0), Some(2.0)));
    let error = logger.log_value("a//b", 1.0, Reducer::MEAN).unwrap_err();
    assert!(matches!(error, MetricsError::InvalidKey { .. }), "{error}");
}

#[test]
fn timers_measure_within_fifty_milliseconds() {
    let mut logger = MetricsLogger::new();
    let nap = Duration::from_millis(20);
    let answer = logger.time("timers/nap", |_| {
        thread::sleep(nap);
        42
    });
    assert_eq!(answer.unwrap(), 42);
    let error = logger.peek("timers/nap").unwrap() - nap.as_secs_f64();
    assert!((0.0..0.05).contains(&error), "{error} s");
}

#[test]
fn deleted_keys_are_gone_with_all_under_them() {
    let mut logger = logger(&[("a/b", 1.0), ("a/c", 2.0), ("ab", 3.0)], Reducer::MEAN);
    logger.delete("a").unwrap();
    assert_eq!((logger.peek("a/b"), logger.peek_or("a/c", 7.0)), (None, 7.0));
    assert_eq!(logger.peek("ab"), Some(3.0));
    let error = logger.delete("a").unwrap_err();
    assert!(matches!(error, MetricsError::UnknownKey { .. }), "{error}");
}

#[test]
fn the_first_use_fixes_the_reducer() {
    let mut logger = logger(&[("loss", 1.0)], Reducer::MEAN);
    let error = logger.log_value("loss", 2.0, Reducer::SUM).unwrap_err();
    assert_eq!(
        error.to_string(),
        "metric `loss` is the mean of an iteration, not the sum of an iteration; \
         use one reducer per key, or another key"
    );
    assert_eq!(logger.peek("loss"), Some(1.0));
}

#[test]
fn lifetime_counters_of_three_runners_add_up_and_have_a_throughput() {
    let mut root = MetricsLogger::new();
    let mut runners = [(); 3].map(|()| MetricsLogger::new());
    let mut now = Instant::now();
    let mut iterate = |steps: f64, seconds: u64| {
        for runner in &mut runners {
            runner.log_value(STEPS, steps / 3.0, Reducer::LifetimeSum).unwrap();
        }
        root.aggregate("", runners.iter_mut().map(MetricsLogger::take)).unwrap();
        now += Duration::from_secs(seconds);
        let metrics = root.reduce_at(now);
        (metrics.get(STEPS), metrics.get(RATE))
    };
    assert_eq!(iterate(30.0, 1), (Some(30.0), None));
    assert_eq!(iterate(15.0, 1), (Some(45.0), Some(15.0)));
    assert_eq!(iterate(50.0, 2), (Some(95.0), Some(25.0)));
}

#[test]
fn a_sum_of_seconds_has_no_throughput() {
    let mut logger = logger(&[("time_total_s", 2.0), (STEPS, 10.0)], Reducer::LifetimeSum);
    let start = Instant::now();
    logger.reduce_at(start);
    logger.log_value("time_total_s", 3.0, Reducer::LifetimeSum).unwrap();
    let metrics = logger.reduce_at(start + Duration::from_secs(3));
    assert_eq!(metrics.get("time_total_s"), Some(5.0));
    assert_eq!(metrics.get("time_total_s_throughput"), None);
    assert_eq!(metrics.get(RATE), Some(0.0));
}

#[test]
fn a_nan_return_is_reported_by_its_count() {
    let mut root = MetricsLogger::new();
    let mut runner = MetricsLogger::new();
    for value in [10.0, f64::NAN, 30.0] {
        runner.log_value("return", value, Reducer::mean_over(100)).unwrap();
    }
    root.aggregate("env_runners", [runner.take()]).unwrap();
    let metrics = root.reduce();
    // NumPy's nanmean.
    assert_eq!(metrics.get("env_runners/return"), Some(20.0));
    assert_eq!(metrics.get("env_runners/return_nan_count"), Some(1.0));
    assert_eq!(root.reduce().get("env_runners/return_nan_count"), None);

    let mut logger = logger(&[("loss", f64::NAN)], Reducer::MEAN);
    let metrics = logger.reduce();
    assert_eq!((metrics.get("loss"), metrics.get("loss_nan_count")), (None, Some(1.0)));
}

// Reduction and state.

#[test]
fn a_reduction_reports_only_series_with_values() {
    let mut logger = logger(&[("loss", 2.0)], Reducer::MEAN);
    assert_eq!(logger.reduce().get("loss"), Some(2.0));
    assert!(logger.reduce().is_empty());
}

#[test]
fn throughput_resumes_after_a_restore() {
    let mut logger = logger(&[(STEPS, 100.0)], Reducer::LifetimeSum);
    let mut resumed = MetricsLogger::new();
    resumed.set_state(logger.state());
    resumed.log_value(STEPS, 60.0, Reducer::LifetimeSum).unwrap();
    let rate = resumed.reduce_at(Instant::now() + Duration::from_secs(10)).get(RATE).unwrap();
    assert!((5.0..=6.0).contains(&rate), "{rate}");

    assert_eq!(logger.reduce().get(RATE), None);
}

#[test]
fn a_recreated_lifetime_sum_has_no_throughput_at_first() {
    let mut logger = logger(&[(STEPS, 100.0)], Reducer::LifetimeSum);
    logger.reduce();
    logger.delete(STEPS).unwrap();
    logger.log_value(STEPS, 1.0, Reducer::LifetimeSum).unwrap();
    assert_eq!(logger.reduce_at(Instant::now() + Duration::from_secs(1)).get(RATE), None);
}

#[test]
fn the_state_round_trips_through_json() {
    let mut logger = logger(&[("a/ema", 0.1), ("a/ema", 1.0 / 3.0)], Reducer::EMA);
    logger.log_value("window", f64::INFINITY, Reducer::mean_over(5)).unwrap();
    logger.log_value("steps", 1e15 + 0.125, Reducer::LifetimeSum).unwrap();

    let json = serde_json::to_value(logger.state()).unwrap();
    let state: MetricsState = serde_json::from_value(json).unwrap();
    assert_eq!(state, logger.state());

    let mut resumed = MetricsLogger::new();
    resumed.set_state(state);
    resumed.log_value("a/ema", 0.7, Reducer::EMA).unwrap();
    logger.log_value("a/ema", 0.7, Reducer::EMA).unwrap();
    assert_eq!(resumed.state(), logger.state());
}

// Aggregation.

#[test]
fn a_window_is_applied_once() {
    let mut root = MetricsLogger::new();
    let mut runner = MetricsLogger::new();
    // If a leaf reported its whole window each time, old values would count twice.
    for value in [1.0, 2.0, 6.0] {
        runner.log_value("return", value, Reducer::mean_over(100)).unwrap();
        root.aggregate("env_runners", [runner.take()]).unwrap();
    }
    assert_eq!(root.peek("env_runners/return"), Some(3.0));
}

#[test]
fn a_runner_without_values_has_no_weight() {
    let mut reports: Vec<_> =
        [1.0, 3.0].map(|value| logger(&[("return", value)], Reducer::MEAN)).into();
    let mut idle = logger(&[("return", 100.0)], Reducer::MEAN);
    let _ = idle.take();
    reports.push(idle);

    let mut root = MetricsLogger::new();
    root.aggregate("", reports.iter_mut().map(MetricsLogger::take)).unwrap();
    assert_eq!(root.peek("return"), Some(2.0));
}

#[test]
fn aggregating_other_reducers_is_an_error_and_changes_nothing() {
    let mut root = logger(&[("loss", 1.0)], Reducer::MEAN);
    let before = root.state();
    let fine = logger(&[("entropy", 1.0), ("loss", 1.0)], Reducer::MEAN).take();
    let other = logger(&[("loss", 1.0)], Reducer::SUM).take();
    let error = root.aggregate("", [fine, other]).unwrap_err();
    assert!(matches!(error, MetricsError::ReducerConflict { .. }), "{error}");
    assert_eq!(root.state(), before);
}

#[test]
fn changes_since_begin_are_undone_or_kept() {
    let window = Reducer::Mean { window: Some(2) };
    let changes: [fn(&mut MetricsLogger); 7] = [
        |logger| logger.log_value("mean", 9.0, Reducer::Mean { window: Some(2) }).unwrap(),
        |logger| logger.log_value("new", 1.0, Reducer::SUM).unwrap(),
        |logger| drop(logger.take()),
        |logger| drop(logger.reduce()),
        |logger| logger.delete("mean").unwrap(),
        |logger| logger.reset(),
        |logger| {
            let mut other = MetricsLogger::new();
            other.log_value("other", 2.0, Reducer::SUM).unwrap();
            logger.set_state(other.state());
        },
    ];
    for first in changes {
        for second in changes {
            let mut logger = logger(&[("mean", 1.0), ("mean", 2.0)], window);
            logger.log_value("sum", 3.0, Reducer::SUM).unwrap();
            let before = logger.state();
            logger.begin();
            first(&mut logger);
            let _ = logger.log_value("sum", 1.0, Reducer::SUM);
            if logger.peek("mean").is_some() {
                second(&mut logger);
            }
            let after = logger.state();
            let mut kept = logger.clone();
            kept.commit();
            kept.roll_back();
            assert_eq!(kept.state(), after);
            logger.roll_back();
            assert_eq!(logger.state(), before);
            logger.roll_back();
            assert_eq!(logger.state(), before, "once");
        }
    }
}

#[test]
fn reports_leave_out_series_without_values_except_for_sums() {
    let mut runner = logger(&[("loss", 1.0)], Reducer::MEAN);
    runner.log_values("returns", [1.0, 2.0], Reducer::mean_over(2)).unwrap();
    runner.log_value("steps", 1.0, Reducer::SUM).unwrap();
    let first = runner.take();
    assert_eq!(first.get("returns").and_then(Stats::peek), Some(1.5));
    let second = runner.take();
    assert!(second.get("loss").is_none() && second.get("returns").is_none());
    assert_eq!(second.get("steps").and_then(Stats::peek), Some(0.0));
}
