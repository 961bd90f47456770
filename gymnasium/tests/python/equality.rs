//! Steps through workers equal native environments and Gymnasium's own vectors.

use std::fs;
use std::path::Path;
use std::process::Command;

use rekindle_env::{Buffer, VectorEnv, VectorStep, check_env, make, make_vec};
use serde_json::json;

use crate::support::{Actions, assert_equal, folder, reset, step_of, vector};

fn equals_native(id: &str) {
    let (num_envs, steps) = (4, 5000);
    let mut native = make_vec(id, num_envs).unwrap();
    let mut python = vector(&format!("gymnasium:{id}"), num_envs, json!({"num_workers": 2}));
    assert_eq!(native.observation_space(), python.observation_space());
    assert_eq!(native.action_space(), python.action_space());
    let mut actions = Actions::new(native.action_space(), num_envs);
    let (mut ours, mut theirs) = (reset(&mut native, 11), reset(&mut python, 11));
    assert_equal(&ours, &theirs, "after a reset");
    let mut ends = 0;
    for step in 0..steps {
        let actions = actions.next();
        native.step(actions, &mut ours).unwrap();
        python.step(actions, &mut theirs).unwrap();
        assert_equal(&ours, &theirs, &format!("in step {step}"));
        ends += (0..num_envs).filter(|&env| ours.is_done(env)).count();
    }
    assert!(ends > 4, "{ends}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn cart_pole_equals_the_native_one() {
    equals_native("CartPole-v1");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn pendulum_equals_the_native_one() {
    equals_native("Pendulum-v1");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn mountain_car_equals_the_native_one() {
    equals_native("MountainCar-v0");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn mountain_car_continuous_equals_the_native_one() {
    equals_native("MountainCarContinuous-v0");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn acrobot_equals_the_native_one() {
    equals_native("Acrobot-v1");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn single_environments_follow_the_rules() {
    rekindle_gymnasium::register();
    let mut env = make("gymnasium:CartPole-v1").unwrap();
    check_env(&mut env).unwrap();
    assert_eq!(env.name(), "gymnasium:CartPole-v1");
    let mut native = make("CartPole-v1").unwrap();
    let mut rows = Buffer::zeros(env.observation_space(), 2);
    let mut action = Buffer::zeros(env.action_space(), 1);
    action.row_mut(0).write_discrete(1).unwrap();
    let options = rekindle_env::ResetOptions::seed(3).with("low", -0.01).with("high", 0.02);
    env.reset(&options, rows.row_mut(0)).unwrap();
    native.reset(&options, rows.row_mut(1)).unwrap();
    loop {
        let step = env.step(action.row(0), rows.row_mut(0)).unwrap();
        assert_eq!(step, native.step(action.row(0), rows.row_mut(1)).unwrap());
        assert_eq!(rows.row(0).as_f32().unwrap(), rows.row(1).as_f32().unwrap());
        if step.is_done() {
            break;
        }
    }
    let error = env.step(action.row(0), rows.row_mut(0)).unwrap_err().to_string();
    assert!(error.contains("`gymnasium:CartPole-v1` was stepped after its episode"), "{error}");
}

/// Compares with `gymnasium.vector.SyncVectorEnv`, stepped by `envs/record.py` with the same actions.
fn equals_sync_vector_env(id: &str, num_envs: usize, options: serde_json::Value, steps: usize) {
    let mut env = vector(id, num_envs, options.clone());
    let mut actions = Actions::new(env.action_space(), num_envs);
    let mut taken = Vec::new();
    let mut ours = vec![reset(&mut env, 5)];
    for _ in 0..steps {
        let actions = actions.next();
        let mut out = step_of(&env);
        env.step(actions, &mut out).unwrap();
        taken.push(match actions.as_f32() {
            Ok(numbers) => json!(numbers),
            Err(_) => json!(actions.as_i64().unwrap()),
        });
        ours.push(out);
    }
    let folder_of_files = tempfile::tempdir().unwrap();
    let (input, output) =
        (folder_of_files.path().join("in.json"), folder_of_files.path().join("out.json"));
    let request = json!({
        "id": id.strip_prefix("gymnasium:"), "num_envs": num_envs, "seed": 5, "actions": taken,
        "wrappers": options.get("wrappers"), "kwargs": options.get("kwargs"),
    });
    fs::write(&input, request.to_string()).unwrap();
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let status =
        Command::new(python).arg(folder().join("record.py")).args([&input, &output]).status();
    assert!(status.unwrap().success());
    let theirs = read_records(&output, &ours[0]);
    assert_eq!(ours.len(), theirs.len());
    let mut ends = 0;
    for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_equal(ours, theirs, &format!("of {id} in step {step}"));
        ends += (0..num_envs).filter(|&env| ours.is_done(env)).count();
    }
    assert!(ends > 0, "no episode of {id} ended");
}

fn read_records(path: &Path, like: &VectorStep) -> Vec<VectorStep> {
    let records: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let fill = |buffer: &mut Buffer, numbers: &serde_json::Value| {
        let numbers: Vec<f64> = serde_json::from_value(numbers.clone()).unwrap();
        if let Ok(cells) = buffer.as_f32_mut() {
            cells.iter_mut().zip(&numbers).for_each(|(cell, &x)| *cell = x as f32);
        } else {
            let cells = buffer.as_u8_mut().unwrap();
            cells.iter_mut().zip(&numbers).for_each(|(cell, &x)| *cell = x as u8);
        }
    };
    let read = |record: &serde_json::Value| {
        let mut step = like.clone();
        fill(&mut step.observations, &record["observations"]);
        fill(&mut step.final_observations, &record["final_observations"]);
        step.rewards = serde_json::from_value(record["rewards"].clone()).unwrap();
        step.terminated = serde_json::from_value(record["terminated"].clone()).unwrap();
        step.truncated = serde_json::from_value(record["truncated"].clone()).unwrap();
        step
    };
    records.iter().map(read).collect()
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn classic_control_equals_gymnasiums_vector() {
    equals_sync_vector_env("gymnasium:CartPole-v1", 3, json!({"num_workers": 2}), 400);
    equals_sync_vector_env("gymnasium:MountainCarContinuous-v0", 3, json!({}), 1100);
}

#[test]
#[ignore = "needs Python with Gymnasium and MuJoCo; `cargo xtask test` runs it"]
fn half_cheetah_equals_gymnasiums_vector() {
    equals_sync_vector_env("gymnasium:HalfCheetah-v5", 3, json!({"num_workers": 2}), 1100);
}

#[test]
#[ignore = "needs Python with Gymnasium and MuJoCo; `cargo xtask test` runs it"]
fn hopper_equals_gymnasiums_vector() {
    equals_sync_vector_env("gymnasium:Hopper-v5", 3, json!({"num_workers": 3}), 200);
}

#[test]
#[ignore = "needs Python with Gymnasium and ale-py; `cargo xtask test` runs it"]
fn pong_equals_gymnasiums_vector() {
    let wrappers = json!([
        {"AtariPreprocessing": {"noop_max": 10}},
        {"FrameStackObservation": {"stack_size": 4}},
        {"TimeLimit": {"max_episode_steps": 5}},
    ]);
    let options = json!({"wrappers": wrappers, "kwargs": {"frameskip": 1}, "num_workers": 2});
    equals_sync_vector_env("gymnasium:ALE/Pong-v5", 2, options, 12);
}
