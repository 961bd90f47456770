//! Runners that are started individually, for plans that do not wait for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rekindle_env::EnvConfig;
use rekindle_env_runner::{
    Amount, EnvRunnerGroup, Experience, PublishedAt, RunnerError, SampleOptions,
};

use crate::fragile::{Event, Fault, config, fragile, group, modules, small};

/// Starts all idle runners.
fn start(group: &mut EnvRunnerGroup) -> usize {
    let idle = group.idle();
    let started = idle
        .into_iter()
        .filter(|&index| group.start(index, Amount::Timesteps(20), SampleOptions::default()));
    started.count()
}

/// Waits for all runners that have started. Returns the steps of each that finished.
fn finish(group: &mut EnvRunnerGroup) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    while let Some(finished) = group.next_finished().unwrap() {
        all.push((finished.runner, finished.experience.env_steps));
    }
    all.sort_unstable();
    all
}

/// Registers a CartPole whose first copy hangs in its 10th step until the gate is open.
fn hanging(name: &str) -> (String, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let id = fragile(name, move |env, event| {
        let started = Instant::now();
        while (env, event) == (0, Event::Step(10))
            && !open.load(Ordering::SeqCst)
            && started.elapsed() < Duration::from_secs(30)
        {
            thread::sleep(Duration::from_millis(1));
        }
        Fault::None
    });
    (id, gate)
}

#[test]
fn runners_start_and_finish_one_by_one() {
    for threads in [1, 2, 5] {
        let mut group = group(&config("CartPole-v1", 1), 3, threads);
        assert!(group.next_finished().unwrap().is_none());
        for _ in 0..3 {
            assert_eq!((start(&mut group), group.started().len()), (3, 3));
            assert!(!group.start(1, Amount::Timesteps(20), SampleOptions::default()), "at work");
            assert!(!group.start(9, Amount::Timesteps(20), SampleOptions::default()));
            assert_eq!(finish(&mut group), [(0, 20), (1, 20), (2, 20)]);
            assert_eq!((group.started().len(), group.idle().len()), (0, 3));
        }
    }
}

#[test]
fn runners_that_wait_for_a_thread_are_not_late() {
    let (id, gate) = hanging("HangsBeforeOthers");
    let mut config = config(&id, 1);
    config.fault_tolerance.sample_timeout_s = Some(0.3);
    config.fault_tolerance.restart_failed_env_runners = true;
    let mut group = group(&config, 3, 1);
    start(&mut group);
    let finished = finish(&mut group);
    assert_eq!((group.num_late(), group.num_restarts()), (1, 1), "{finished:?}");
    assert_eq!(group.idle(), [0, 1, 2]);
    // The thread that hangs is replaced.
    start(&mut group);
    assert_eq!(finish(&mut group), [(0, 20), (1, 20), (2, 20)]);
    // What the hanging runner delivers in the end is dropped.
    gate.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(50));
    start(&mut group);
    assert_eq!(finish(&mut group), [(0, 20), (1, 20), (2, 20)]);
    assert_eq!((group.num_late(), group.num_restarts()), (1, 1));
}

#[test]
fn a_late_runner_that_is_ignored_takes_part_again_when_it_returns() {
    for threads in [1, 2] {
        let (id, gate) = hanging(&format!("HangsAndReturns{threads}"));
        let mut config = config(&id, 1);
        config.fault_tolerance.sample_timeout_s = Some(0.2);
        config.fault_tolerance.ignore_env_runner_failures = true;
        let mut group = group(&config, 2, threads);
        start(&mut group);
        finish(&mut group);
        assert_eq!((group.num_late(), group.idle()), (1, vec![1]));
        start(&mut group);
        assert_eq!(finish(&mut group), [(1, 20)], "the other one works");
        gate.store(true, Ordering::SeqCst);
        // Changing the environments waits for all runners.
        group.set_env_config(&EnvConfig::new()).unwrap();
        assert_eq!(group.idle(), [0, 1], "{threads} threads");
        start(&mut group);
        // The first is the experience of the late runner.
        assert_eq!(finish(&mut group), [(0, 20), (0, 20), (1, 20)]);
        assert_eq!(group.num_restarts(), 0);
    }
}

#[test]
fn a_late_runner_that_is_not_tolerated_is_an_error_and_returns() {
    let (id, gate) = hanging("HangsAndIsReported");
    let mut config = config(&id, 1);
    config.fault_tolerance.sample_timeout_s = Some(0.2);
    let mut group = group(&config, 1, 1);
    start(&mut group);
    let error = group.next_finished().unwrap_err();
    assert!(matches!(error, RunnerError::Late { runner: 0, .. }), "{error}");
    assert!(error.to_string().contains("sample_timeout_s"), "{error}");
    gate.store(true, Ordering::SeqCst);
    group.reset_episodes().unwrap();
    start(&mut group);
    // The first is the late experience.
    assert_eq!(finish(&mut group), [(0, 20), (0, 20)]);
}

