//! Restoring checkpoints: all or nothing, and into other numbers of environments.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::prelude::Device;
use rekindle_checkpoint::{Checkpointable, State};
use rekindle_env::{EnvError, Step};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, CallbackResult, EnvRunnerConfig, EnvRunnerGroup, EnvironmentEvent, PublishedAt,
    RunnerCallbacks, SampleOptions, SharedCallbacks,
};
use serde_json::Value;

use crate::support::{all, bin, env, game, mlp, modules, one, open, random, set_modules};

fn kinds(single: &'static str, several: &'static str) -> [EnvRunnerConfig; 2] {
    let single = env(single, bin(), |_, t, _, out| {
        out.write_f32(&[t as f32])?;
        Ok(Step { reward: 1.0, terminated: t == 9, truncated: false })
    });
    let several = game(several, &["a", "b"], bin(), all("p"), |_, t, _, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[t as f32])?;
        }
        if t == 9 {
            out.terminate_all();
        }
        Ok(())
    });
    [single, several]
        .map(|config| config.num_envs(3).env_to_module(vec![ConnectorConfig::mean_std_filter()]))
}

fn with_envs(config: &EnvRunnerConfig, num_envs: usize) -> EnvRunnerConfig {
    config.clone().num_envs(num_envs)
}

#[test]
fn another_number_of_environments_begins_new_episodes_and_keeps_filters_and_streams() {
    for config in kinds("edges/Resized-v0", "edges/AllResized-v0") {
        let mut saved = open(config.clone());
        set_modules(&mut *saved, &mlp());
        saved.collect(Amount::Timesteps(12), SampleOptions::default()).unwrap();
        let state = saved.get_state().unwrap();
        for num_envs in [1, 2, 5] {
            let restore = || {
                let mut runner = open(with_envs(&config, num_envs));
                set_modules(&mut *runner, &mlp());
                runner.set_state(&state).unwrap();
                runner
            };
            let mut runner = restore();
            assert_eq!(runner.connector_states().unwrap(), saved.connector_states().unwrap());
            let [before, after] = [&state, &runner.get_state().unwrap()]
                .map(|state| state.data["action_rngs"].as_array().unwrap().clone());
            let kept = before.len().min(after.len());
            assert_eq!(before[..kept], after[..kept]);
            let amount = Amount::Timesteps(10 * num_envs);
            let experience = runner.collect(amount, SampleOptions::default()).unwrap();
            assert_eq!(experience.env_steps, 10 * num_envs);
            assert_eq!(experience.episodes.len(), num_envs);
            for rollout in experience.rollouts.values().flatten() {
                assert!(rollout.segments.iter().all(|s| s.episode >= 3 && s.t_started % 9 == 0));
            }
            let again = restore().collect(amount, SampleOptions::default()).unwrap();
            assert_eq!(experience, again, "repeatable");
        }
    }
}

#[test]
fn another_number_of_runners_shares_the_filters() {
    for config in kinds("edges/Regrouped-v0", "edges/AllRegrouped-v0") {
        let group = |runners| {
            let mut group = EnvRunnerGroup::new(&config, runners, 1, &Device::flex()).unwrap();
            let modules = modules(group.runners().next().unwrap(), &mlp());
            group.set_modules(&modules, PublishedAt::default()).unwrap();
            group
        };
        let mut saved = group(2);
        saved.sample(Amount::Timesteps(12), SampleOptions::default()).unwrap();
        saved.sync_connectors().unwrap();
        let state = saved.get_state().unwrap();
        let expected = saved.sample(Amount::Timesteps(12), SampleOptions::default()).unwrap();
        let filters = saved.runners().next().unwrap().connector_states().unwrap();
        for runners in [1, 3] {
            let mut group = group(runners);
            group.set_state(&state).unwrap();
            let experience = group.sample(Amount::Timesteps(12), SampleOptions::default()).unwrap();
            assert_eq!(experience.env_steps, 12 * runners);
            // Those that were saved continue exactly.
            let rollouts = |experience: &rekindle_env_runner::Experience| {
                experience.rollouts.values().next().unwrap().clone()
            };
            let both = runners.min(2);
            assert_eq!(rollouts(&experience)[..both], rollouts(&expected)[..both]);
            group.set_state(&state).unwrap();
            for runner in group.runners() {
                let states = runner.connector_states().unwrap();
                assert_eq!(learned(&states), learned(&filters));
            }
        }
    }
}

