//! Vectors of Python that step all environments at once.

use std::fs;
use std::process::Command;

use rekindle_env::{Buffer, VectorEnv};
use rekindle_gymnasium::GymnasiumVectorEnv;
use serde_json::json;

use crate::support::{Actions, assert_equal, config, reset, vector};

/// A vector that Python makes of environments `lab.Faulty` with this mode of automatic resets.
fn native(mode: &str) -> GymnasiumVectorEnv {
    let options = json!({"native_vector": true, "mode": mode, "length": 7});
    vector("python:lab:vector_of_faulty", 3, options)
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn native_vectors_equal_vectors_of_workers() {
    for mode in ["SAME_STEP", "DISABLED"] {
        let mut native = native(mode);
        assert_eq!(native.num_workers(), 1);
        let mut workers = vector("python:lab:Faulty", 3, json!({"num_workers": 1, "length": 7}));
        let (mut a, mut b) = (reset(&mut native, 5), reset(&mut workers, 5));
        assert_equal(&a, &b, mode);
        let healthy = Buffer::from_i64(vec![0; 3], &[]).unwrap();
        for step in 0..30 {
            native.step(&healthy, &mut a).unwrap();
            workers.step(&healthy, &mut b).unwrap();
            assert_equal(&a, &b, &format!("in step {step} of {mode}"));
        }
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn an_exception_fails_all_environments_which_begin_again_one_by_one() {
    let mut env = native("DISABLED");
    let mut out = reset(&mut env, 0);
    let error = env.step(&Buffer::from_i64(vec![0, 1, 0], &[]).unwrap(), &mut out).unwrap_err();
    assert!(error.is_recoverable() && error.to_string().contains("a step too far"), "{error}");
    assert_eq!(error.failed_envs().count(), 3);
    for index in 0..3 {
        env.reset_one(index, None, &mut out).unwrap();
        assert_eq!(out.observations.row(index).as_f32().unwrap()[0], 0.0);
    }
    env.step(&Buffer::from_i64(vec![0; 3], &[]).unwrap(), &mut out).unwrap();
    assert_eq!(out.rewards, [1.0; 3]);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn vectors_that_reset_in_the_next_step_and_other_objects_are_refused() {
    let message = |id: &str, options| {
        GymnasiumVectorEnv::new(id, 2, &config(options)).unwrap_err().to_string()
    };
    let next = json!({"native_vector": true, "mode": "NEXT_STEP"});
    let message_of_next = message("python:lab:vector_of_faulty", next);
    assert!(message_of_next.contains("autoreset_mode"), "{message_of_next}");
    let single = message("python:lab:not_a_vector", json!({"native_vector": true}));
    assert!(single.contains("is no vector"), "{single}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn pong_as_a_native_vector_equals_a_loop_of_python() {
    let options = json!({"native_vector": true, "autoreset_mode": "SameStep"});
    let mut env = vector("gymnasium:ALE/Pong-v5", 2, options);
    assert_eq!(env.observation_space().to_string(), "Box(0, 255, (4, 84, 84), uint8)");
    let mut out = reset(&mut env, 3);
    let mut actions = Actions::new(env.action_space(), 2);
    let mut ours = Vec::new();
    let mut played = Vec::new();
    for _ in 0..50 {
        let actions = actions.next();
        played.push(actions.as_i64().unwrap().to_vec());
        env.step(actions, &mut out).unwrap();
        let sum = |row| -> u64 {
            out.observations.row(row).as_u8().unwrap().iter().map(|&pixel| u64::from(pixel)).sum()
        };
        ours.push([sum(0), sum(1)]);
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "import json, sys, ale_py, gymnasium as gym, numpy as np\n\
        from gymnasium.vector import AutoresetMode\n\
        actions = json.load(open(sys.argv[1]))\n\
        env = gym.make_vec('ALE/Pong-v5', 2, vectorization_mode='vector_entry_point', autoreset_mode=AutoresetMode.SAME_STEP)\n\
        env.reset(seed=3)\n\
        print(json.dumps([[int(o.sum()) for o in env.step(np.array(a))[0]] for a in actions]))\n";
    let path = folder.path().join("actions.json");
    fs::write(&path, serde_json::to_string(&played).unwrap()).unwrap();
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python).args(["-c", script]).arg(&path).output().unwrap();
    let theirs: Vec<[u64; 2]> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(ours, theirs);
}
