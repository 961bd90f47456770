//! Environments by id.
#![allow(clippy::panic, clippy::unwrap_used)] // Tests panic on unexpected errors.

mod common;

use common::Driver;
use rekindle_env::classic_control::{CartPole, Pendulum};
use rekindle_env::{
    Buffer, EnvConfig, EnvError, EnvSpec, ResetOptions, Space, SyncVectorEnv, Value, VectorEnv,
    VectorStep, make, make_vec, make_vec_with, make_with, register, registered_ids, spec,
};

#[test]
fn built_in_limits_and_thresholds_are_gymnasiums() {
    let expected = [
        ("Acrobot-v1", 500, Some(-100.0)),
        ("CartPole-v1", 500, Some(475.0)),
        ("MountainCar-v0", 200, Some(-110.0)),
        ("MountainCarContinuous-v0", 999, Some(90.0)),
        ("Pendulum-v1", 200, None),
    ];
    for (id, steps, threshold) in expected {
        let spec = spec(id).unwrap();
        assert_eq!(spec.id(), id);
        assert_eq!(spec.max_episode_steps(), Some(steps));
        assert_eq!(spec.reward_threshold(), threshold);
        assert!(registered_ids().contains(&id.to_owned()));
    }
}

#[test]
fn an_unknown_id_suggests_near_ones() {
    let error = make("CartPol-v0").unwrap_err();
    assert!(matches!(error, EnvError::UnknownEnv { .. }));
    let message = error.to_string();
    assert!(message.contains("`CartPol-v0`; did you mean `CartPole-v1`?"), "{message}");
    assert!(message.contains("known: `Acrobot-v1`"), "{message}");
    assert!(matches!(make_vec("?", 1).unwrap_err(), EnvError::UnknownEnv { .. }));
}

#[test]
fn registered_environments_are_made_by_id() {
    register(EnvSpec::new("Tests/Short.Pole-v3", CartPole::new).with_max_episode_steps(1)).unwrap();
    let mut driver = Driver::new(make("Tests/Short.Pole-v3").unwrap());
    driver.reset(&ResetOptions::new()).unwrap();
    assert!(driver.step(&Value::from(0)).unwrap().truncated);

    let again = register(EnvSpec::new("Tests/Short.Pole-v3", Pendulum::new)).unwrap_err();
    assert!(matches!(again, EnvError::DuplicateId { .. }), "{again}");
}

#[test]
fn made_environments_print_their_spaces() {
    let single = format!("{:?}", make("CartPole-v1").unwrap());
    assert!(single.starts_with("CartPole-v1 { observation_space: Box("), "{single}");
    let vector = format!("{:?}", make_vec("CartPole-v1", 2).unwrap());
    assert!(vector.starts_with("VectorEnv { num_envs: 2, observation_space: Box("), "{vector}");
}

#[test]
fn malformed_ids_are_refused() {
    for id in ["", "CartPole", "CartPole-v", "CartPole-vx", "-v1", "a/b/c-v1", "/c-v1", "a b-v1"] {
        let error = register(EnvSpec::new(id, CartPole::new)).unwrap_err();
        assert!(matches!(error, EnvError::InvalidId { .. }), "{id}: {error}");
    }
}

#[test]
fn a_specification_can_be_given_another_limit_or_none() {
    let cart_pole = spec("CartPole-v1").unwrap();
    let mut short =
        Driver::new(cart_pole.clone().with_max_episode_steps(1).make(&EnvConfig::new()).unwrap());
    short.reset(&ResetOptions::new()).unwrap();
    assert!(short.step(&Value::from(0)).unwrap().truncated);

    let pendulum = spec("Pendulum-v1").unwrap().with_max_episode_steps(None);
    let mut endless = Driver::new(pendulum.make(&EnvConfig::new()).unwrap());
    endless.reset(&ResetOptions::new()).unwrap();
    assert!((0..1000).all(|_| !endless.step(&Value::from([0.0])).unwrap().is_done()));
    assert!(cart_pole.with_max_episode_steps(0).make(&EnvConfig::new()).is_err());
}

