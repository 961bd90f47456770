//! Environments and workers that break.

use std::process::Command;
use std::time::{Duration, Instant};

use rekindle_env::{Buffer, EnvError, VectorEnv, VectorStep};
use rekindle_gymnasium::GymnasiumVectorEnv;
use serde_json::json;

use crate::support::{assert_equal, reset, vector};

const RAISE: i64 = 1;
const EXIT: i64 = 2;
const HANG: i64 = 3;
const FLOOD: i64 = 4;
const NO_MEMORY: i64 = 5;
const KILL: i64 = 6;
const FAIL_IN_RESET: i64 = 7;
const SYSTEM_EXIT: i64 = 8;

/// Three workers with two environments each.
fn faulty(timeout_s: f64) -> GymnasiumVectorEnv {
    vector("python:lab:Faulty", 6, json!({"num_workers": 3, "timeout_s": timeout_s}))
}

fn actions(env: usize, fault: i64) -> Buffer {
    let mut actions = vec![0; 6];
    actions[env] = fault;
    Buffer::from_i64(actions, &[]).unwrap()
}

fn failed(result: Result<(), EnvError>) -> Vec<(usize, String)> {
    let error = result.unwrap_err();
    assert!(error.is_recoverable(), "{error}");
    error.failed_envs().map(|(index, error)| (index, error.to_string())).collect()
}

/// Copies the rows of environments that a fault does not touch, and compares them.
fn assert_others_equal(a: &VectorStep, b: &VectorStep, touched: &[usize], at: &str) {
    let mut a = a.clone();
    for &env in touched {
        a.observations.copy_row(env, &b.observations, env).unwrap();
        a.final_observations.copy_row(env, &b.final_observations, env).unwrap();
        a.rewards[env] = b.rewards[env];
        a.terminated[env] = b.terminated[env];
        a.truncated[env] = b.truncated[env];
    }
    assert_equal(&a, b, at);
}

