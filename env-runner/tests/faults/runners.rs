//! Failures of runners end in an error, a recreated runner or an ignored one, by configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_checkpoint::Checkpointable;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, EnvRunnerGroup, Experience, FaultToleranceConfig, RunnerError,
    SampleOptions,
};

use crate::fragile::{Event, Fault, config, fragile, group, reduced};

fn tolerant(env: &str, fault_tolerance: FaultToleranceConfig) -> EnvRunnerConfig {
    let env_to_module = vec![ConnectorConfig::mean_std_filter()];
    config(env, 1).fault_tolerance(fault_tolerance).env_to_module(env_to_module)
}

fn restart() -> FaultToleranceConfig {
    FaultToleranceConfig::default()
}

fn ignore() -> FaultToleranceConfig {
    restart().restart_failed_env_runners(false).ignore_env_runner_failures(true)
}

fn sample(group: &mut EnvRunnerGroup, steps: usize) -> Result<Experience, RunnerError> {
    let experience = group.sample(Amount::Timesteps(steps), SampleOptions::default());
    group.sync_connectors().unwrap();
    experience
}

fn all_crash(_: usize, event: Event) -> Fault {
    if event == Event::Step(30) { Fault::Crash } else { Fault::None }
}

#[test]
fn without_a_policy_the_error_of_the_runner_is_returned() {
    let id = fragile("AllCrash", all_crash);
    let config = tolerant(&id, restart().restart_failed_env_runners(false));
    for threads in [1, 2] {
        let mut group = group(&config, 2, threads);
        sample(&mut group, 20).unwrap();
        let error = sample(&mut group, 20).unwrap_err();
        assert!(error.to_string().contains("told to crash in Step(30)"), "{error}");
        assert_eq!((group.num_healthy(), group.num_restarts()), (0, 0));
        // The environments continue after a reset.
        assert_eq!(sample(&mut group, 20).unwrap().env_steps, 40);
        assert_eq!(group.num_healthy(), 2);
    }
}

#[test]
fn if_all_runners_fail_ignoring_them_is_an_error() {
    let id = fragile("AllCrashAlways", |_, event| match event {
        Event::Step(n) if n > 30 => Fault::Crash,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&id, ignore()), 2, 2);
    sample(&mut group, 20).unwrap();
    let error = sample(&mut group, 20).unwrap_err();
    assert!(error.to_string().contains("told to crash"), "{error}");
}

#[test]
fn an_ignored_runner_is_left_out_and_training_goes_on() {
    for (name, fault) in [("OneOfTwoCrashes", Fault::Crash), ("OneOfTwoPanics", Fault::Panic)] {
        let id = fragile(name, move |env, event| match (env, event) {
            (1, Event::Step(n)) if n > 30 => fault,
            _ => Fault::None,
        });
        let settings = ignore().num_consecutive_env_runner_failures_tolerance(3);
        let mut group = group(&tolerant(&id, settings), 2, 2);
        assert_eq!(sample(&mut group, 20).unwrap().env_steps, 40);
        for _ in 0..6 {
            assert_eq!(sample(&mut group, 20).unwrap().env_steps, 20);
            assert_eq!((group.num_healthy(), group.num_restarts()), (1, 0));
        }
        // After three more failures, or at once after a panic, the runner is no longer used.
        assert_eq!(group.runners().count(), 1);
    }
}

#[test]
fn an_ignored_runner_that_recovers_takes_part_again() {
    let id = fragile("CrashesOnce", |env, event| match (env, event) {
        (1, Event::Step(30)) => Fault::Crash,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&id, ignore()), 2, 1);
    let steps: Vec<_> = (0..4).map(|_| sample(&mut group, 20).unwrap().env_steps).collect();
    assert_eq!(steps, [40, 20, 40, 40]);
    assert_eq!(group.num_healthy(), 2);
}

