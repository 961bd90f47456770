//! Vectors of environments, partly against recordings of Gymnasium's `SyncVectorEnv`.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::{assert_close, f32s, f64s, golden};
use rekindle_env::classic_control::{CartPole, Pendulum};
use rekindle_env::wrappers::{OrderEnforcing, RecordEpisodeStatistics};
use rekindle_env::{
    Buffer, Env, EnvConfig, EnvError, SyncVectorEnv, VectorEnv, VectorStep, make, make_vec,
    seeds_from,
};
use serde_json::{Map, json};

fn actions(numbers: &[i64]) -> Buffer {
    Buffer::from_i64(numbers.to_vec(), &[]).unwrap()
}

fn cart_poles(n: usize) -> (Box<dyn VectorEnv>, VectorStep) {
    let envs = make_vec("CartPole-v1", n).unwrap();
    let out = VectorStep::new(envs.observation_space(), n);
    (envs, out)
}

#[test]
fn steps_and_automatic_resets_equal_gymnasiums_same_step_mode() {
    let record = &golden("vector")[0];
    let (mut envs, mut out) = cart_poles(3);
    envs.reset(&seeds_from(record["seed"].as_u64(), 3), &mut out).unwrap();
    let rows = |json: &serde_json::Value| -> Vec<f32> {
        json.as_array().unwrap().iter().flat_map(f32s).collect()
    };
    let seeded = out.observations.as_f32().unwrap();
    assert_close(seeded, &rows(&record["reset"]), 1e-7, "reset");
    let first = [0.01823519, -0.0446179, -0.02796401, -0.03156282];
    assert_close(&seeded[..4], &first, 1e-7, "Gymnasium's documentation");

    for (i, step) in record["steps"].as_array().unwrap().iter().enumerate() {
        let at = format!("step {i}");
        let chosen: Vec<i64> = serde_json::from_value(step[0].clone()).unwrap();
        envs.step(&actions(&chosen), &mut out).unwrap();
        assert_close(out.observations.as_f32().unwrap(), &rows(&step[1]), 1e-6, &at);
        assert_eq!(out.rewards, f64s(&step[2]), "{at}");
        assert_eq!(json!([out.terminated, out.truncated]), json!([step[3], step[4]]), "{at}");
        for (row, last) in step[5].as_array().unwrap().iter().enumerate() {
            assert_eq!(out.is_done(row), !last.is_null(), "{at}");
            if out.is_done(row) {
                let found = out.final_observations.row(row).as_f32().unwrap();
                assert_close(found, &f32s(last), 1e-6, &at);
            }
        }
    }
}

#[test]
fn the_time_limit_truncates_each_environment_by_itself() {
    let mut envs = make_vec("Pendulum-v1", 2).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    let torque = Buffer::from_f32(vec![0.0, 1.0], &[1]).unwrap();
    envs.reset(&[None, None], &mut out).unwrap();
    for i in 1..=400 {
        envs.step(&torque, &mut out).unwrap();
        assert_eq!(out.truncated, [i % 200 == 0; 2]);
        assert_eq!(out.terminated, [false; 2]);
    }
}

#[test]
fn a_reset_clears_the_rewards_and_flags_of_the_last_step() {
    let mut envs = make_vec("Pendulum-v1", 1).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 1);
    let torque = Buffer::from_f32(vec![0.0], &[1]).unwrap();
    envs.reset(&[None], &mut out).unwrap();
    while !out.is_done(0) {
        envs.step(&torque, &mut out).unwrap();
    }
    out.terminated[0] = true;
    envs.reset(&[None], &mut out).unwrap();
    assert!(!out.is_done(0) && !out.terminated[0]);
    assert_eq!(out.rewards, [0.0]);
}

#[test]
fn wrong_row_counts_are_typed_errors() {
    let (mut envs, mut out) = cart_poles(2);
    let (_, mut small) = cart_poles(1);
    let errors = [
        envs.reset(&[None], &mut out).unwrap_err(),
        envs.reset(&[None, None], &mut small).unwrap_err(),
        envs.step(&actions(&[0]), &mut out).unwrap_err(),
        envs.step(&actions(&[0, 1]), &mut small).unwrap_err(),
        SyncVectorEnv::<Box<dyn Env>>::new(vec![]).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");
    }
}

