//! Observations and actions that are not finite.

use rekindle_checkpoint::Checkpointable;
use rekindle_env::{AgentSpec, Buffer, Space};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, BundleConfig, EnvRunner, EnvRunnerConfig, MultiAgentConfig, PolicyBundle, PublishedAt,
    RunnerError, SampleOptions,
};
use rekindle_rl_module::{MultiRLModule, RLModuleSpec};

use super::probe::{
    Echo, build, choice, done, env, game, network, numbers, open, open_game, sample,
};

#[test]
fn one_infinite_observation_does_not_spoil_the_filter_nor_its_checkpoint() {
    env("Connectors/Spike-v0", &numbers(1), &numbers(1), |_, t, _, mut out| {
        out.write_f32(&[if t == 7 { f32::INFINITY } else { t as f32 }])?;
        Ok(done(1.0, t == 20))
    });
    let config = EnvRunnerConfig::new("Connectors/Spike-v0")
        .env_to_module(vec![ConnectorConfig::mean_std_filter()]);
    let mut runner = open(config.clone());
    let module = network(&runner);
    runner.set_module(&module, PublishedAt::default()).unwrap();
    let rollout = sample(&mut runner, 30);
    assert!(rollout.observations.as_f32().unwrap().iter().all(|x| x.abs() <= 10.0));
    assert_eq!(rollout.observations.as_f32().unwrap()[7], 10.0);

    let mut restored = open(config);
    restored.set_module(&module, PublishedAt::default()).unwrap();
    restored.set_state(&runner.get_state().unwrap()).unwrap();
    assert_eq!(sample(&mut runner, 30), sample(&mut restored, 30));
    let state = runner.env_to_module().get_state().unwrap();
    // The second episode shows its infinity, too.
    assert_eq!(state["MeanStdFilter"]["current"]["skipped"], 3);
}

#[test]
fn connectors_remember_infinite_observations_and_rewards_across_a_checkpoint() {
    env("Connectors/Extreme-v0", &numbers(1), &choice(2), |_, t, _, mut out| {
        out.write_f32(&[if t.is_multiple_of(2) { f32::NEG_INFINITY } else { t as f32 }])?;
        Ok(done(1.0, false))
    });
    let config = EnvRunnerConfig::new("Connectors/Extreme-v0").env_to_module(vec![
        ConnectorConfig::frame_stacking(3),
        ConnectorConfig::prev_actions_prev_rewards(1, 1),
    ]);
    let mut runner = open(config.clone());
    let random = super::probe::random();
    runner.sample(Amount::Timesteps(5), random).unwrap();
    let mut restored = open(config);
    restored.set_state(&runner.get_state().unwrap()).unwrap();
    let next = runner.sample(Amount::Timesteps(5), random).unwrap();
    let stacked = next.observations.get("_orig_obs").unwrap().row(0);
    assert_eq!(stacked.as_f32().unwrap(), [3.0, f32::NEG_INFINITY, 5.0]);
    assert_eq!(next, restored.sample(Amount::Timesteps(5), random).unwrap());
}

/// Shows NaN after two steps.
fn nan_env() -> Space {
    let space = Space::boxed(-1.0, 1.0, &[1]).unwrap();
    env("Connectors/Nan-v0", &space, &space, |_, t, action, mut out| {
        if let Some(action) = action {
            assert!(action.as_f32()?[0].is_finite(), "NaN reached the environment");
        }
        out.write_f32(&[if t == 2 { f32::NAN } else { 0.5 }])?;
        Ok(done(1.0, false))
    });
    space
}

#[test]
fn an_action_that_is_not_finite_reaches_no_environment() {
    let space = nan_env();
    let mut runner = open(EnvRunnerConfig::new("Connectors/Nan-v0"));
    let module = build(RLModuleSpec::of::<Echo>(), &space, &space);
    runner.set_module(&module, PublishedAt::default()).unwrap();
    for options in [SampleOptions::default(), SampleOptions::greedy()] {
        let options = options.force_reset(true);
        runner.sample(Amount::Timesteps(2), options).unwrap();
        let error = runner.sample(Amount::Timesteps(1), options.force_reset(false));
        let error = error.unwrap_err();
        assert!(matches!(error, RunnerError::InvalidAction { .. }), "{error}");
        assert!(error.to_string().contains("Echo") && error.to_string().contains("NaN"), "{error}");
    }

    let agents = [AgentSpec::new("a", space.clone(), space.clone())];
    game("Connectors/NanGame-v0", &agents, |t, out| {
        out.observe(0)?.write_f32(&[if t == 2 { f32::NAN } else { 0.5 }])
    });
    let config = EnvRunnerConfig::new("Connectors/NanGame-v0");
    let mut runner = open_game(config, MultiAgentConfig::default());
    let mut modules = MultiRLModule::new();
    modules.add_module("default_policy", module, false).unwrap();
    runner.set_modules(&modules, PublishedAt::default()).unwrap();
    runner.collect(Amount::Timesteps(2), SampleOptions::default()).unwrap();
    let error = runner.collect(Amount::Timesteps(1), SampleOptions::default()).unwrap_err();
    assert!(matches!(error, RunnerError::InvalidAction { .. }), "{error}");
}

#[test]
fn a_bundle_refuses_to_act_with_a_number_that_is_not_finite() {
    let space = Space::boxed(-1.0, 1.0, &[1]).unwrap();
    let module = build(RLModuleSpec::of::<Echo>(), &space, &space);
    let config = BundleConfig::new(space.clone(), space);
    let mut policy = PolicyBundle::new(module, config, &burn::prelude::Device::flex()).unwrap();
    let rows = |a, b| Buffer::from_f32(vec![a, b], &[1]).unwrap();
    let good = policy.compute_actions(&rows(0.5, -1.0), false).unwrap();
    assert_eq!(good.as_f32().unwrap(), [0.5, -1.0]);
    for explore in [false, true] {
        let error = policy.compute_actions(&rows(0.5, f32::INFINITY), explore).unwrap_err();
        assert!(matches!(error, RunnerError::NonFiniteAction { .. }), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let nan = rows(0.0, f32::NAN);
    assert!(policy.save_with_test_observations(&path, &nan).is_err());
    assert!(!path.exists());
}