#[test]
fn a_restarted_runner_collects_again_on_streams_of_its_own() {
    let run = |threads, name: &str, fault: Fault| {
        // The second runner fails, and so do those that replace it, later.
        let id = fragile(&format!("{name}{threads}"), move |env, event| match (env, event) {
            (1, Event::Step(30)) | (2, Event::Step(50)) => fault,
            _ => Fault::None,
        });
        let mut group = group(&tolerant(&id, restart()), 2, threads);
        let mut all = Vec::new();
        for restarts in [0, 1, 1, 2, 2] {
            let experience = sample(&mut group, 20).unwrap();
            assert_eq!(experience.env_steps, 40, "the others and a fresh sample");
            assert_eq!((group.num_healthy(), group.num_restarts()), (2, restarts));
            all.push(experience);
        }
        let mut filters = group.runners().map(|runner| runner.connector_states().unwrap());
        assert_eq!(filters.next(), filters.next(), "its connectors are those of the others");
        all
    };
    let one = run(1, "RestartedCrash", Fault::Crash);
    assert_eq!(one, run(2, "RestartedCrash", Fault::Crash), "threads change nothing");
    assert_eq!(one, run(2, "RestartedPanic", Fault::Panic));
    let rollouts: Vec<_> = one.iter().map(|e| &e.rollouts["default_policy"][1]).collect();
    for (a, b) in [(0, 1), (0, 3), (1, 3)] {
        assert_ne!(rollouts[a].observations, rollouts[b].observations, "streams do not repeat");
        assert_ne!(rollouts[a].actions, rollouts[b].actions);
    }
}

#[test]
fn a_runner_alone_keeps_what_its_connectors_have_learned() {
    let id = fragile("AloneCrashes", |env, event| match (env, event) {
        (0, Event::Step(50)) => Fault::Crash,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&id, restart()), 1, 1);
    let count = |group: &EnvRunnerGroup| {
        let states = group.runners().next().unwrap().connector_states().unwrap();
        states["default_policy"]["MeanStdFilter"]["merged"]["count"].as_f64().unwrap()
    };
    sample(&mut group, 40).unwrap();
    assert_eq!(count(&group), 41.0, "a first observation and one after each step");
    assert_eq!(sample(&mut group, 40).unwrap().env_steps, 40);
    assert_eq!(count(&group), 41.0 + 41.0);
    let metrics = reduced(group.take_metrics());
    assert_eq!(metrics.get("env_runners/num_env_steps_sampled_lifetime"), Some(80.0));
}

#[test]
fn restarts_end_where_the_settings_say() {
    let hopeless = |_: usize, event| match event {
        Event::Step(5) => Fault::Crash,
        _ => Fault::None,
    };
    let in_a_row = restart().num_consecutive_env_runner_failures_tolerance(4);
    let ever = restart().max_num_env_runner_restarts(2);
    for (name, settings, times) in [("Hopeless1", in_a_row, 4), ("Hopeless2", ever, 2)] {
        let id = fragile(name, hopeless);
        let mut group = group(&tolerant(&id, settings), 2, 2);
        let error = sample(&mut group, 20).unwrap_err();
        let RunnerError::RunnerKeepsFailing { runner: 0, failures, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*failures, times);
        assert!(error.to_string().contains("told to crash in Step(5)"), "{error}");
    }
    let mistaken = fragile("Mistaken", |_, event| match event {
        Event::Step(5) => Fault::Mistake,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&mistaken, restart()), 2, 1);
    let error = sample(&mut group, 20).unwrap_err();
    assert!(matches!(error, RunnerError::Environment { .. }), "mistakes are not hidden: {error}");
}

/// Environments that fail in their first reset are not restarted as often as the settings allow.
#[test]
fn an_environment_that_never_begins_is_an_error_soon() {
    for (name, fault, text) in [
        ("NeverBegins", Fault::Crash, "told to crash in Reset(1)"),
        ("PanicsFirst", Fault::Panic, "a panic: told to panic in Reset(1)"),
    ] {
        for restarts_alone in [false, true] {
            let resets = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&resets);
            let id = fragile(&format!("{name}{restarts_alone}"), move |_, event| match event {
                Event::Step(_) => Fault::None,
                Event::Reset(_) => {
                    counter.fetch_add(1, Ordering::SeqCst);
                    fault
                }
            });
            let settings = restart().restart_failed_sub_environments(restarts_alone);
            let mut group = group(&tolerant(&id, settings), 1, 1);
            let error = sample(&mut group, 20).unwrap_err();
            assert!(matches!(error, RunnerError::EnvNeverBegan { failures: 4, .. }), "{error}");
            let message = error.to_string();
            let reset =
                if text.contains("panic") || !restarts_alone { text } else { "told to crash" };
            assert!(message.contains(&format!("`{id}` never began an episode")), "{message}");
            assert!(message.contains(reset) && !message.contains("restart_failed"), "{message}");
            assert!(resets.load(Ordering::SeqCst) <= 4 * 4);
        }
    }
}

