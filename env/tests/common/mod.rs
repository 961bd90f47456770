//! Helpers shared by the tests.
#![allow(dead_code)] // Each test file uses only a part of this.

use rekindle_env::{Buffer, Env, ResetOptions, Space, Step, Value};
use serde_json::Value as Json;

/// Reads the records of `tests/golden/{name}.json`, which `scripts/record_gymnasium.py` wrote.
pub(crate) fn golden(name: &str) -> Vec<Json> {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn f64s(json: &Json) -> Vec<f64> {
    json.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

pub(crate) fn f32s(json: &Json) -> Vec<f32> {
    f64s(json).into_iter().map(|x| x as f32).collect()
}

/// An element of `space` from recorded NumPy data.
pub(crate) fn value(space: &Space, json: &Json) -> Value {
    let ints = |json: &Json| -> Vec<i64> { serde_json::from_value(json.clone()).unwrap() };
    match space {
        Space::Box(space) if space.dtype() == rekindle_env::BoxDType::Uint8 => {
            Value::Byte(numbers(json).into_iter().map(|x| x as u8).collect())
        }
        Space::Box(_) => Value::Float(numbers(json).into_iter().map(|x| x as f32).collect()),
        Space::Discrete(_) => Value::Discrete(json.as_i64().unwrap()),
        Space::MultiDiscrete(_) => Value::Int(ints(json)),
        Space::MultiBinary(_) => Value::Byte(serde_json::from_value(json.clone()).unwrap()),
        Space::Dict(space) => {
            Value::dict(space.iter().map(|(key, part)| (key, value(part, &json[key]))))
        }
        Space::Tuple(space) => {
            Value::tuple(space.spaces().iter().enumerate().map(|(i, part)| value(part, &json[i])))
        }
    }
}

/// Nested lists of numbers, flattened.
fn numbers(json: &Json) -> Vec<f64> {
    match json {
        Json::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// Asserts that numbers agree within `tolerance`, relative for numbers above one.
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, at: &str) {
    assert_eq!(found.len(), expected.len(), "{at}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{at}: {found:?} != {expected:?}");
    }
}

/// An environment with a buffer for its current observation and its next action.
pub(crate) struct Driver<E> {
    pub(crate) env: E,
    pub(crate) observation: Buffer,
    action: Buffer,
}

impl<E: Env> Driver<E> {
    pub(crate) fn new(env: E) -> Self {
        let observation = Buffer::zeros(env.observation_space(), 1);
        let action = Buffer::zeros(env.action_space(), 1);
        Self { env, observation, action }
    }

    pub(crate) fn reset(&mut self, options: &ResetOptions) -> rekindle_env::Result<()> {
        self.env.reset(options, self.observation.row_mut(0))
    }

    pub(crate) fn step(&mut self, action: &Value) -> rekindle_env::Result<Step> {
        self.action.row_mut(0).write(action)?;
        self.env.step(self.action.row(0), self.observation.row_mut(0))
    }
}
