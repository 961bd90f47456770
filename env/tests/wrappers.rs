//! Wrappers, also around environments that are saved and restored.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::Driver;
use rekindle_env::classic_control::{CartPole, Pendulum};
use rekindle_env::wrappers::{OrderEnforcing, RecordEpisodeStatistics, TimeLimit};
use rekindle_env::{
    Env, EnvConfig, EnvError, ResetOptions, Result, Row, RowMut, Space, Step, Value, make,
};
use serde_json::json;

fn pendulum() -> Pendulum {
    Pendulum::new(&EnvConfig::new()).unwrap()
}

fn cart_pole() -> CartPole {
    CartPole::new(&EnvConfig::new()).unwrap()
}

/// Pushes to the right until the episode ends, and counts the steps.
fn fall(driver: &mut Driver<impl Env>) -> usize {
    (1..).find(|_| driver.step(&Value::from(1)).unwrap().is_done()).unwrap()
}

#[test]
fn a_time_limit_truncates_at_exactly_its_number_of_steps() {
    let mut driver = Driver::new(TimeLimit::new(pendulum(), 3).unwrap());
    assert_eq!(driver.env.max_episode_steps(), 3);
    for _ in 0..2 {
        driver.reset(&ResetOptions::new()).unwrap();
        let truncated = [1, 2, 3].map(|_| driver.step(&Value::from([0.0])).unwrap().truncated);
        assert_eq!(truncated, [false, false, true]);
    }
}

#[test]
fn a_time_limit_keeps_the_termination_of_the_last_step() {
    let mut driver = Driver::new(cart_pole());
    driver.reset(&ResetOptions::seed(0)).unwrap();
    let length = fall(&mut driver);

    let mut driver = Driver::new(TimeLimit::new(cart_pole(), length).unwrap());
    driver.reset(&ResetOptions::seed(0)).unwrap();
    (1..length).for_each(|_| assert!(!driver.step(&Value::from(1)).unwrap().is_done()));
    let last = driver.step(&Value::from(1)).unwrap();
    assert!(last.terminated && last.truncated);
}

#[test]
fn a_time_limit_of_zero_steps_is_refused() {
    let error = TimeLimit::new(pendulum(), 0).unwrap_err();
    assert!(matches!(error, EnvError::InvalidOption { .. }), "{error}");
}

#[test]
fn stepping_out_of_order_is_a_typed_error() {
    let mut driver = Driver::new(OrderEnforcing::new(cart_pole()));
    let error = driver.step(&Value::from(0)).unwrap_err();
    assert!(matches!(error, EnvError::StepBeforeReset { ref env } if env == "CartPole"), "{error}");

    driver.reset(&ResetOptions::new()).unwrap();
    fall(&mut driver);
    let error = driver.step(&Value::from(0)).unwrap_err();
    let terminated =
        matches!(error, EnvError::StepAfterDone { terminated: true, truncated: false, .. });
    assert!(terminated, "{error}");
    assert!(error.to_string().contains("call `reset`"), "{error}");

    driver.reset(&ResetOptions::new()).unwrap();
    driver.step(&Value::from(0)).unwrap();
}

#[test]
fn made_environments_refuse_steps_after_truncation() {
    let mut driver = Driver::new(make("Pendulum-v1").unwrap());
    driver.reset(&ResetOptions::new()).unwrap();
    while !driver.step(&Value::from([0.0])).unwrap().is_done() {}
    let error = driver.step(&Value::from([0.0])).unwrap_err();
    let truncated =
        matches!(error, EnvError::StepAfterDone { terminated: false, truncated: true, .. });
    assert!(truncated, "{error}");
}

#[test]
fn episode_statistics_cover_the_last_finished_episodes() {
    let mut driver = Driver::new(RecordEpisodeStatistics::with_capacity(cart_pole(), 2));
    let mut lengths = Vec::new();
    for seed in 0..3 {
        driver.reset(&ResetOptions::seed(seed)).unwrap();
        lengths.push(fall(&mut driver));
    }
    let episodes = driver.env.episodes();
    assert_eq!(episodes.iter().map(|e| e.length).collect::<Vec<_>>(), lengths[1..]);
    let info = driver.env.info();
    assert_eq!(info["episode.l"], lengths[2] as f64);
    assert_eq!(info["episode.r"], lengths[2] as f64);
    assert_eq!(info["episode.t"], episodes[1].seconds);
}

#[test]
fn running_episode_statistics_are_saved() {
    let make = || RecordEpisodeStatistics::new(TimeLimit::new(pendulum(), 5).unwrap());
    let mut driver = Driver::new(make());
    driver.reset(&ResetOptions::seed(0)).unwrap();
    let first: f64 = [0, 1].map(|_| driver.step(&Value::from([1.0])).unwrap().reward).iter().sum();
    let pause = std::time::Duration::from_millis(5);
    std::thread::sleep(pause);
    let saved = driver.env.state().unwrap().unwrap();

    let mut restored = Driver::new(make());
    restored.env.set_state(&saved).unwrap();
    let rest: f64 =
        [0, 1, 2].map(|_| restored.step(&Value::from([1.0])).unwrap().reward).iter().sum();
    let episode = restored.env.episodes()[0];
    assert_eq!(episode.length, 5);
    assert!(episode.seconds >= pause.as_secs_f64(), "{}", episode.seconds);
    assert!((episode.episode_return - (first + rest)).abs() < 1e-12);
}

#[test]
fn foreign_states_are_refused() {
    let saved = make("CartPole-v1").unwrap().state().unwrap().unwrap();
    for state in [json!(null), json!({}), json!([1, 2]), saved] {
        let error = make("Pendulum-v1").unwrap().set_state(&state).unwrap_err();
        assert!(matches!(error, EnvError::InvalidState { .. }), "{error}");
    }
}

/// An environment that implements only the required methods.
struct Minimal(Space);

impl Env for Minimal {
    fn observation_space(&self) -> &Space {
        &self.0
    }

    fn action_space(&self) -> &Space {
        &self.0
    }

    fn reset(&mut self, _: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        observation.write_discrete(0)
    }

    fn step(&mut self, _: Row<'_>, _: RowMut<'_>) -> Result<Step> {
        Err(EnvError::custom("out of order"))
    }
}

#[test]
fn an_environment_without_state_has_none_in_every_wrapper() {
    let env = Minimal(Space::discrete(1).unwrap());
    let mut env: Box<dyn Env> = Box::new(OrderEnforcing::new(TimeLimit::new(env, 1).unwrap()));
    assert_eq!(env.state().unwrap(), None);
    let state = json!({ "wrapper": "new", "env": { "wrapper": 0, "env": null } });
    let error = env.set_state(&state).unwrap_err();
    assert!(matches!(error, EnvError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("Minimal"), "{error}");
}

#[test]
fn errors_of_user_environments_pass_through_unchanged() {
    let mut driver = Driver::new(OrderEnforcing::new(Minimal(Space::discrete(1).unwrap())));
    driver.reset(&ResetOptions::new()).unwrap();
    let error = driver.step(&Value::from(0)).unwrap_err();
    assert!(matches!(error, EnvError::Custom(_)));
    assert_eq!(error.to_string(), "out of order");
}
