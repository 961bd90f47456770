//! Spaces of every kind, and observations outside their space.

use rekindle_env::{Buffer, EnvError, VectorEnv};
use serde_json::json;

use crate::support::{Actions, reset, vector};

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn every_space_carries_actions_to_python_and_observations_back() {
    let mut env = vector("python:lab:Everything", 4, json!({"num_workers": 2}));
    assert_eq!(env.observation_space(), env.action_space());
    let text = env.action_space().to_string();
    for part in [
        "'int64': Box(-inf, inf, (2, 2), int64)",
        "'float16': Box(0.0, 1.0, (2,), float32)",
        "'bool': Box(0, 1, (2,), uint8)",
        "'z': Tuple(Discrete(5, start=-2), MultiDiscrete([3 4]), MultiDiscrete([2 3 4 5]), \
         MultiBinary(4), Dict('scalar': Box(-1.0, 1.0, (), float32)))",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let mut out = reset(&mut env, 1);
    let mut actions = Actions::new(env.action_space(), 4);
    for step in 1..30 {
        actions.next();
        narrow(&mut actions.actions);
        env.step(&actions.actions, &mut out).unwrap();
        let seen = if step % 7 == 0 { &out.final_observations } else { &out.observations };
        assert_eq!(seen, &actions.actions, "step {step}");
        assert_eq!(out.truncated, [step % 7 == 0; 4]);
    }
    assert_eq!(env.invalid_observations(), 0);
    assert_eq!(env.cast_observations(), 0);
}

/// Keeps numbers exact in the types of Python.
fn narrow(actions: &mut Buffer) {
    let floats = actions.part_mut("float16").unwrap().as_f32_mut().unwrap();
    floats.iter_mut().for_each(|x| *x = (*x * 256.0).round() / 256.0);
    let unsigned = ["uint16", "uint32"];
    for name in unsigned {
        let numbers = actions.part_mut(name).unwrap().as_i64_mut().unwrap();
        numbers.iter_mut().for_each(|x| *x = x.abs() % 60_000);
    }
}

fn step(kind: &str, mode: &str) -> (Result<(), EnvError>, u64, u64) {
    let options = json!({"kind": kind, "check_observations": mode});
    let mut env = vector("python:lab:Wrong", 1, options);
    let mut out = reset(&mut env, 0);
    let result = env.step(&Buffer::from_i64(vec![0], &[]).unwrap(), &mut out);
    (result, env.invalid_observations(), env.cast_observations())
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn observations_outside_their_space_are_counted_or_errors() {
    for kind in ["nan", "outside"] {
        let (result, invalid, _) = step(kind, "warn");
        assert!(result.is_ok());
        assert_eq!(invalid, 1);
        let error = step(kind, "error").0.unwrap_err();
        assert!(!error.is_recoverable());
        assert!(error.to_string().contains("not in its observation space"), "{error}");
        let (result, invalid, _) = step(kind, "off");
        assert!(result.is_ok() && invalid == 0);
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn another_element_type_is_counted_and_another_shape_is_an_error() {
    let (result, invalid, casts) = step("dtype", "warn");
    assert!(result.is_ok());
    assert_eq!((invalid, casts), (0, 1));
    assert!(step("dtype", "error").0.unwrap_err().to_string().contains("float64"));
    assert!(step("list", "warn").0.is_ok());
    let message = step("shape", "off").0.unwrap_err().to_string();
    assert!(message.contains("has the shape (1,), but its space has (2,)"), "{message}");
}
