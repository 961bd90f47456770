//! Environments that test one ability of an agent.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::Driver;
use rekindle_env::diagnostic::{RandomEnv, RepeatAfterMe};
use rekindle_env::{Env, EnvConfig, EnvError, ResetOptions, Space, Value, make};

/// Runs an environment and `CartPole-v1` with the same seed and actions.
fn beside_cart_pole(id: &str, check: impl Fn(&[f32], &Driver<Box<dyn Env>>)) {
    let (mut plain, mut other) =
        (Driver::new(make("CartPole-v1").unwrap()), Driver::new(make(id).unwrap()));
    plain.reset(&ResetOptions::seed(5)).unwrap();
    other.reset(&ResetOptions::seed(5)).unwrap();
    for t in 0..200 {
        check(plain.observation.as_f32().unwrap(), &other);
        let action = Value::from(i64::from(t % 3 > 0));
        let step = plain.step(&action).unwrap();
        assert_eq!(other.step(&action).unwrap(), step);
        if step.is_done() {
            plain.reset(&ResetOptions::new()).unwrap();
            other.reset(&ResetOptions::new()).unwrap();
        }
    }
}

#[test]
fn a_stateless_cart_pole_is_a_cart_pole_without_velocities() {
    beside_cart_pole("StatelessCartPole-v1", |full, stateless| {
        assert_eq!(stateless.observation.as_f32().unwrap(), [full[0], full[2]]);
    });
    let space = make("StatelessCartPole-v1").unwrap().observation_space().to_string();
    assert_eq!(space, "Box([-4.8 -0.41887903], [4.8 0.41887903], (2,), float32)");
}

#[test]
fn a_nested_cart_pole_observes_everything_that_a_cart_pole_observes() {
    beside_cart_pole("NestedCartPole-v1", |full, nested| {
        let row = nested.observation.row(0);
        let &[x, x_dot, theta, theta_dot] = full else { unreachable!() };
        let cart = row.get("cart").unwrap();
        assert_eq!(cart.get("position").unwrap().as_f32().unwrap(), [x]);
        assert_eq!(cart.get("velocity").unwrap().as_f32().unwrap(), [x_dot]);
        let pole = row.get("pole").unwrap();
        assert_eq!(pole.index(0).unwrap().as_f32().unwrap(), [theta]);
        assert_eq!(pole.index(1).unwrap().as_discrete().unwrap(), i64::from(theta > 0.0));
        assert_eq!(row.get("angular_velocity").unwrap().as_f32().unwrap(), [theta_dot]);
        let moves = [x_dot, theta_dot].map(|speed| i64::from(speed > 0.0));
        assert_eq!(row.get("moves").unwrap().as_i64().unwrap(), moves);
    });
}

/// The return of an agent that remembers every observation.
fn return_with_memory(delay: usize) -> f64 {
    let config = EnvConfig::new().with("repeat_delay", delay).with("episode_len", 50);
    let mut driver = Driver::new(RepeatAfterMe::new(&config).unwrap());
    driver.reset(&ResetOptions::seed(1)).unwrap();
    let mut seen = vec![0; delay];
    let mut episode_return = 0.0;
    for t in 1.. {
        seen.push(driver.observation.as_i64().unwrap()[0]);
        let step = driver.step(&Value::from(seen[seen.len() - 1 - delay])).unwrap();
        episode_return += step.reward;
        assert_eq!((step.terminated, step.truncated), (false, t == 50));
        if step.is_done() {
            break;
        }
    }
    episode_return
}

#[test]
fn repeating_after_a_delay_is_right_every_time() {
    for delay in [0, 1, 2, 7] {
        assert_eq!(return_with_memory(delay), 50.0, "{delay}");
    }
}

#[test]
fn without_memory_the_mean_return_is_about_zero() {
    let mut driver = Driver::new(RepeatAfterMe::new(&EnvConfig::new()).unwrap());
    let mut total = 0.0;
    for seed in 0..50 {
        driver.reset(&ResetOptions::seed(seed)).unwrap();
        loop {
            let now = driver.observation.as_i64().unwrap()[0];
            let step = driver.step(&Value::from(now)).unwrap();
            total += step.reward;
            if step.is_done() {
                break;
            }
        }
    }
    assert!((total / 50.0).abs() < 5.0, "{total}"); // the standard deviation of the mean is 1.4
}

#[test]
fn delays_and_lengths_outside_their_range_are_refused() {
    for (option, value) in [("repeat_delay", -1_i64), ("episode_len", 0), ("repeat_delay", 1 << 40)]
    {
        let error = RepeatAfterMe::new(&EnvConfig::new().with(option, value)).unwrap_err();
        assert!(matches!(error, EnvError::InvalidOption { .. }), "{error}");
    }
    let mut short = RepeatAfterMe::new(&EnvConfig::new()).unwrap();
    let long = RepeatAfterMe::new(&EnvConfig::new().with("repeat_delay", 3)).unwrap();
    let error = short.set_state(&long.state().unwrap().unwrap()).unwrap_err();
    assert!(error.to_string().contains("remembers 4 observations instead of 2"), "{error}");
}

#[test]
fn a_random_environment_draws_from_its_spaces_and_refuses_other_actions() {
    let observations =
        Space::dict([("a", Space::image(&[2, 2, 1]).unwrap()), ("b", Space::discrete(3).unwrap())])
            .unwrap();
    let env = RandomEnv::new(observations, Space::boxed(-1.0, 1.0, &[2]).unwrap());
    let env = env.with_rewards(2.0, 3.0).unwrap().with_p_terminated(0.25).unwrap();
    let mut driver = Driver::new(env);
    driver.reset(&ResetOptions::seed(0)).unwrap();
    let mut ends = 0;
    for _ in 0..4000 {
        assert!(driver.env.observation_space().contains_row(driver.observation.row(0)));
        let step = driver.step(&Value::from([0.5, -0.5])).unwrap();
        assert!((2.0..3.0).contains(&step.reward) && !step.truncated);
        ends += i32::from(step.terminated);
    }
    assert!((900..1100).contains(&ends), "{ends}"); // 1000 expected, standard deviation 27
    let error = driver.step(&Value::from([1.5, 0.0])).unwrap_err();
    assert!(matches!(error, EnvError::InvalidAction { .. }), "{error}");

    let env = || RandomEnv::new(Space::discrete(1).unwrap(), Space::discrete(1).unwrap());
    assert!(env().with_p_terminated(1.5).is_err());
    assert!(env().with_rewards(1.0, f64::INFINITY).is_err());
}

#[test]
fn a_random_environment_continues_exactly_from_its_state() {
    let make = || {
        let (seen, done) = (Space::unbounded(&[3]).unwrap(), Space::discrete(2).unwrap());
        Driver::new(RandomEnv::new(seen, done))
    };
    let mut driver = make();
    driver.reset(&ResetOptions::seed(0)).unwrap();
    driver.step(&Value::from(0)).unwrap();
    let saved = driver.env.state().unwrap().unwrap().to_string();
    let mut restored = make();
    restored.env.set_state(&serde_json::from_str(&saved).unwrap()).unwrap();
    for _ in 0..20 {
        let step = driver.step(&Value::from(1)).unwrap();
        assert_eq!(restored.step(&Value::from(1)).unwrap(), step);
        assert_eq!(restored.observation, driver.observation);
    }
}