#[test]
fn configuration_reaches_single_and_vectorized_environments() {
    let config = EnvConfig::new().with("sutton_barto_reward", true);
    let mut driver = Driver::new(make_with("CartPole-v1", &config).unwrap());
    driver.reset(&ResetOptions::new()).unwrap();
    assert_eq!(driver.step(&Value::from(0)).unwrap().reward, 0.0);

    let mut envs = make_vec_with("CartPole-v1", 2, &config).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    envs.reset(&[None, None], &mut out).unwrap();
    let actions = rekindle_env::Buffer::from_i64(vec![0, 1], &[]).unwrap();
    envs.step(&actions, &mut out).unwrap();
    assert_eq!(out.rewards, [0.0, 0.0]);

    let mistyped = EnvConfig::new().with("sutton_barto", true);
    let error = make_vec_with("CartPole-v1", 2, &mistyped).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`CartPole-v1` has no option `sutton_barto`; did you mean `sutton_barto_reward`? known: `sutton_barto_reward`"
    );
    assert!(matches!(make_vec("CartPole-v1", 0).unwrap_err(), EnvError::ShapeMismatch { .. }));
}

#[test]
fn configuration_values_are_typed() {
    let config = EnvConfig::new().with("n", 3).with("x", 0.5).with("name", "a").with("on", true);
    assert_eq!(config.get_i64("n").unwrap(), Some(3));
    assert_eq!(config.get_f64("n").unwrap(), Some(3.0));
    assert_eq!(config.get_f64("x").unwrap(), Some(0.5));
    assert_eq!(config.get_str("name").unwrap(), Some("a"));
    assert_eq!(config.get_bool("on").unwrap(), Some(true));
    assert_eq!(config.get_bool("off").unwrap(), None);
    let errors = [
        config.get_i64("x").unwrap_err(),
        config.get_f64("name").unwrap_err(),
        config.get_bool("n").unwrap_err(),
        config.get_str("on").unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnvError::InvalidOption { .. }), "{error}");
    }
}

#[test]
fn a_panic_while_an_environment_is_made_leaves_the_registry_usable() {
    let spec = EnvSpec::new("Tests/Broken-v0", |_: &EnvConfig| -> rekindle_env::Result<CartPole> {
        panic!("broken on purpose")
    });
    register(spec).unwrap();
    let made = std::panic::catch_unwind(|| make("Tests/Broken-v0").is_ok());
    assert!(made.is_err());
    assert!(make("CartPole-v1").is_ok());
}

/// A vector with its own entry point, which records its settings.
struct Together(SyncVectorEnv<Pendulum>);

impl VectorEnv for Together {
    fn num_envs(&self) -> usize {
        self.0.num_envs()
    }

    fn observation_space(&self) -> &Space {
        self.0.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.0.action_space()
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &serde_json::Map<String, serde_json::Value>,
        out: &mut VectorStep,
    ) -> rekindle_env::Result<()> {
        self.0.reset_with(seeds, options, out)
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> rekindle_env::Result<()> {
        self.0.step(actions, out)?;
        out.rewards.fill(7.0);
        Ok(())
    }
}

#[test]
fn settings_reach_single_environments_and_vectors_of_either_kind() {
    let plain = EnvSpec::new("Tests/Plain-v0", Pendulum::new).with_max_episode_steps(5);
    let own = EnvSpec::new("Tests/Own-v0", Pendulum::new)
        .with_max_episode_steps(5)
        .with_vector_entry_point(|n, config, limit| {
            assert_eq!(limit, Some(5));
            let envs = (0..n).map(|_| Pendulum::new(config)).collect::<Result<_, _>>()?;
            Ok(Together(SyncVectorEnv::new(envs)?))
        });
    for (spec, reward) in [(plain, None), (own, Some(7.0))] {
        let mut envs = spec.make_vec(2, &EnvConfig::new().with("g", 0.0)).unwrap();
        let mut step = VectorStep::new(envs.observation_space(), 2);
        envs.reset(&[Some(1), Some(2)], &mut step).unwrap();
        envs.step(&Buffer::zeros(envs.action_space(), 2), &mut step).unwrap();
        assert_eq!(reward.is_some_and(|r| step.rewards == [r; 2]), reward.is_some());
        let wrong = EnvConfig::new().with("gravity", 0.0);
        assert!(spec.make_vec(2, &wrong).is_err() && spec.make(&wrong).is_err());
    }
}