#[test]
fn agents_that_act_with_a_module_without_a_policy_continue_from_a_checkpoint() {
    use rekindle_env_runner::MultiAgentConfig;
    let config = game("edges/Remapped-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[t as f32])?;
        }
        if t == 9 {
            out.terminate_all();
        }
        Ok(())
    });
    let mut runner = open(config.num_envs(2));
    let mut both = set_modules(&mut *runner, &mlp());
    runner.collect(Amount::Timesteps(12), SampleOptions::default()).unwrap();
    let multi_agent = MultiAgentConfig::default().policy_mapping(all("q"));
    runner.set_multi_agent(multi_agent).unwrap();
    let spaces = runner.module_spaces();
    assert_eq!(spaces.keys().collect::<Vec<_>>(), ["q"], "`p` has no policy any more");
    let of_q = modules(&*runner, &mlp());
    both.add_module("q", of_q.module("q").unwrap().clone(), false).unwrap();
    runner.set_modules(&both, PublishedAt::default()).unwrap();

    let state = runner.get_state().unwrap();
    let mut restored = open(kinds_of("edges/Remapped-v0").num_envs(2));
    restored.set_state(&state).unwrap();
    assert_eq!(restored.module_spaces(), spaces);
    restored.set_modules(&both, PublishedAt::default()).unwrap();
    // Three steps until the episodes end, then others begin with `q`.
    for (steps, ids) in [(4, vec!["p"]), (16, vec!["p", "q"]), (4, vec!["q"])] {
        let [expected, found] = [&mut runner, &mut restored]
            .map(|runner| runner.collect(Amount::Timesteps(steps), SampleOptions::default()));
        let expected = expected.unwrap();
        assert_eq!(expected.rollouts.keys().collect::<Vec<_>>(), ids);
        assert_eq!(expected, found.unwrap());
    }
    // Nobody acts with `p` any more, which is forgotten.
    for runner in [&mut runner, &mut restored] {
        assert_eq!(runner.connector_states().unwrap().keys().collect::<Vec<_>>(), ["q"]);
        runner.set_modules(&of_q, PublishedAt::default()).unwrap();
    }
}

/// The configuration of a registered game whose agents all act with `p`.
fn kinds_of(id: &str) -> EnvRunnerConfig {
    let multi_agent = rekindle_env_runner::MultiAgentConfig::default().policy_mapping(all("p"));
    EnvRunnerConfig::new(id).multi_agent(multi_agent)
}

#[test]
fn connector_states_that_are_set_count_once_in_the_next_merge() {
    let [single, several] = kinds("edges/SetStates-v0", "edges/AllSetStates-v0");
    for config in [single, several] {
        let mut config = config;
        for timeout in [None, Some(60.0)] {
            config.fault_tolerance.sample_timeout_s = timeout;
            let group = || {
                let mut group = EnvRunnerGroup::new(&config, 3, 1, &Device::flex()).unwrap();
                let modules = modules(group.runners().next().unwrap(), &mlp());
                group.set_modules(&modules, PublishedAt::default()).unwrap();
                group.sample(Amount::Timesteps(12), SampleOptions::default()).unwrap();
                group
            };
            // One source has merged, in the other each runner has changes of its own.
            let (mut merged, unmerged) = (group(), group());
            merged.sync_connectors().unwrap();
            for source in [&merged, &unmerged] {
                let states = source.runners().next().unwrap().connector_states().unwrap();
                let mut group = group();
                group.set_connector_states(&states).unwrap();
                group.sync_connectors().unwrap();
                for runner in group.runners() {
                    let found = counts(&runner.connector_states().unwrap());
                    assert_eq!(found, counts(&states));
                    assert!(found.iter().all(|count| *count > 0.0), "{found:?}");
                }
            }
        }
    }
}