#[test]
fn a_first_reset_that_fails_now_and_then_is_tried_again() {
    let id = fragile("BeginsLate", |instance, event| match event {
        Event::Reset(1) if instance < 2 => Fault::Crash,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&id, restart()), 1, 1);
    assert_eq!(sample(&mut group, 20).unwrap().env_steps, 20);
    assert_eq!(group.num_restarts(), 2);
}

/// Once an environment has begun, the settings alone decide.
#[test]
fn an_environment_that_has_begun_may_fail_in_as_many_resets_as_the_settings_say() {
    let id = fragile("GoesAway", |instance, event| match event {
        Event::Step(30) if instance == 0 => Fault::Crash,
        Event::Reset(1) if (1..8).contains(&instance) => Fault::Crash,
        _ => Fault::None,
    });
    let mut group = group(&tolerant(&id, restart()), 1, 1);
    sample(&mut group, 20).unwrap();
    assert_eq!(sample(&mut group, 20).unwrap().env_steps, 20);
    assert_eq!(group.num_restarts(), 8);
}

/// A runner whose environments cannot be restarted fails in some calls. The calls in between
/// collect nothing and do not count as successes.
#[test]
fn restarts_of_environments_in_vain_do_not_end_a_row_of_failures() {
    let resets = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&resets);
    let id = fragile("AlwaysCrashes", move |_, event| match event {
        Event::Step(_) => Fault::Crash,
        Event::Reset(_) => {
            counter.fetch_add(1, Ordering::SeqCst);
            Fault::None
        }
    });
    let mut config = tolerant(&id, restart().num_consecutive_env_runner_failures_tolerance(2));
    config.fault_tolerance.restart_failed_sub_environments = true;
    let mut group = group(&config, 1, 1);
    let error = (0..10_000).find_map(|_| sample(&mut group, 20).err()).unwrap();
    assert!(matches!(error, RunnerError::RunnerKeepsFailing { failures: 2, .. }), "{error}");
    // Three runners, each with a first reset and a hundred restarts.
    assert_eq!(resets.load(Ordering::SeqCst), 303);
}

#[test]
fn environments_that_crash_keep_all_runners() {
    let mut config = config("CrashingCartPole-v1", 2);
    config.env_config = rekindle_env::EnvConfig::new().with("p_crash", 5e-3);
    let mut group = group(&config, 4, 2);
    let mut steps = 0;
    for _ in 0..10 {
        steps += sample(&mut group, 200).unwrap().env_steps;
    }
    assert!((4000..8000).contains(&steps), "{steps}");
    assert_eq!((group.num_healthy(), group.num_restarts()), (4, 0));
    let metrics = reduced(group.take_metrics());
    assert!(metrics.get("env_runners/num_env_restarts_lifetime").unwrap() > 10.0);
}

#[test]
fn a_restored_group_goes_on_exactly_after_restarts() {
    let mut config = tolerant("CrashingCartPole-v1", restart());
    config.num_envs = 2;
    config.env_config = rekindle_env::EnvConfig::new().with("p_crash", 2e-2);
    let mut first = group(&config, 3, 2);
    for _ in 0..5 {
        sample(&mut first, 40).unwrap();
    }
    assert!(first.num_restarts() > 2);
    let state = first.get_state().unwrap();
    let mut second = group(&config, 3, 1);
    second.set_state(&state).unwrap();
    let filters = |group: &EnvRunnerGroup| -> Vec<_> {
        group.runners().map(|runner| runner.connector_states().unwrap()).collect()
    };
    assert_eq!(filters(&first), filters(&second));
    assert_eq!(filters(&first)[0], filters(&first)[2]);
    for _ in 0..5 {
        assert_eq!(sample(&mut first, 40).unwrap(), sample(&mut second, 40).unwrap());
    }
    assert_eq!(first.num_restarts(), second.num_restarts());
}
