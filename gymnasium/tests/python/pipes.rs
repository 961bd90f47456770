//! Workers that are woken by pipes, the only way on macOS.

use rekindle_env::{Buffer, EnvError, VectorEnv, seeds_from};
use serde_json::{Map, json};

use crate::support::{Actions, assert_equal, reset, step_of, vector};

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn steps_through_pipes_equal_those_through_futexes() {
    let options = |handover| json!({"num_workers": 2, "handover": handover});
    let mut pipes = vector("gymnasium:CartPole-v1", 3, options("pipe"));
    let mut futexes = vector("gymnasium:CartPole-v1", 3, options("futex"));
    let (mut a, mut b) = (reset(&mut pipes, 5), reset(&mut futexes, 5));
    let mut actions = Actions::new(pipes.action_space(), 3);
    for step in 0..500 {
        let actions = actions.next();
        pipes.step(actions, &mut a).unwrap();
        futexes.step(actions, &mut b).unwrap();
        assert_equal(&a, &b, &format!("in step {step}"));
    }
    let names = std::fs::read_dir("/dev/shm")
        .unwrap()
        .filter_map(|file| file.ok()?.file_name().into_string().ok());
    let own = format!("rekindle-{}-", std::process::id());
    assert_eq!(names.filter(|name| name.starts_with(&own)).count(), 0);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn infos_options_and_pictures_pass_through_pipes() {
    let mut env = vector("python:lab:Informed", 2, json!({"num_workers": 1, "handover": "pipe"}));
    let mut out = step_of(&env);
    let mut options = Map::new();
    options.insert("low".to_owned(), json!(0.25));
    env.reset_with(&seeds_from(None, 2), &options, &mut out).unwrap();
    assert_eq!(env.info(1)["option"], 0.25);
    let actions = Buffer::from_f32(vec![0.5; 6], &[3]).unwrap();
    env.step(&actions, &mut out).unwrap();
    assert_eq!((env.info(0)["t"], env.info(1)["nested.x"]), (1.0, 0.5));

    let mut env = vector("python:lab:Drawn", 1, json!({"handover": "pipe"}));
    reset(&mut env, 0);
    assert_eq!(env.render(0).unwrap().width(), 6);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn failures_are_found_through_pipes() {
    let options = json!({"num_workers": 2, "handover": "pipe", "timeout_s": 3.0});
    let mut env = vector("python:lab:Faulty", 4, options);
    let mut out = reset(&mut env, 0);
    // An exception, the end of a worker, and a worker that hangs.
    for (fault, expected, failed) in [
        (1, "a step too far", vec![2]),
        (2, "exit status: 3", vec![2, 3]),
        (3, "within 3 s", vec![2, 3]),
    ] {
        let actions = Buffer::from_i64(vec![0, 0, fault, 0], &[]).unwrap();
        let error: EnvError = env.step(&actions, &mut out).unwrap_err();
        assert!(error.is_recoverable() && error.to_string().contains(expected), "{error}");
        let indices: Vec<_> = error.failed_envs().map(|(index, _)| index).collect();
        assert_eq!(indices, failed);
        for index in indices {
            env.reset_one(index, None, &mut out).unwrap();
        }
        env.step(&Buffer::from_i64(vec![0; 4], &[]).unwrap(), &mut out).unwrap();
    }
}
