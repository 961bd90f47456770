//! Infos, reset options, wrappers, keyword arguments, and how environments are called.

use rekindle_env::{Buffer, Info, VectorEnv, seeds_from};
use serde_json::{Map, json};

use crate::support::{reset, step_of, vector};

fn info<const N: usize>(numbers: [(&str, f64); N]) -> Info {
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn numbers_of_infos_arrive_and_those_of_the_last_step_are_kept() {
    let mut env = vector("python:lab:Informed", 2, json!({}));
    let mut out = reset(&mut env, 0);
    let start = info([("start", 1.0), ("option", -1.0)]);
    assert_eq!(env.info(0), start);
    let actions = Buffer::from_f32(vec![0.5; 6], &[3]).unwrap();
    for t in [1.0, 2.0] {
        env.step(&actions, &mut out).unwrap();
        assert_eq!(env.info(1), info([("t", t), ("ok", 1.0), ("nested.x", 0.5)]));
        assert_eq!(out.rewards, [1.5; 2]);
    }
    env.step(&actions, &mut out).unwrap();
    assert_eq!(out.terminated, [true; 2]);
    assert_eq!(env.final_info(1), info([("is_success", 1.0), ("array", 2.5)]));
    assert_eq!(env.info(1), start);
    env.step(&actions, &mut out).unwrap();
    assert_eq!(env.info(0), info([("t", 1.0), ("ok", 1.0), ("nested.x", 0.5)]));
    assert_eq!(env.info(7), Info::new());
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn reset_options_reach_every_environment() {
    let mut env = vector("python:lab:Informed", 3, json!({"num_workers": 2}));
    let mut out = step_of(&env);
    let mut options = Map::new();
    options.insert("low".to_owned(), json!(0.25));
    env.reset_with(&seeds_from(None, 3), &options, &mut out).unwrap();
    assert!((0..3).all(|index| env.info(index)["option"] == 0.25));
    env.reset(&seeds_from(None, 3), &mut out).unwrap();
    assert!((0..3).all(|index| env.info(index)["option"] == -1.0));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn wrappers_and_keyword_arguments_are_applied() {
    let wrappers = json!([
        {"TimeLimit": {"max_episode_steps": 4}},
        "RecordEpisodeStatistics",
        {"gymnasium.wrappers:FrameStackObservation": {"stack_size": 3}},
    ]);
    let options = json!({"length": 100, "wrappers": wrappers});
    let mut env = vector("python:lab:Faulty", 2, options);
    assert_eq!(env.observation_space().to_string(), "Box(-inf, inf, (3, 2), float32)");
    let mut out = reset(&mut env, 0);
    let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();
    for _ in 0..4 {
        assert!(!out.is_done(0));
        env.step(&actions, &mut out).unwrap();
    }
    assert_eq!(out.truncated, [true; 2]);
    let last = env.final_info(0);
    assert_eq!((last["episode.r"], last["episode.l"]), (10.0, 4.0));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn environments_are_called_as_gymnasium_calls_them() {
    let mut env = vector("python:lab:Manners", 2, json!({"num_workers": 1}));
    let mut out = reset(&mut env, u64::MAX - 5);
    for step in 0..5 {
        let actions = Buffer::from_f32(vec![step as f32 / 8.0; 4], &[2]).unwrap();
        env.step(&actions, &mut out).unwrap();
    }
    assert_eq!((out.rewards[0], out.observations.as_i64().unwrap()[0]), (0.5, 2));
}
