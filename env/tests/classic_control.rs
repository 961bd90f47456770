//! Classic control, against recordings of Gymnasium.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::{Driver, assert_close, f32s, f64s, golden, value};
use rekindle_env::classic_control::Acrobot;
use rekindle_env::{Env, EnvConfig, EnvError, ResetOptions, Value, make, make_with, spec};
use serde_json::{Value as Json, json};

/// The tolerance of episodes, relative for numbers above one. They are equal with the mathematical
/// library of the recordings. Another library may differ in the last digit of `sin` and `cos`,
/// which the dynamics of a pole amplify.
const TOLERANCE: f32 = 1e-6;

/// Replays every recorded rollout, in which only the first reset is seeded.
fn replay(name: &str, tolerance: f32) {
    for record in golden(name) {
        let config = EnvConfig(record["config"].as_object().unwrap().clone());
        let limit = record["max_episode_steps"].as_u64().unwrap() as usize;
        let spec = spec(record["id"].as_str().unwrap()).unwrap().with_max_episode_steps(limit);
        let mut driver = Driver::new(spec.make(&config).unwrap());
        let seed = record["seed"].as_u64();
        let options = record["options"].as_object().unwrap().clone();
        let mut reset = ResetOptions::new();
        (reset.seed, reset.options) = (seed, options);
        driver.reset(&reset).unwrap();
        let check = |driver: &Driver<_>, expected: &Json, at: &str| {
            let found = driver.observation.as_f32().unwrap();
            assert_close(found, &f32s(expected), tolerance, at);
        };
        check(&driver, &record["reset"], &format!("{name}, seed {seed:?}, reset"));

        for (i, step) in record["steps"].as_array().unwrap().iter().enumerate() {
            let at = format!("{name}, seed {seed:?}, step {i}");
            let action = value(driver.env.action_space(), &step[0]);
            let found = driver.step(&action).unwrap();
            check(&driver, &step[1], &at);
            let reward = step[2].as_f64().unwrap();
            assert!((found.reward - reward).abs() <= 1e-9, "{at}: {} != {reward}", found.reward);
            assert_eq!(
                json!([found.terminated, found.truncated]),
                json!([step[3], step[4]]),
                "{at}"
            );
            assert_eq!(found.is_done(), !step[5].is_null(), "{at}");
            if found.is_done() {
                driver.reset(&ResetOptions::new()).unwrap();
                check(&driver, &step[5], &format!("{at}, reset"));
            }
        }
    }
}

#[test]
fn cart_pole_episodes_equal_gymnasiums() {
    replay("cart_pole", TOLERANCE);
}

#[test]
fn pendulum_episodes_equal_gymnasiums() {
    replay("pendulum", TOLERANCE);
}

#[test]
fn mountain_car_episodes_equal_gymnasiums() {
    replay("mountain_car", 0.0);
}

#[test]
fn mountain_car_continuous_episodes_equal_gymnasiums() {
    replay("mountain_car_continuous", 0.0);
}

#[test]
fn acrobot_episodes_equal_gymnasiums() {
    replay("acrobot", TOLERANCE);
}

#[test]
fn acrobot_steps_equal_gymnasiums_from_any_state() {
    let mut driver = Driver::new(Acrobot::new(&EnvConfig::new()).unwrap());
    let mut state = driver.env.state().unwrap().unwrap();
    for (i, record) in golden("acrobot_steps").iter().enumerate() {
        state["physics"] = record[0].clone();
        driver.env.set_state(&state).unwrap();
        let step = driver.step(&Value::from(record[1].as_i64().unwrap())).unwrap();
        let found = driver.env.state().unwrap().unwrap();
        let at = format!("step {i}");
        assert_close(&f32s(&found["physics"]), &f32s(&record[2]), TOLERANCE, &at);
        let observation = driver.observation.as_f32().unwrap();
        assert_close(observation, &f32s(&record[3]), TOLERANCE, &at);
        assert_eq!(json!([step.reward, step.terminated]), json!([record[4], record[5]]), "{at}");
    }
}

#[test]
fn acrobot_starts_from_a_state_rounded_to_single_precision() {
    let mut driver = Driver::new(Acrobot::new(&EnvConfig::new()).unwrap());
    driver.reset(&ResetOptions::seed(0)).unwrap();
    let state = driver.env.state().unwrap().unwrap();
    for number in f64s(&state["physics"]) {
        assert_eq!(number, f64::from(number as f32));
    }
}

#[test]
fn seeded_resets_with_options_equal_gymnasiums_documentation() {
    let pi = std::f64::consts::PI;
    let seeded = || ResetOptions::seed(123);
    let between = |low: f64, high: f64| seeded().with("low", low).with("high", high);
    let cases: [(&str, ResetOptions, &[f32]); 5] = [
        ("CartPole-v1", between(-0.1, 0.1), &[0.03647037, -0.0892358, -0.05592803, -0.06312564]),
        (
            "Pendulum-v1",
            seeded().with("x_init", pi / 2.0).with("y_init", 0.5),
            &[0.8403459, 0.54205054, -0.44617897],
        ),
        ("MountainCar-v0", between(-0.7, 0.5), &[0.11882224, 0.0]),
        ("MountainCarContinuous-v0", between(-0.7, -0.5), &[-0.5635296, 0.0]),
        (
            "Acrobot-v1",
            between(-0.2, 0.2),
            &[0.997341, 0.07287608, 0.9841162, -0.17752565, -0.11185605, -0.12625128],
        ),
    ];
    for (id, options, expected) in cases {
        let mut driver = Driver::new(make(id).unwrap());
        driver.reset(&options).unwrap();
        assert_close(driver.observation.as_f32().unwrap(), expected, 1e-7, id);
    }
}

#[test]
fn unusable_options_are_refused() {
    let pendulum = make_with("Pendulum-v1", &EnvConfig::new().with("g", "low"));
    assert!(matches!(pendulum.unwrap_err(), EnvError::InvalidOption { .. }));

    let mut cart_pole = Driver::new(make("CartPole-v1").unwrap());
    let crossed = ResetOptions::new().with("low", 0.1).with("high", -0.1);
    assert!(matches!(cart_pole.reset(&crossed).unwrap_err(), EnvError::InvalidOption { .. }));
}

#[test]
fn acrobot_survives_an_absurd_initial_state() {
    let mut driver = Driver::new(make("Acrobot-v1").unwrap());
    driver.reset(&ResetOptions::seed(0).with("low", 1e17).with("high", 1e18)).unwrap();
    driver.step(&Value::from(0)).unwrap();
}
