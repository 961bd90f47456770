//! Environments that crash and stall, single and in vectors.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use std::time::Instant;

use common::Driver;
use rekindle_env::classic_control::CartPole;
use rekindle_env::wrappers::{Faults, Faulty, OrderEnforcing};
use rekindle_env::{
    Buffer, Env, EnvConfig, EnvError, ResetOptions, Result, Row, RowMut, Space, Step,
    SyncVectorEnv, Value, VectorEnv, VectorStep, make_vec_with, make_with, seeds_from,
};

fn cart_pole() -> CartPole {
    CartPole::new(&EnvConfig::new()).unwrap()
}

fn faulty(faults: Faults) -> Driver<OrderEnforcing<Faulty<CartPole>>> {
    Driver::new(OrderEnforcing::new(Faulty::new(cart_pole(), faults).unwrap()))
}

#[test]
fn a_crash_is_typed_and_every_step_fails_until_a_reset() {
    let mut driver = faulty(Faults { crash_after_n_steps: Some((3, 3)), ..Faults::none() });
    for _ in 0..2 {
        driver.reset(&ResetOptions::new()).unwrap();
        (0..3).for_each(|_| assert!(driver.step(&Value::from(0)).is_ok()));
        let error = driver.step(&Value::from(0)).unwrap_err();
        assert!(matches!(error, EnvError::Crashed { ref env, .. } if env == "CartPole"), "{error}");
        assert!(error.is_recoverable());
        let error = driver.step(&Value::from(0)).unwrap_err();
        assert!(matches!(error, EnvError::StepAfterFailure { .. }), "{error}");
    }
}

#[test]
fn a_refused_action_is_not_a_failure() {
    let mut driver = faulty(Faults::none());
    driver.reset(&ResetOptions::new()).unwrap();
    let error = driver.step(&Value::from(2)).unwrap_err();
    assert!(!error.is_recoverable(), "{error}");
    driver.step(&Value::from(1)).unwrap();
}

#[test]
fn a_failed_reset_can_be_repeated_with_the_same_seed() {
    let mut driver = faulty(Faults { p_crash_reset: 0.5, ..Faults::none() });
    let options = ResetOptions::seed(1);
    let (mut failures, mut successes) = (0, 0);
    for _ in 0..200 {
        match driver.reset(&options) {
            Ok(()) => successes += 1,
            Err(error) => {
                assert!(matches!(error, EnvError::Crashed { .. }), "{error}");
                let error = driver.step(&Value::from(0)).unwrap_err();
                assert!(matches!(error, EnvError::StepAfterFailure { .. }), "{error}");
                failures += 1;
            }
        }
    }
    assert!(failures > 60 && successes > 60, "{failures} failures");
}

#[test]
fn faults_do_not_disturb_the_random_stream_of_the_environment() {
    let mut calm = Driver::new(cart_pole());
    let mut shaky = faulty(Faults { p_crash: 0.05, ..Faults::none() });
    calm.reset(&ResetOptions::seed(9)).unwrap();
    shaky.reset(&ResetOptions::seed(9)).unwrap();
    let mut crashes = 0;
    for _ in 0..2000 {
        if shaky.step(&Value::from(0)).is_err() {
            crashes += 1;
            let _ = shaky.reset(&ResetOptions::new());
            calm.reset(&ResetOptions::new()).unwrap();
        } else if calm.step(&Value::from(0)).unwrap().is_done() {
            calm.reset(&ResetOptions::new()).unwrap();
            shaky.reset(&ResetOptions::new()).unwrap();
        }
        assert_eq!(calm.observation, shaky.observation);
    }
    assert!((60..140).contains(&crashes), "{crashes}"); // 100 expected, standard deviation 10
}

