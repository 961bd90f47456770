//! Slow environments do not delay other runners.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rekindle_checkpoint::Checkpointable;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{Amount, EnvRunnerGroup, RunnerError, SampleOptions};

use crate::fragile::{Event, Fault, config, fragile, group, reduced};

fn sample(group: &mut EnvRunnerGroup) -> usize {
    let steps = group.sample(Amount::Timesteps(20), SampleOptions::default()).unwrap().env_steps;
    group.sync_connectors().unwrap();
    steps
}

/// RLlib's #58681: no runner waits for a slow one while a thread is free.
#[test]
fn a_thread_that_is_done_takes_the_next_runner() {
    let done = Arc::new(AtomicUsize::new(0));
    let id = fragile("WaitsForOthers", move |env, event| {
        match (env, event) {
            // Continues when the others have finished.
            (0, Event::Step(10)) => {
                let started = Instant::now();
                while done.load(Ordering::SeqCst) < 3 {
                    if started.elapsed() > Duration::from_secs(20) {
                        return Fault::Crash;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            (_, Event::Step(20)) => {
                done.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Fault::None
    });
    let mut group = group(&config(&id, 1), 4, 2);
    assert_eq!(sample(&mut group), 80);
}

#[test]
fn a_late_runner_delivers_with_a_later_call() {
    let gate = Arc::new(AtomicUsize::new(0));
    let closed = Arc::clone(&gate);
    let id = fragile("OneIsLate", move |env, event| {
        if (env, event) == (0, Event::Step(10)) {
            while closed.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Fault::None
    });
    let mut config = config(&id, 1);
    config.env_to_module = vec![ConnectorConfig::mean_std_filter()];
    config.fault_tolerance.sample_timeout_s = Some(0.5);
    let mut group = group(&config, 3, 3);
    assert_eq!(sample(&mut group), 40, "two of three are in time");
    assert_eq!((group.num_healthy(), group.num_late()), (2, 1));
    // A checkpoint does not wait.
    let state = group.get_state().unwrap();
    assert_eq!(state.components.len(), 2);
    let started = Instant::now();
    assert_eq!(sample(&mut group), 40, "it is still late");
    assert!(started.elapsed() < Duration::from_millis(400), "the call does not wait for it again");

    gate.store(1, Ordering::SeqCst);
    let mut total = 80;
    let mut calls = 0;
    while group.num_healthy() < 3 {
        thread::sleep(Duration::from_millis(20));
        total += sample(&mut group);
        calls += 1;
    }
    assert_eq!((group.num_late(), group.num_restarts()), (1, 0));
    // The late runner delivers 20 steps of the earlier call, and its share of the call that finds
    // it done.
    assert_eq!(total, 80 + calls * 40 + 40);
    let filters: Vec<_> = group.runners().map(|r| r.connector_states().unwrap()).collect();
    assert_eq!(filters[0], filters[1], "it has what the others learned, and they what it did");
    let count = filters[0]["default_policy"]["MeanStdFilter"]["merged"]["count"].as_f64();
    assert_eq!(count, Some(3.0 + total as f64), "three first observations and one of each step");
    let metrics = reduced(group.take_metrics());
    let sampled = metrics.get("env_runners/num_env_steps_sampled_lifetime");
    assert_eq!(sampled, Some(total as f64));

    group.set_state(&state).unwrap();
    assert_eq!((group.runners().count(), group.num_restarts()), (3, 1), "restored whole");
    assert_eq!(sample(&mut group), 60);
}

#[test]
fn with_everybody_late_the_first_that_comes_back_ends_the_wait() {
    let id = fragile("AllAreLate", |_, event| match event {
        Event::Step(10) => Fault::Stall(Duration::from_millis(300)),
        _ => Fault::None,
    });
    let mut config = config(&id, 1);
    config.fault_tolerance.sample_timeout_s = Some(0.15);
    let mut group = group(&config, 1, 1);
    assert_eq!(sample(&mut group), 0);
    let next = (0..50).map(|_| sample(&mut group)).find(|steps| *steps > 0);
    assert!(matches!(next, Some(20 | 40)), "{next:?}");
}

#[test]
fn endless_waiting_is_an_error() {
    let id = fragile("Stuck", |_, event| match event {
        Event::Step(10) => Fault::Stall(Duration::from_secs(3)),
        _ => Fault::None,
    });
    let mut config = config(&id, 1);
    config.fault_tolerance.sample_timeout_s = Some(0.02);
    config.fault_tolerance.num_consecutive_env_runner_failures_tolerance = 3;
    let mut group = group(&config, 2, 2);
    for _ in 0..3 {
        assert_eq!(sample(&mut group), 0);
    }
    let result = group.sample(Amount::Timesteps(20), SampleOptions::default());
    let error = result.unwrap_err();
    assert!(matches!(error, RunnerError::AllLate { calls: 4 }), "{error}");
    assert!(error.to_string().contains("sample_timeout_s"), "{error}");
}

#[test]
fn a_time_out_that_is_not_exceeded_changes_nothing() {
    let run = |timeout| {
        let mut config = config("CartPole-v1", 2);
        config.fault_tolerance.sample_timeout_s = timeout;
        config.env_to_module = vec![ConnectorConfig::mean_std_filter()];
        let mut group = group(&config, 3, 2);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(group.sample(Amount::Timesteps(40), SampleOptions::default()).unwrap());
            group.sync_connectors().unwrap();
        }
        all
    };
    assert_eq!(run(None), run(Some(60.0)));
}
