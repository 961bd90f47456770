//! Environments that return what Gymnasium does not allow, and environments that use the operating system.

use std::path::Path;
use std::time::{Duration, Instant};

use rekindle_env::{Buffer, EnvError, VectorEnv, seeds_from};
use rekindle_gymnasium::{GymnasiumError, GymnasiumVectorEnv};
use serde_json::{Map, json};

use crate::support::{config, reset, step_of, vector};

const READ_INPUT: i64 = 1;
const CLOSE_INPUT: i64 = 2;
const EXIT_COPY: i64 = 3;
const RETURN_COPY: i64 = 4;
const LEAVE_DAEMON: i64 = 5;

fn choices<const N: usize>(choices: [i64; N]) -> Buffer {
    Buffer::from_i64(choices.to_vec(), &[]).unwrap()
}

/// The message of the first step of `lab.Odd`, and the vector after it.
fn odd(kind: &str) -> (Result<(), String>, GymnasiumVectorEnv) {
    let mut env = vector("python:lab:Odd", 1, json!({"kind": kind}));
    let mut out = reset(&mut env, 0);
    let result = env.step(&choices([0]), &mut out);
    (result.map_err(|error| error.to_string()), env)
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn results_that_gymnasium_does_not_allow_are_named() {
    for (kind, expected) in [
        ("four", "step() returned 4 values, as Gym did before 0.26"),
        ("one", "step() returned a int"),
        ("info", "the info is a list, expected a dict"),
        ("word", "the reward is 'high', expected a number"),
        ("array", "the reward is array([1., 1., 1.]), expected a number"),
        ("nothing", "the reward is None"),
        ("raises", "Unreadable: an exception that has no text"),
        ("surrogate", "ValueError: file ?"),
    ] {
        let (result, mut env) = odd(kind);
        let message = result.unwrap_err();
        assert!(message.contains(expected), "{message}");
        // The worker continues.
        let mut out = step_of(&env);
        env.reset_one(0, None, &mut out).unwrap();
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn resets_that_gymnasium_does_not_allow_are_named() {
    let message = |id: &str, options| {
        let mut env = vector(id, 1, options);
        let mut out = step_of(&env);
        env.reset(&seeds_from(Some(0), 1), &mut out).unwrap_err().to_string()
    };
    let none = message("python:lab:Odd", json!({"kind": "no info"}));
    assert!(none.contains("reset() returned ndarray without an info"), "{none}");
    let parts = message("python:lab:Odd", json!({"kind": "two parts"}));
    assert!(parts.contains("reset() returned tuple without an info"), "{parts}");
    let seedless = message("python:lab:Seedless", json!({}));
    assert!(seedless.contains("keyword argument 'seed'"), "{seedless}");
    assert!(seedless.contains("the keyword arguments `seed` and `options`"), "{seedless}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn infos_and_numbers_of_any_kind_do_no_harm() {
    let (result, mut env) = odd("infos");
    result.unwrap();
    let info = env.info(0);
    assert_eq!((info["deep.x"], info["deep.3"], info["deep.?"]), (0.5, 1.0, 1.0));
    assert_eq!((info["big"], info.len()), (f64::INFINITY, 4));
    assert_eq!(env.render(0).unwrap().fps(), 30.0);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn keys_of_any_text_without_dots_are_kept() {
    let named = |keys: &[&str]| {
        GymnasiumVectorEnv::new("python:lab:Named", 1, &config(json!({"keys": keys})))
    };
    let mut env = named(&["größe", "位置", "a b/c", "0"]).unwrap();
    let mut out = reset(&mut env, 0);
    let mut actions = Buffer::zeros(env.action_space(), 1);
    for (key, choice) in [("größe", 1), ("位置", 2), ("0", 1)] {
        actions.row_mut(0).get_mut(key).unwrap().write_discrete(choice).unwrap();
    }
    env.step(&actions, &mut out).unwrap();
    let row = out.observations.row(0);
    let seen = |key: &str| row.get(key).unwrap().as_f32().unwrap()[0];
    assert_eq!([seen("größe"), seen("位置"), seen("a b/c"), seen("0")], [0.25, 0.5, 0.0, 0.25]);
    assert_eq!(env.info(0)["größe"], 3.0);
    for key in ["", "arm.angle"] {
        let message = named(&[key]).unwrap_err().to_string();
        assert!(message.contains("is empty or contains a dot"), "{message}");
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn environments_of_a_worker_have_the_same_spaces() {
    let mut env = vector("python:lab:Changing", 2, json!({"num_workers": 1}));
    let mut out = step_of(&env);
    let error = env.reset(&seeds_from(Some(0), 2), &mut out).unwrap_err();
    assert_eq!(error.failed_envs().map(|(index, _)| index).collect::<Vec<_>>(), [1]);
    let message = error.to_string();
    assert!(message.contains("the action space Discrete(10) differs"), "{message}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn objects_that_are_no_environments_are_refused() {
    for (kind, expected) in [
        ("none", "`NoneType` has no `reset`"),
        ("empty", "`Empty` has no `observation_space` after its construction"),
        ("old", "its `action_space` is from `gym`"),
    ] {
        let made =
            GymnasiumVectorEnv::new("python:lab:no_environment", 1, &config(json!({"kind": kind})));
        let EnvError::Custom(error) = made.unwrap_err() else { panic!("{kind}") };
        let error = error.downcast::<GymnasiumError>().unwrap();
        assert!(matches!(*error, GymnasiumError::NoEnvironment { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn standard_input_is_empty_and_may_be_closed() {
    let mut env = vector("python:lab:System", 1, json!({}));
    let mut out = reset(&mut env, 0);
    let message = env.step(&choices([READ_INPUT]), &mut out).unwrap_err().to_string();
    assert!(message.contains("EOFError"), "{message}");
    env.reset_one(0, None, &mut out).unwrap();
    env.step(&choices([CLOSE_INPUT]), &mut out).unwrap();
    // Options are sent to the worker, too.
    let mut options = Map::new();
    options.insert("low".to_owned(), json!(0.25));
    env.reset_with(&seeds_from(None, 1), &options, &mut out).unwrap();
    assert_eq!(env.info(0)["low"], 0.25);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn copies_of_a_worker_change_nothing() {
    for handover in ["futex", "pipe"] {
        let mut env =
            vector("python:lab:System", 2, json!({"num_workers": 1, "handover": handover}));
        let mut out = reset(&mut env, 0);
        env.step(&choices([EXIT_COPY, RETURN_COPY]), &mut out).unwrap();
        let end = Instant::now() + Duration::from_millis(400);
        let mut steps = 1;
        while Instant::now() < end && steps < 19 {
            std::thread::sleep(Duration::from_millis(20));
            env.step(&choices([0, 0]), &mut out).unwrap();
            steps += 1;
            assert_eq!(out.rewards, [f64::from(steps); 2]);
        }
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn the_end_of_a_worker_is_found_while_a_copy_holds_its_pipes() {
    for handover in ["futex", "pipe"] {
        let mut env = vector("python:lab:System", 1, json!({"handover": handover}));
        let mut out = reset(&mut env, 0);
        let start = Instant::now();
        let message = env.step(&choices([LEAVE_DAEMON]), &mut out).unwrap_err().to_string();
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(start.elapsed() < Duration::from_secs(10));
        env.reset_one(0, None, &mut out).unwrap();
    }
}

fn runs(id: f64) -> bool {
    Path::new(&format!("/proc/{id}/cmdline")).metadata().is_ok()
        && !std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().is_empty()
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn programs_of_an_environment_end_with_its_worker() {
    for is_killed in [true, false] {
        let mut env = vector("python:lab:System", 1, json!({"sleeps": true}));
        let mut out = reset(&mut env, 0);
        let program = env.info(0)["program"];
        assert!(runs(program));
        if is_killed {
            let worker = env.worker_ids()[0].to_string();
            std::process::Command::new("kill").args(["-9", &worker]).status().unwrap();
            assert!(env.step(&choices([0]), &mut out).is_err());
        }
        drop(env);
        let end = Instant::now() + Duration::from_secs(10);
        while runs(program) {
            assert!(Instant::now() < end, "the program of the environment still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