/// The numbers of rows that the filters have seen, with those since the last merge.
fn counts(states: &std::collections::BTreeMap<String, Value>) -> Vec<f64> {
    let count = |state: &Value| state["MeanStdFilter"]["current"]["count"].as_f64().unwrap();
    states.values().map(count).collect()
}

/// The merged filter state of each runner, which all runners share.
fn learned(states: &std::collections::BTreeMap<String, Value>) -> Vec<Value> {
    states.values().map(|state| state["MeanStdFilter"]["merged"].clone()).collect()
}

/// Replaces a value in the state of runner 1.
fn damaged(state: &State, key: &str, value: Value) -> State {
    let mut state = state.clone();
    state.components.get_mut("runner_1").unwrap().data[key] = value;
    state
}

#[test]
fn a_state_that_does_not_fit_changes_no_runner() {
    for config in kinds("edges/Whole-v0", "edges/AllWhole-v0") {
        let group = || EnvRunnerGroup::new(&config, 2, 1, &Device::flex()).unwrap();
        let mut saved = group();
        saved.sample(Amount::Timesteps(12), random()).unwrap();
        let state = saved.get_state().unwrap();
        let mut target = group();
        target.sample(Amount::Timesteps(6), random()).unwrap();
        let before = target.get_state().unwrap();
        let connectors = if config.multi_agent.is_some() { "connectors" } else { "env_to_module" };
        let filter = serde_json::json!({"MeanStdFilter": 7});
        let filter = match config.multi_agent {
            Some(_) => serde_json::json!({"p": [filter, null, null]}),
            None => filter,
        };
        for (key, value) in [
            ("env", serde_json::json!(["no", "state", "of it"])),
            ("episodes", serde_json::json!([])),
            (connectors, filter),
        ] {
            let error = target.set_state(&damaged(&state, key, value)).unwrap_err();
            assert_eq!(target.get_state().unwrap(), before, "{key}: {error}");
        }
        let mut absent = state.clone();
        absent.components.remove("runner_1");
        target.set_state(&absent).unwrap_err();
        assert_eq!(target.get_state().unwrap(), before);
        target.set_state(&state).unwrap();
        assert_eq!(target.get_state().unwrap(), state);
    }
}

#[test]
fn settings_that_one_runner_refuses_change_no_runner() {
    use std::sync::atomic::AtomicUsize;
    static MADE: AtomicUsize = AtomicUsize::new(0);
    struct Fussy(rekindle_env::Space, rekindle_env::Space);
    impl rekindle_env::Env for Fussy {
        fn observation_space(&self) -> &rekindle_env::Space {
            &self.0
        }
        fn action_space(&self) -> &rekindle_env::Space {
            &self.1
        }
        fn reset(
            &mut self,
            _: &rekindle_env::ResetOptions,
            mut out: rekindle_env::RowMut<'_>,
        ) -> rekindle_env::Result<()> {
            out.write_f32(&[0.0])
        }
        fn step(
            &mut self,
            _: rekindle_env::Row<'_>,
            mut out: rekindle_env::RowMut<'_>,
        ) -> rekindle_env::Result<Step> {
            out.write_f32(&[0.0])?;
            Ok(Step::running(0.0))
        }
    }
    let make = |_: &rekindle_env::EnvConfig| match MADE.fetch_add(1, Ordering::Relaxed) {
        3 => Err(EnvError::custom("not this one")),
        _ => Ok(Fussy(one(), bin())),
    };
    rekindle_env::register(rekindle_env::EnvSpec::new("edges/Fussy-v0", make)).unwrap();
    let config = EnvRunnerConfig::new("edges/Fussy-v0");
    let mut group = EnvRunnerGroup::new(&config, 2, 1, &Device::flex()).unwrap();
    let error = group.set_env_config(&rekindle_env::EnvConfig::new().with("x", 1)).unwrap_err();
    assert!(error.to_string().contains("`edges/Fussy-v0`: not this one"), "{error}");
    // The runners are recreated with their former settings.
    assert_eq!(MADE.load(Ordering::Relaxed), 5);
    group.sample(Amount::Timesteps(2), random()).unwrap();
}