#[test]
fn equal_seeds_give_equal_faults_also_after_a_restored_state() {
    let make = || faulty(Faults { p_crash: 0.1, p_crash_reset: 0.2, ..Faults::none() });
    let run = |driver: &mut Driver<_>, n: usize| -> Vec<bool> {
        (0..n)
            .map(|_| {
                let outcome = driver.step(&Value::from(0));
                let goes_on = outcome.as_ref().is_ok_and(|step| !step.is_done());
                if !goes_on {
                    let _ = driver.reset(&ResetOptions::new());
                }
                outcome.is_ok()
            })
            .collect()
    };
    let (mut a, mut b) = (make(), make());
    // Neither of these seeds crashes in its first step.
    let seed = (0..).find(|&seed| make().reset(&ResetOptions::seed(seed)).is_ok()).unwrap();
    a.reset(&ResetOptions::seed(seed)).unwrap();
    b.reset(&ResetOptions::seed(seed)).unwrap();
    assert_eq!(run(&mut a, 500), run(&mut b, 500));
    let saved = a.env.state().unwrap().unwrap().to_string();
    let mut c = make();
    c.env.set_state(&serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(run(&mut a, 500), run(&mut c, 500));
}

#[test]
fn stalls_last_as_long_as_configured() {
    let stall = Faults {
        stall_after_n_steps: Some((1, 1)),
        stall_time_sec: (0.05, 0.06),
        ..Faults::none()
    };
    let mut driver = faulty(stall);
    driver.reset(&ResetOptions::new()).unwrap();
    let mut seconds = || {
        let started = Instant::now();
        driver.step(&Value::from(0)).unwrap();
        started.elapsed().as_secs_f64()
    };
    let (first, second) = (seconds(), seconds());
    assert!(first < 0.05 && second >= 0.05, "{first} {second}");
}

#[test]
fn options_are_read_under_rllibs_names_and_checked() {
    let config = EnvConfig::new()
        .with("p_crash", 0.0)
        .with("p_crash_reset", 0.0)
        .with("crash_after_n_steps", vec![2, 4])
        .with("sutton_barto_reward", true);
    let mut driver = Driver::new(make_with("CrashingCartPole-v1", &config).unwrap());
    let mut lengths = [0; 8];
    for _ in 0..100 {
        driver.reset(&ResetOptions::new()).unwrap();
        lengths[(0..).find(|_| driver.step(&Value::from(0)).is_err()).unwrap()] += 1;
    }
    assert!(lengths[2..=4].iter().all(|&count| count > 15), "{lengths:?}");
    assert_eq!(lengths[2..=4].iter().sum::<i32>(), 100, "{lengths:?}");

    let bad = [
        ("p_crash", serde_json::json!(1.5)),
        ("p_stall", serde_json::json!("often")),
        ("crash_after_n_steps", serde_json::json!([4, 2])),
        ("crash_after_n_steps", serde_json::json!([1, 2, 3])),
        ("stall_after_n_steps", serde_json::json!(-1)),
        ("stall_time_sec", serde_json::json!(1e300)),
    ];
    for (option, value) in bad {
        let config = EnvConfig::new().with(option, value);
        let error = make_with("CrashingCartPole-v1", &config).unwrap_err();
        let names =
            matches!(&error, EnvError::InvalidOption { option: named, .. } if named == option);
        assert!(names, "{error}");
    }
    let defaults = Faults::default();
    assert_eq!((defaults.p_crash, defaults.p_crash_reset), (1e-4, 1e-3));
}

/// Counts steps and ends after three. It crashes in the given calls of `reset` and `step`.
struct Planned {
    space: Space,
    count: i64,
    calls: usize,
    crash_in: Vec<usize>,
}

impl Planned {
    fn new(crash_in: &[usize]) -> OrderEnforcing<Self> {
        let (space, crash_in) = (Space::discrete(100).unwrap(), crash_in.to_vec());
        OrderEnforcing::new(Self { space, count: 0, calls: 0, crash_in })
    }

    fn call(&mut self) -> Result<()> {
        self.calls += 1;
        let crashes = self.crash_in.contains(&(self.calls - 1));
        if crashes { Err(EnvError::custom("out of fuel")) } else { Ok(()) }
    }
}

impl Env for Planned {
    fn observation_space(&self) -> &Space {
        &self.space
    }

    fn action_space(&self) -> &Space {
        &self.space
    }

    fn reset(&mut self, options: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
        self.call()?;
        self.count = options.seed.unwrap_or(0) as i64;
        observation.write_discrete(self.count)
    }

    fn step(&mut self, _: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
        self.call()?;
        self.count += 1;
        observation.write_discrete(self.count)?;
        Ok(Step { reward: 1.0, terminated: self.count % 10 == 3, truncated: false })
    }
}

fn planned(
    crash_in: [&[usize]; 3],
) -> (SyncVectorEnv<OrderEnforcing<Planned>>, VectorStep, Buffer) {
    let envs = SyncVectorEnv::new(crash_in.map(Planned::new).into()).unwrap();
    let out = VectorStep::new(envs.observation_space(), 3);
    (envs, out, Buffer::from_i64(vec![0; 3], &[]).unwrap())
}

fn failed(error: &EnvError) -> Vec<usize> {
    error.failed_envs().map(|(index, _)| index).collect()
}

#[test]
fn only_the_failed_environment_of_a_vector_is_restarted() {
    // Call 0 is the reset, call 2 the second step.
    let (mut envs, mut out, actions) = planned([&[], &[2], &[]]);
    envs.reset(&[None; 3], &mut out).unwrap();
    envs.step(&actions, &mut out).unwrap();
    let error = envs.step(&actions, &mut out).unwrap_err();
    assert_eq!((failed(&error), error.is_recoverable()), (vec![1], true), "{error}");
    assert_eq!(error.to_string(), "environment 1: out of fuel");
    assert_eq!((out.rewards.as_slice(), out.is_done(1)), (&[1.0, 0.0, 1.0][..], false));
    let seen = |out: &VectorStep| out.observations.as_i64().unwrap().to_vec();
    assert_eq!((seen(&out)[0], seen(&out)[2]), (2, 2));

    envs.reset_one(1, Some(20), &mut out).unwrap();
    assert_eq!(seen(&out), [2, 20, 2]);
    envs.step(&actions, &mut out).unwrap();
    assert_eq!(out.terminated, [true, false, true]);
    assert_eq!(seen(&out), [0, 21, 0]);
    assert!(matches!(envs.reset_one(3, None, &mut out), Err(EnvError::RowOutOfRange { .. })));
}

#[test]
fn a_failed_automatic_reset_leaves_the_ended_episode_valid() {
    let (mut envs, mut out, actions) = planned([&[4], &[], &[4, 5]]);
    envs.reset(&[None; 3], &mut out).unwrap();
    (0..2).for_each(|_| envs.step(&actions, &mut out).unwrap());
    let error = envs.step(&actions, &mut out).unwrap_err();
    assert_eq!(failed(&error), [0, 2], "{error}");
    assert_eq!((&out.terminated, &out.rewards), (&vec![true; 3], &vec![1.0; 3]));
    assert_eq!(out.final_observations.as_i64().unwrap(), [3; 3]);

    let skipped = envs.step(&actions, &mut out).unwrap_err(); // without restarting them
    assert_eq!(failed(&skipped), [0, 2]);
    assert!(skipped.is_recoverable(), "{skipped}");
    assert_eq!(out.rewards, [0.0, 1.0, 0.0]);

    envs.reset_one(0, None, &mut out).unwrap();
    assert_eq!(failed(&envs.reset_one(2, None, &mut out).unwrap_err()), [2]);
    envs.reset_one(2, None, &mut out).unwrap();
    assert_eq!(out.observations.as_i64().unwrap(), [0, 1, 0]);
    envs.step(&actions, &mut out).unwrap();
}

#[test]
fn a_failure_in_the_first_reset_leaves_the_others_valid() {
    let (mut envs, mut out, actions) = planned([&[], &[0], &[]]);
    let error = envs.reset(&[Some(10), Some(20), Some(30)], &mut out).unwrap_err();
    assert_eq!(failed(&error), [1], "{error}");
    envs.reset_one(1, Some(20), &mut out).unwrap();
    assert_eq!(out.observations.as_i64().unwrap(), [10, 20, 30]);
    envs.step(&actions, &mut out).unwrap();
}

#[test]
fn a_vector_of_crashing_cart_poles_continues_while_failures_are_restarted() {
    let config = EnvConfig::new().with("p_crash", 0.02).with("p_crash_reset", 0.1);
    let mut envs = make_vec_with("CrashingCartPole-v1", 4, &config).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 4);
    let restart = |envs: &mut dyn VectorEnv, out: &mut VectorStep, outcome: Result<()>| {
        let Err(error) = outcome else { return 0 };
        assert!(error.is_recoverable(), "{error}");
        let indices = failed(&error);
        for &index in &indices {
            while envs.reset_one(index, None, out).is_err() {}
        }
        indices.len()
    };
    let started = envs.reset(&seeds_from(Some(0), 4), &mut out);
    restart(&mut envs, &mut out, started);
    let mut crashes = 0;
    for i in 0..1000 {
        let actions = Buffer::from_i64(vec![i % 2; 4], &[]).unwrap();
        let outcome = envs.step(&actions, &mut out);
        crashes += restart(&mut envs, &mut out, outcome);
    }
    assert!(crashes > 40, "{crashes}");
}
