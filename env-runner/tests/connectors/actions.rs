//! Actions in the module's units and in the environment's.

use std::sync::Mutex;

use rekindle_env::{AgentSpec, Row, Space};
use rekindle_env_runner::{Amount, EnvRunner, EnvRunnerConfig, MultiAgentConfig, PublishedAt};

use super::probe::{
    build, bytes, done, env, game, network, numbers, open, open_game, random, sample,
};

/// What the environments of one test received.
type Received = Mutex<Vec<f32>>;

fn record(received: &Received, action: Option<Row<'_>>) {
    if let Some(action) = action {
        let number =
            action.as_f32().map(|a| a[0]).or_else(|_| action.as_u8().map(|a| f32::from(a[0])));
        received.lock().unwrap().push(number.unwrap());
    }
}

fn mean(numbers: &[f32]) -> f32 {
    numbers.iter().sum::<f32>() / numbers.len() as f32
}

#[test]
fn random_actions_are_uniform_in_the_box_and_recorded_in_module_units() {
    static RECEIVED: Received = Mutex::new(Vec::new());
    let space = Space::boxed(0.0, 100.0, &[1]).unwrap();
    env("Connectors/Torque-v0", &numbers(1), &space, |_, _, action, mut out| {
        record(&RECEIVED, action);
        out.write_f32(&[0.0])?;
        Ok(done(1.0, false))
    });
    let rollout = open(EnvRunnerConfig::new("Connectors/Torque-v0"))
        .sample(Amount::Timesteps(2000), random());
    let (rollout, received) = (rollout.unwrap(), RECEIVED.lock().unwrap());
    assert!((mean(&received) - 50.0).abs() < 2.0, "{}", mean(&received));
    let low = received.iter().filter(|a| **a < 10.0).count();
    assert!((150..250).contains(&low), "{low} of 2000");
    let recorded = rollout.actions.as_f32().unwrap();
    assert!(recorded.iter().all(|a| (-1.0..=1.0).contains(a)));
    for (unit, action) in recorded.iter().zip(received.iter()) {
        assert!(((unit + 1.0) * 50.0 - action).abs() < 1e-4, "{unit} {action}");
    }
}

#[test]
fn random_actions_of_agents_are_uniform_in_the_box_too() {
    let space = Space::boxed(0.0, 100.0, &[1]).unwrap();
    let agents = [AgentSpec::new("a", numbers(1), space)];
    game("Connectors/TorqueGame-v0", &agents, |_, out| out.observe(0)?.write_f32(&[0.0]));
    let config = EnvRunnerConfig::new("Connectors/TorqueGame-v0");
    let mut runner = open_game(config, MultiAgentConfig::default());
    let experience = runner.collect(Amount::Timesteps(2000), random()).unwrap();
    let recorded = experience.rollouts["default_policy"][0].actions.as_f32().unwrap();
    assert!(recorded.iter().all(|a| (-1.0..=1.0).contains(a)));
    assert!(mean(recorded).abs() < 0.04, "{}", mean(recorded));
}

#[test]
fn a_box_of_integers_is_acted_in_with_floats_that_are_scaled_and_rounded() {
    static RECEIVED: Received = Mutex::new(Vec::new());
    let space = bytes(10, 20, 1);
    env("Connectors/Gear-v0", &numbers(1), &space, |_, _, action, mut out| {
        record(&RECEIVED, action);
        out.write_f32(&[0.0])?;
        Ok(done(1.0, false))
    });
    let mut runner = open(EnvRunnerConfig::new("Connectors/Gear-v0"));
    assert_eq!(runner.action_space(), &Space::boxed(10.0, 20.0, &[1]).unwrap());
    runner.sample(Amount::Timesteps(1100), random()).unwrap();
    for gear in 10..=20_u8 {
        let count = RECEIVED.lock().unwrap().iter().filter(|a| **a == f32::from(gear)).count();
        assert!((60..150).contains(&count), "{gear}: {count} of 1100");
    }
    RECEIVED.lock().unwrap().clear();
    let module = network(&runner);
    runner.set_module(&module, PublishedAt::default()).unwrap();
    let rollout = sample(&mut runner, 200);
    let recorded = rollout.actions.as_f32().unwrap();
    for (unit, gear) in recorded.iter().zip(RECEIVED.lock().unwrap().iter()) {
        assert_eq!((10.0 + (unit + 1.0) * 5.0).clamp(10.0, 20.0).round(), *gear);
    }
    let mut policy = runner.policy_bundle().unwrap();
    let seen = rekindle_env::Buffer::zeros(&numbers(1), 3);
    assert_eq!(policy.compute_actions(&seen, true).unwrap().as_u8().unwrap().len(), 3);
}

#[test]
fn actions_stay_in_a_box_with_one_bound() {
    static RECEIVED: Received = Mutex::new(Vec::new());
    let space = Space::boxed(0.0, f32::INFINITY, &[1]).unwrap();
    env("Connectors/Thrust-v0", &numbers(1), &space, |_, _, action, mut out| {
        record(&RECEIVED, action);
        out.write_f32(&[0.0])?;
        Ok(done(1.0, false))
    });
    let mut runner = open(EnvRunnerConfig::new("Connectors/Thrust-v0"));
    let module = build(
        rekindle_rl_module::RLModuleSpec::default(),
        runner.observation_space(),
        runner.action_space(),
    );
    runner.set_module(&module, PublishedAt::default()).unwrap();
    let rollout = sample(&mut runner, 200);
    assert!(rollout.actions.as_f32().unwrap().iter().any(|a| *a < 0.0));
    assert!(RECEIVED.lock().unwrap().iter().all(|a| *a >= 0.0));
}