#[test]
fn work_that_panics_is_an_error_of_its_own_and_the_runner_keeps_its_experience() {
    let mut config = config("CartPole-v1", 1);
    config.fault_tolerance.restart_failed_env_runners = true;
    let mut undisturbed = group(&config, 1, 1);
    let mut group = group(&config, 1, 1);
    let all = SampleOptions::default();
    assert!(group.start_then(0, Amount::Timesteps(20), all, |experience| {
        assert!(experience.env_steps > 20, "too few steps");
    }));
    let finished = group.next_finished().unwrap().unwrap();
    let expected = undisturbed.sample(Amount::Timesteps(20), all).unwrap();
    assert_eq!(finished.experience, expected);
    let error = finished.output.unwrap().unwrap_err();
    assert!(matches!(error, RunnerError::WorkPanicked { runner: 0, .. }), "{error}");
    assert!(error.to_string().contains("too few steps") && !error.is_recoverable(), "{error}");
    assert_eq!((group.num_healthy(), group.num_restarts()), (1, 0));
    // The episode continues.
    assert!(group.start_then(0, Amount::Timesteps(20), all, |experience| experience.env_steps));
    let finished = group.next_finished().unwrap().unwrap();
    assert_eq!(finished.experience, undisturbed.sample(Amount::Timesteps(20), all).unwrap());
    assert_eq!(*finished.output.unwrap().unwrap().downcast::<usize>().unwrap(), 20);
}

#[test]
fn what_started_runners_did_is_handed_out_after_a_change_of_the_group() {
    let mut group = group(&config("CartPole-v1", 1), 2, 2);
    let options = SampleOptions::default();
    for index in 0..2 {
        let work = move |experience: &Experience| (index, experience.env_steps);
        assert!(group.start_then(index, Amount::Timesteps(20), options, work));
    }
    group.set_env_config(&EnvConfig::new()).unwrap();
    assert_eq!((group.idle(), group.started()), (vec![0, 1], vec![]));
    let mut outputs = Vec::new();
    while let Some(finished) = group.next_finished().unwrap() {
        assert_eq!(finished.experience.env_steps, 20);
        let output = finished.output.unwrap().unwrap();
        outputs.push(*output.downcast::<(usize, usize)>().unwrap());
    }
    outputs.sort_unstable();
    assert_eq!(outputs, [(0, 20), (1, 20)]);
    // A call for all runners returns it, too.
    start(&mut group);
    group.reset_episodes().unwrap();
    assert_eq!(group.sample(Amount::Timesteps(20), options).unwrap().env_steps, 80);
    assert!(group.next_finished().unwrap().is_none());
}

#[test]
fn a_recreated_runner_acts_with_the_weights_that_were_set_for_one_runner() {
    let id = fragile("StartedWeights", |env, event| match (env, event) {
        (0, Event::Step(10)) => Fault::Crash,
        _ => Fault::None,
    });
    let mut config = config(&id, 1);
    config.fault_tolerance.restart_failed_sub_environments = false;
    config.fault_tolerance.restart_failed_env_runners = true;
    let mut group = group(&config, 1, 1);
    let modules = modules(group.runners().next().unwrap(), small());
    assert!(group.set_modules_of(0, &modules, PublishedAt::new(7, 0)).unwrap());
    assert!(!group.set_modules_of(3, &modules, PublishedAt::new(7, 0)).unwrap());
    start(&mut group);
    assert!(!group.set_modules_of(0, &modules, PublishedAt::new(8, 0)).unwrap(), "it runs");
    assert_eq!(finish(&mut group), [(0, 0)]);
    start(&mut group);
    let experience = group.next_finished().unwrap().unwrap().experience;
    assert_eq!(experience.rollouts.values().next().unwrap()[0].weights_seq_no, 8);
    assert_eq!(group.num_restarts(), 1);
}

#[test]
fn dropping_a_group_at_work_does_not_wait_for_an_environment_that_hangs() {
    let (id, gate) = hanging("HangsWhileDropped");
    let mut group = group(&config(&id, 1), 2, 2);
    start(&mut group);
    let started = Instant::now();
    drop(group);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    gate.store(true, Ordering::SeqCst);
}

#[test]
fn crashes_and_panics_cost_a_fragment_and_recreate_the_runner() {
    for (name, fault) in [("StartedCrash", Fault::Crash), ("StartedPanic", Fault::Panic)] {
        let id = fragile(name, move |env, event| match (env, event) {
            (1, Event::Step(30)) => fault,
            _ => Fault::None,
        });
        let mut config = config(&id, 1);
        config.fault_tolerance.restart_failed_sub_environments = false;
        config.fault_tolerance.restart_failed_env_runners = true;
        let mut group = group(&config, 2, 2);
        let mut all = Vec::new();
        for _ in 0..3 {
            start(&mut group);
            all.push(finish(&mut group));
        }
        let whole = vec![(0, 20), (1, 20)];
        assert_eq!(all, [whole.clone(), vec![(0, 20), (1, 0)], whole]);
        assert_eq!((group.num_healthy(), group.num_restarts()), (2, 1));
    }
}