#[test]
fn errors_name_the_environment_they_come_from() {
    let (mut envs, mut out) = cart_poles(2);
    let error = envs.step(&actions(&[0, 0]), &mut out).unwrap_err();
    let failures: Vec<_> = error.failed_envs().map(|(index, _)| index).collect();
    assert_eq!(failures, [0, 1], "{error}");
    for (_, failure) in error.failed_envs() {
        assert!(matches!(failure, EnvError::StepBeforeReset { .. }), "{error}");
    }
    assert!(error.to_string().contains("first; environment 1: `CartPole-v1` was"), "{error}");
    envs.reset(&seeds_from(None, 2), &mut out).unwrap();
    let error = envs.step(&actions(&[1, 2]), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "environment 1: action 2 is not in the action space Discrete(2)");
    let wrong_kind = Buffer::from_f32(vec![0.0, 0.0], &[]).unwrap();
    let error = envs.step(&wrong_kind, &mut out).unwrap_err();
    assert!(matches!(&error, EnvError::SubEnvs { failures } if failures.len() == 2), "{error}");
    assert!(!error.is_recoverable());
}

#[test]
fn environments_of_different_spaces_are_refused() {
    let envs = vec![make("CartPole-v1").unwrap(), make("Pendulum-v1").unwrap()];
    let error = SyncVectorEnv::new(envs).unwrap_err();
    assert!(matches!(error, EnvError::InvalidSpace { .. }), "{error}");
}

#[test]
fn reset_options_reach_every_environment() {
    let (mut envs, mut out) = cart_poles(2);
    let mut options = Map::new();
    options.insert("low".to_owned(), json!(0.5));
    options.insert("high".to_owned(), json!(0.5));
    envs.reset_with(&[None, None], &options, &mut out).unwrap();
    assert_eq!(out.observations.as_f32().unwrap(), [0.5; 8]);
}

#[test]
fn a_restored_vector_continues_exactly() {
    let (mut envs, mut out) = cart_poles(3);
    envs.reset(&seeds_from(Some(5), 3), &mut out).unwrap();
    let mut run = |envs: &mut Box<dyn VectorEnv>| {
        let mut history = Vec::new();
        for i in 0..60 {
            envs.step(&actions(&[i % 2, 1, (i / 2) % 2]), &mut out).unwrap();
            history.push((out.observations.clone(), out.rewards.clone(), out.terminated.clone()));
        }
        history
    };
    run(&mut envs);
    let text = envs.state().unwrap().unwrap().to_string();
    let expected = run(&mut envs);

    let (mut restored, _) = cart_poles(3);
    restored.set_state(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(run(&mut restored), expected);

    let (mut fewer, _) = cart_poles(2);
    let error = fewer.set_state(&serde_json::from_str(&text).unwrap()).unwrap_err();
    assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");
}

#[test]
fn episode_statistics_survive_the_automatic_reset() {
    let make = || {
        let env = CartPole::new(&EnvConfig::new()).unwrap();
        RecordEpisodeStatistics::new(OrderEnforcing::new(env))
    };
    let mut envs = SyncVectorEnv::new(vec![make(), make()]).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    envs.reset(&seeds_from(Some(0), 2), &mut out).unwrap();
    assert!(envs.info(0).is_empty());
    let mut steps = 0;
    while !out.is_done(0) {
        envs.step(&actions(&[1, 0]), &mut out).unwrap();
        steps += 1;
    }
    let info = envs.info(0);
    assert_eq!((info["episode.r"], info["episode.l"]), (f64::from(steps), f64::from(steps)));
    assert!(info["episode.t"] > 0.0);
    assert_eq!(envs.envs()[0].episodes().len(), 1);
    assert!(envs.info(7).is_empty());
}

#[test]
fn a_single_concrete_environment_is_a_vector_of_one() {
    let env = Pendulum::new(&EnvConfig::new()).unwrap();
    let mut envs: Box<dyn VectorEnv> = Box::new(SyncVectorEnv::new(vec![env]).unwrap());
    let mut out = VectorStep::new(envs.observation_space(), 1);
    envs.reset(&[Some(1)], &mut out).unwrap();
    assert_eq!((envs.num_envs(), out.num_envs()), (1, 1));
}