/// Refuses environments with the setting `x`.
struct Picky;

impl RunnerCallbacks for Picky {
    fn on_environment_created(&self, event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        match event.env_config.get("x") {
            Some(_) => Err("not with x".into()),
            None => Ok(()),
        }
    }
}

#[test]
fn environments_that_a_hook_refuses_leave_the_former_ones_in_place() {
    for config in kinds("edges/Hooked-v0", "edges/AllHooked-v0") {
        let config = config.callbacks(SharedCallbacks::new(Picky));
        let [mut runner, mut other] = [open(config.clone()), open(config)];
        runner.collect(Amount::Timesteps(12), random()).unwrap();
        other.collect(Amount::Timesteps(12), random()).unwrap();
        let settings = rekindle_env::EnvConfig::new().with("x", 1);
        let error = runner.set_env_config(&settings).unwrap_err().to_string();
        assert!(error.contains("not with x"), "{error}");
        let next = runner.collect(Amount::Timesteps(12), random()).unwrap();
        assert_eq!(next, other.collect(Amount::Timesteps(12), random()).unwrap());
    }
}

/// Runners that were not saved are recreated, which can fail like everything else.
#[test]
fn a_runner_that_cannot_be_recreated_for_a_state_changes_no_runner() {
    static FAILS: AtomicBool = AtomicBool::new(false);
    struct Shy(rekindle_env::Space, rekindle_env::Space);
    impl rekindle_env::Env for Shy {
        fn observation_space(&self) -> &rekindle_env::Space {
            &self.0
        }
        fn action_space(&self) -> &rekindle_env::Space {
            &self.1
        }
        fn reset(
            &mut self,
            _: &rekindle_env::ResetOptions,
            mut out: rekindle_env::RowMut<'_>,
        ) -> rekindle_env::Result<()> {
            out.write_f32(&[0.0])
        }
        fn step(
            &mut self,
            _: rekindle_env::Row<'_>,
            mut out: rekindle_env::RowMut<'_>,
        ) -> rekindle_env::Result<Step> {
            out.write_f32(&[0.0])?;
            Ok(Step::running(0.0))
        }
        fn state(&self) -> rekindle_env::Result<Option<Value>> {
            rekindle_env::save_state(&0)
        }
        fn set_state(&mut self, _: &Value) -> rekindle_env::Result<()> {
            Ok(())
        }
    }
    let make = |_: &rekindle_env::EnvConfig| match FAILS.load(Ordering::Relaxed) {
        true => Err(EnvError::custom("not now")),
        false => Ok(Shy(one(), bin())),
    };
    rekindle_env::register(rekindle_env::EnvSpec::new("edges/Shy-v0", make)).unwrap();
    let config = EnvRunnerConfig::new("edges/Shy-v0")
        .env_to_module(vec![ConnectorConfig::mean_std_filter()]);
    let group = || EnvRunnerGroup::new(&config, 2, 1, &Device::flex()).unwrap();
    let mut saved = group();
    saved.sample(Amount::Timesteps(12), random()).unwrap();
    let mut state = saved.get_state().unwrap();
    state.data["missing"] = serde_json::json!([1]);
    state.components.remove("runner_1");
    let mut target = group();
    target.sample(Amount::Timesteps(6), random()).unwrap();
    let before = target.get_state().unwrap();
    FAILS.store(true, Ordering::Relaxed);
    let error = target.set_state(&state).unwrap_err().to_string();
    assert!(error.contains("not now"), "{error}");
    assert_eq!(target.get_state().unwrap(), before);
    FAILS.store(false, Ordering::Relaxed);
    target.set_state(&state).unwrap();
    assert_eq!(target.num_restarts(), 1);
    assert_eq!(target.take_recreated(), [1]);
    let filters: Vec<_> = target.runners().map(|r| r.connector_states().unwrap()).collect();
    assert_eq!(filters[0], saved.runners().next().unwrap().connector_states().unwrap());
    target.sample(Amount::Timesteps(2), random()).unwrap();
}
