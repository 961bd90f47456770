//! Policy bundles: verification, exploration and log-probabilities.

use burn::prelude::Device;
use rekindle_catalog::CatalogError;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::connectors::{ConnectorConfig, register_connector};
use rekindle_env_runner::{BundleConfig, PolicyBundle, RunnerError};
use rekindle_rl_module::{RLModuleSpec, register_module};

use super::probe::{Echo, Masked, Shift, Spoil, build, bytes, choice, numbers};

fn bundle(spec: RLModuleSpec, config: BundleConfig) -> PolicyBundle {
    // The same spaces on both sides of the connectors.
    let module = build(spec, &config.observation_space, &config.action_space);
    PolicyBundle::new(module, config, &Device::flex()).unwrap()
}

fn small() -> RLModuleSpec {
    RLModuleSpec::default().model_config(serde_json::json!({"fcnet_hiddens": [8]}))
}

fn observations(rows: usize) -> Buffer {
    let numbers = (0..rows * 2).map(|i| (i as f32 * 0.7).sin()).collect();
    Buffer::from_f32(numbers, &[2]).unwrap()
}

#[test]
fn a_masked_policy_is_bundled_with_masks_that_leave_a_choice() {
    register_module::<Masked>();
    let config = BundleConfig::new(Space::multi_binary(2).unwrap(), choice(2));
    let policy = bundle(RLModuleSpec::of::<Masked>(), config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drawn");
    policy.save_to_path(&path).unwrap();
    let mut restored = PolicyBundle::from_checkpoint(&path, &Device::flex()).unwrap();
    let masks = Buffer::from_u8(vec![1, 0, 0, 1], &[2]).unwrap();
    assert_eq!(restored.compute_actions(&masks, false).unwrap().as_i64().unwrap(), [0, 1]);

    let given = folder.path().join("given");
    policy.save_with_test_observations(&given, &masks).unwrap();
    PolicyBundle::from_checkpoint(&given, &Device::flex()).unwrap();
}

#[test]
fn a_policy_that_acts_on_no_random_observation_says_what_to_do() {
    // No mask but zeros can be drawn.
    let config = BundleConfig::new(bytes(0, 0, 2), choice(2));
    let policy = bundle(RLModuleSpec::of::<Masked>(), config);
    let folder = tempfile::tempdir().unwrap();
    let error = policy.save_to_path(folder.path().join("bundle")).unwrap_err();
    let RunnerError::NoTestObservations { source, .. } = &error else { panic!("{error}") };
    let RunnerError::CannotAct { row: 0, source, .. } = &**source else { panic!("{error}") };
    let masked = matches!(**source, CatalogError::AllMasked { .. });
    assert!(masked && error.to_string().contains("save_with_test_observations"), "{error}");
}

#[test]
fn exploration_draws_from_streams_of_the_seed_and_the_row() {
    let mut policy = bundle(small(), BundleConfig::new(numbers(2), numbers(1)));
    let seen = observations(3);
    let draw = |policy: &mut PolicyBundle| {
        policy.compute_actions(&seen, true).unwrap().as_f32().unwrap().to_vec()
    };
    let (first, second) = (draw(&mut policy), draw(&mut policy));
    assert_ne!(first, second);
    // Greedy actions in between change nothing.
    policy.set_seed(0);
    let greedy = policy.compute_actions(&seen, false).unwrap().clone();
    assert!(policy.action_logp().is_empty());
    assert_eq!((draw(&mut policy), draw(&mut policy)), (first.clone(), second));
    assert_eq!(&greedy, policy.compute_actions(&seen, false).unwrap());
    policy.set_seed(1);
    assert_ne!(draw(&mut policy), first);
    // A row draws the same actions regardless of the other rows.
    policy.set_seed(0);
    let one = policy.compute_actions(&seen.slice(0..1).unwrap(), true).unwrap();
    assert_eq!(one.as_f32().unwrap(), &first[..1]);
}

#[test]
fn a_clone_goes_on_from_the_same_episodes_and_streams() {
    let config = BundleConfig::new(numbers(2), numbers(1));
    let recurrent = RLModuleSpec::default().model_config(
        serde_json::json!({"fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": 4}),
    );
    let mut policy = bundle(recurrent, config);
    let seen = observations(3);
    policy.compute_actions(&seen, true).unwrap();
    let mut clone = policy.clone();
    for _ in 0..3 {
        let actions = policy.compute_actions(&seen, true).unwrap();
        assert_eq!(actions, clone.compute_actions(&seen, true).unwrap());
    }
    clone.reset();
    let (fresh, old) = (clone.compute_actions(&seen, false), policy.compute_actions(&seen, false));
    assert_ne!(fresh.unwrap(), old.unwrap());
}

#[test]
fn log_likelihoods_are_those_of_the_actions_drawn_and_leave_no_trace() {
    let stacked = BundleConfig::new(numbers(2), Space::boxed(0.0, 100.0, &[1]).unwrap());
    let recurrent = RLModuleSpec::default().model_config(
        serde_json::json!({"fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": 4}),
    );
    let module = build(recurrent, &numbers(4), &stacked.action_space);
    let config = stacked.env_to_module([ConnectorConfig::frame_stacking(2)]);
    let mut policy = PolicyBundle::new(module, config, &Device::flex()).unwrap();
    for t in 0..4 {
        let seen = observations(3 + t).slice(t..t + 3).unwrap();
        let before = policy.clone();
        let actions = policy.compute_actions(&seen, true).unwrap().clone();
        let logp = policy.action_logp().to_vec();
        let likelihoods = before.compute_log_likelihoods(&seen, &actions).unwrap();
        for ((likelihood, logp), action) in
            likelihoods.iter().zip(&logp).zip(actions.as_f32().unwrap())
        {
            // A clipped action has the density of the bound.
            let clipped = [0.0, 100.0].contains(action);
            assert!(clipped || (likelihood - logp).abs() < 1e-3, "{t}: {likelihood} {logp}");
        }
        let again = before.compute_log_likelihoods(&seen, &actions).unwrap();
        assert_eq!(likelihoods, again);
        // Another number of rows starts new episodes here, and the running episodes continue.
        let first = policy
            .compute_log_likelihoods(&seen.slice(0..1).unwrap(), &actions.slice(0..1).unwrap());
        assert_eq!(first.unwrap().len(), 1);
    }
    let seen = observations(3);
    let error = policy.compute_log_likelihoods(&seen, &Buffer::from_f32(vec![1.0], &[1]).unwrap());
    assert!(error.unwrap_err().to_string().contains("rows of actions"));
}

#[test]
fn log_likelihoods_of_choices_sum_to_one() {
    let policy = bundle(small(), BundleConfig::new(numbers(2), choice(3)));
    let seen = observations(2);
    let mut sums = [0.0; 2];
    for action in 0..3 {
        let actions = Buffer::from_i64(vec![action; 2], &[]).unwrap();
        let logp = policy.compute_log_likelihoods(&seen, &actions).unwrap();
        sums.iter_mut().zip(logp).for_each(|(sum, logp)| *sum += logp.exp());
    }
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
}

#[test]
fn actions_without_a_distribution_have_no_likelihood() {
    let space = Space::boxed(-1.0, 1.0, &[1]).unwrap();
    let policy = bundle(RLModuleSpec::of::<Echo>(), BundleConfig::new(space.clone(), space));
    let rows = Buffer::from_f32(vec![0.5], &[1]).unwrap();
    let error = policy.compute_log_likelihoods(&rows, &rows).unwrap_err();
    assert!(matches!(error, RunnerError::NoDistribution { .. }), "{error}");
    assert!(error.to_string().contains("only [actions]"), "{error}");
}

#[test]
fn saving_leaves_the_running_episodes_alone() {
    let module = build(small(), &numbers(4), &numbers(1));
    let config = BundleConfig::new(numbers(2), numbers(1))
        .env_to_module([ConnectorConfig::frame_stacking(2)]);
    let mut policy = PolicyBundle::new(module, config, &Device::flex()).unwrap();
    let seen = observations(3);
    policy.compute_actions(&seen, false).unwrap();
    let mut other = policy.clone();
    let folder = tempfile::tempdir().unwrap();
    policy.save_to_path(folder.path().join("bundle")).unwrap();
    assert_eq!(
        policy.compute_actions(&seen, false).unwrap(),
        other.compute_actions(&seen, false).unwrap()
    );
}

#[test]
fn connectors_of_other_modules_are_refused_in_a_bundle() {
    let module = build(RLModuleSpec::of::<Echo>(), &numbers(1), &numbers(1));
    let config = BundleConfig::new(numbers(1), numbers(1))
        .env_to_module([ConnectorConfig::mean_std_filter().for_modules(["hunter"])]);
    let error = PolicyBundle::new(module, config, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("no module `hunter`"), "{error}");
}

#[test]
fn an_error_starts_all_episodes_anew() {
    let module = build(RLModuleSpec::of::<Echo>(), &numbers(2), &numbers(2));
    let config = BundleConfig::new(numbers(1), numbers(2))
        .env_to_module([ConnectorConfig::frame_stacking(2)]);
    let mut policy = PolicyBundle::new(module, config, &Device::flex()).unwrap();
    let mut act = |x: f32| {
        let seen = Buffer::from_f32(vec![x], &[1]).unwrap();
        Ok::<_, RunnerError>(policy.compute_actions(&seen, false)?.as_f32()?.to_vec())
    };
    assert_eq!(act(1.0).unwrap(), [0.0, 1.0]);
    assert_eq!(act(2.0).unwrap(), [1.0, 2.0]);
    act(f32::NAN).unwrap_err();
    assert_eq!(act(3.0).unwrap(), [0.0, 3.0]);
}

#[test]
fn a_module_for_other_spaces_is_refused_in_a_bundle() {
    let module = || build(small(), &numbers(2), &choice(2));
    for (config, field) in [
        (BundleConfig::new(numbers(2), choice(5)), "action space"),
        (BundleConfig::new(numbers(3), choice(2)), "observation space"),
        (
            BundleConfig::new(numbers(2), choice(2))
                .env_to_module([ConnectorConfig::frame_stacking(2)]),
            "observation space",
        ),
    ] {
        let error = PolicyBundle::new(module(), config, &Device::flex()).unwrap_err();
        assert!(matches!(error, RunnerError::ModuleSpaces { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    bundle(small(), BundleConfig::new(numbers(2), choice(2))).save_to_path(&path).unwrap();
    let state = rekindle_checkpoint::read(&path).unwrap();
    let mut edited = state.clone();
    edited.data["config"] = serde_json::to_value(BundleConfig::new(numbers(2), choice(5))).unwrap();
    let other = folder.path().join("edited");
    rekindle_checkpoint::write(&other, &edited).unwrap();
    let error = PolicyBundle::from_checkpoint(&other, &Device::flex()).unwrap_err();
    assert!(matches!(error, RunnerError::ModuleSpaces { .. }), "{error}");
}

/// The encoder of choices would take a choice that does not exist for another.
#[test]
fn an_observation_that_does_not_exist_is_refused_by_a_bundle() {
    let mut policy = bundle(small(), BundleConfig::new(choice(5), choice(2)));
    let column = |choices: &[i64]| Buffer::from_i64(choices.to_vec(), &[]).unwrap();
    policy.compute_actions(&column(&[0, 4]), false).unwrap();
    for (seen, value) in [([0, 7], "7"), ([-1, 0], "-1")] {
        let error = policy.compute_actions(&column(&seen), false).unwrap_err().to_string();
        assert!(error.contains("Discrete(5)") && error.contains(value), "{error}");
        let actions = column(&[0, 0]);
        let error = policy.compute_log_likelihoods(&column(&seen), &actions).unwrap_err();
        assert!(error.to_string().contains("Discrete(5)"), "{error}");
    }
    let (seen, actions) = (column(&[0, 4]), column(&[0, 7]));
    let error = policy.compute_log_likelihoods(&seen, &actions).unwrap_err().to_string();
    assert!(error.contains("Discrete(2)") && error.contains('7'), "{error}");
    // Rows of another space are refused before the module sees them.
    let error = policy.compute_actions(&observations(2), false).unwrap_err().to_string();
    assert!(error.contains("Discrete(5)"), "{error}");
}

#[test]
fn a_connector_that_spoils_the_actions_of_a_bundle_is_an_error() {
    register_connector("Connectors/Spoil", |_, _| Ok(Box::new(Spoil)));
    let spoil = ConnectorConfig::custom("Connectors/Spoil", serde_json::Value::Null);
    for (actions, text) in [
        (numbers(1), "a module-to-env connector chose NaN"),
        (bytes(0, 255, 1), "a module-to-env connector chose NaN"),
        (choice(5), "`Spoil` returned 7"),
    ] {
        let config = BundleConfig::new(numbers(2), actions).module_to_env([spoil.clone()]);
        let units = config.action_space.with_float_boxes();
        let module = build(small(), &numbers(2), &units);
        let mut policy = PolicyBundle::new(module, config, &Device::flex()).unwrap();
        let error = policy.compute_actions(&observations(2), false).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_module_that_returns_actions_that_do_not_exist_is_named_by_a_bundle() {
    let space = Space::multi_discrete([3, 3]).unwrap();
    let config = BundleConfig::new(space.clone(), space.clone());
    let mut policy = bundle(RLModuleSpec::of::<Shift>(), config);
    let seen = Buffer::from_i64(vec![1, 2], &[2]).unwrap();
    let error = policy.compute_actions(&seen, false).unwrap_err().to_string();
    for part in ["Shift", "[2, 3]", "MultiDiscrete([3 3])"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    let seen = Buffer::from_i64(vec![1, 1], &[2]).unwrap();
    assert_eq!(policy.compute_actions(&seen, false).unwrap().as_i64().unwrap(), [2, 2]);
}

/// A reward that is not a number must not reach the module as a part of its observation.
#[test]
fn rewards_given_to_a_bundle_must_be_finite() {
    let previous = ConnectorConfig::prev_actions_prev_rewards(0, 1);
    let seen = previous.build(&numbers(1)).unwrap().output_space(&numbers(1)).unwrap();
    let config = BundleConfig::new(numbers(1), numbers(1)).env_to_module([previous]);
    let module = build(small(), &seen, &numbers(1));
    let mut policy = PolicyBundle::new(module, config, &Device::flex()).unwrap();
    let seen = Buffer::from_f32(vec![1.0], &[1]).unwrap();
    policy.compute_actions(&seen, false).unwrap();
    policy.set_rewards(&[f64::NAN]);
    let error = policy.compute_actions(&seen, false).unwrap_err().to_string();
    assert!(error.contains("the reward NaN"), "{error}");
    policy.compute_actions(&seen, false).unwrap();
}