/// Breaks environment 2 with `fault`, restarts the failed environments, and compares the others with a
/// vector without faults. Returns the failures.
fn survives(fault: i64, timeout_s: f64) -> Vec<(usize, String)> {
    let (mut broken, mut whole) = (faulty(timeout_s), faulty(60.0));
    let (mut out, mut expected) = (reset(&mut broken, 3), reset(&mut whole, 3));
    let healthy = actions(0, 0);
    for _ in 0..3 {
        broken.step(&healthy, &mut out).unwrap();
        whole.step(&healthy, &mut expected).unwrap();
    }
    let failures = failed(broken.step(&actions(2, fault), &mut out));
    whole.step(&healthy, &mut expected).unwrap();
    let touched: Vec<_> = failures.iter().map(|(index, _)| *index).collect();
    for &env in &touched {
        assert_eq!((out.rewards[env], out.is_done(env)), (0.0, false));
    }
    assert_others_equal(&out, &expected, &touched, "after the fault");
    // Without a reset, an environment that failed is not stepped again.
    let again = failed(broken.step(&healthy, &mut out));
    whole.step(&healthy, &mut expected).unwrap();
    assert!(again.iter().all(|(_, error)| error.contains("stepped after it had failed")));
    assert_others_equal(&out, &expected, &touched, "before the restart");
    for &env in &touched {
        broken.reset_one(env, Some(99), &mut out).unwrap();
        assert_eq!(out.observations.row(env).as_f32().unwrap()[0], 0.0);
    }
    for step in 0..30 {
        broken.step(&healthy, &mut out).unwrap();
        whole.step(&healthy, &mut expected).unwrap();
        assert_others_equal(&out, &expected, &touched, &format!("in step {step}"));
    }
    failures
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn an_exception_in_a_step_fails_one_environment() {
    let failures = survives(RAISE, 60.0);
    let [(2, message)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(message.contains("ValueError: a step too far"), "{message}");
    assert!(message.contains("lab.py") && !message.contains("rekindle_worker"), "{message}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_failed_allocation_and_an_exit_are_exceptions() {
    let failures = survives(NO_MEMORY, 60.0);
    assert!(matches!(failures.as_slice(), [(2, m)] if m.contains("MemoryError")), "{failures:?}");
    let failures = survives(SYSTEM_EXIT, 60.0);
    assert!(matches!(failures.as_slice(), [(2, m)] if m.contains("SystemExit")), "{failures:?}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_worker_that_exits_fails_its_environments_only() {
    let failures = survives(EXIT, 60.0);
    let [(2, message), (3, _)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(message.contains("exit status: 3"), "{message}");
    let failures = survives(KILL, 60.0);
    let [(2, message), (3, _)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(message.contains("SIGKILL"), "{message}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_worker_that_hangs_is_killed_after_its_time() {
    let start = Instant::now();
    let failures = survives(HANG, 3.0);
    let [(2, message), (3, _)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(message.contains("did not step within 3 s"), "{message}");
    assert!(start.elapsed() > Duration::from_secs(3));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn ten_megabytes_of_output_do_not_stop_a_worker() {
    let mut env = faulty(60.0);
    let mut out = reset(&mut env, 0);
    env.step(&actions(1, FLOOD), &mut out).unwrap();
    env.step(&actions(1, 0), &mut out).unwrap();
    assert_eq!(out.rewards, [2.0; 6]);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_failing_reset_after_an_episode_keeps_the_outcome_of_its_last_step() {
    let options = json!({"num_workers": 1, "length": 2});
    let mut env = vector("python:lab:Faulty", 6, options);
    let mut out = reset(&mut env, 0);
    env.step(&actions(4, FAIL_IN_RESET), &mut out).unwrap();
    let failures = failed(env.step(&actions(0, 0), &mut out));
    let [(4, message)] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(message.contains("RuntimeError: no reset today"), "{message}");
    assert_eq!((out.rewards[4], out.truncated[4]), (2.0, true));
    assert_eq!(out.final_observations.row(4).as_f32().unwrap()[0], 2.0);
    // A new environment replaces the one that failed.
    env.reset_one(4, None, &mut out).unwrap();
    env.step(&actions(0, 0), &mut out).unwrap();
    assert_eq!(out.rewards, [1.0; 6]);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn workers_that_are_killed_come_back_every_time() {
    let kills = std::env::var("REKINDLE_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let mut env = vector("python:lab:Faulty", 2, json!({"num_workers": 2, "length": 1000}));
    let mut out = reset(&mut env, 0);
    let healthy = Buffer::from_i64(vec![0, 0], &[]).unwrap();
    for round in 0..kills {
        let victim = env.worker_ids()[1];
        let killer = std::thread::spawn(move || {
            // In the middle of steps, not always between them.
            std::thread::sleep(Duration::from_micros(150 * round));
            let status = Command::new("kill").args(["-9", &victim.to_string()]).status();
            assert!(status.unwrap().success());
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        let failures = loop {
            match env.step(&healthy, &mut out) {
                Ok(()) => assert!(Instant::now() < deadline),
                Err(error) => break failed(Err(error)),
            }
        };
        killer.join().unwrap();
        let [(1, message)] = failures.as_slice() else { panic!("{failures:?}") };
        assert!(message.contains("SIGKILL"), "{message}");
        env.reset_one(1, None, &mut out).unwrap();
    }
    env.step(&healthy, &mut out).unwrap();
    assert_eq!(env.worker_ids().len(), 2);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_full_reset_restarts_all_workers_that_are_gone() {
    let mut env = faulty(60.0);
    let mut out = reset(&mut env, 0);
    let all = Buffer::from_i64(vec![EXIT; 6], &[]).unwrap();
    assert_eq!(failed(env.step(&all, &mut out)).len(), 6);
    assert!(env.worker_ids().is_empty());
    let first = reset(&mut faulty(60.0), 4);
    let again = reset(&mut env, 4);
    assert_equal(&first, &again, "after a restart");
}
