//! The algorithm as users drive it: results, components, threads, roles, hostile updates.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::Mlp;
use rekindle::core::weights::Weights;
use rekindle::prelude::*;
use serde_json::json;

use crate::scripted;

fn config() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(200).minibatch_size(50).num_epochs(2).lr(1e-3))
        .seed(3)
}

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// A policy without a value function.
#[derive(Module, Debug)]
struct PolicyOnly {
    policy: Mlp,
}

impl RLModule for PolicyOnly {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self, ModuleError> {
        let logits = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[16], logits) })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch, ModuleError> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

#[test]
fn a_result_has_rllibs_names() {
    let result = config().build(&device()).unwrap().train().unwrap();
    for key in [
        "training_iteration",
        "env_runners/episode_return_mean",
        "env_runners/episode_len_mean",
        "env_runners/num_env_steps_sampled_lifetime",
        "env_runners/env_step_timer",
        "env_runners/rlmodule_inference_timer",
        "learners/default_policy/policy_loss",
        "learners/default_policy/vf_loss",
        "learners/default_policy/vf_explained_var",
        "learners/default_policy/entropy",
        "learners/default_policy/mean_kl_loss",
        "learners/default_policy/curr_kl_coeff",
        "learners/default_policy/total_loss",
        "learners/default_policy/default_optimizer_learning_rate",
        "learners/default_policy/gradients_default_optimizer_global_norm",
        "timers/learner_update_timer",
        "timers/env_runner_sampling_timer",
    ] {
        assert!(result.get(key).is_some_and(f64::is_finite), "{key}: {result}");
    }
    assert_eq!(result.get("env_runners/num_env_steps_sampled_lifetime"), Some(200.0));
}

#[test]
fn a_learner_refuses_a_module_without_the_role_it_needs_when_it_is_built() {
    let mut config = config();
    config.model_config = Default::default();
    let config = config.rl_module(RLModuleSpec::of::<PolicyOnly>());
    let message = config.build(&device()).unwrap_err().to_string();
    assert!(message.contains("lacks the role ValueFunction"), "{message}");
    assert!(message.contains("the PPO learner"), "{message}");

    let config = config
        .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
        .training(|t| t.use_critic(false));
    let result = config.build(&device()).unwrap().train().unwrap();
    assert!(result.get("learners/default_policy/policy_loss").is_some());
    assert!(result.get("learners/default_policy/vf_loss").is_none());
}

#[test]
fn whole_runs_are_equal_for_1_and_2_threads_and_for_the_same_seed() {
    let run = |threads, seed| {
        let config = config().seed(seed).env_runners(|e| e.num_env_runners(2).num_threads(threads));
        let mut algo = config.build(&device()).unwrap();
        for _ in 0..3 {
            algo.train().unwrap();
        }
        algo.get_state().unwrap()
    };
    let of = |state: &State, component| state.component(component).unwrap().clone();
    for component in ["learner", "env_runners"] {
        assert_eq!(of(&run(1, 5), component), of(&run(2, 5), component));
        assert_ne!(of(&run(1, 5), component), of(&run(1, 6), component));
    }
}

#[test]
fn one_component_is_restored_alone_and_acted_with_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut source = config().build(&device()).unwrap();
    source.train().unwrap();
    source.save_to_path(&path).unwrap();

    let component = "learner/rl_module/default_policy";
    let mut target = config().seed(99).build(&device()).unwrap();
    let weights = |algo: &Algorithm| algo.module("default_policy").unwrap().state_dict().unwrap();
    assert_ne!(weights(&source), weights(&target));
    target.restore_component(path.join(component), component).unwrap();
    assert_eq!(weights(&source), weights(&target));
    assert_eq!(target.iteration(), 0);

    let error = target.restore_component(&path, "replay_buffer").unwrap_err().to_string();
    assert!(error.contains("`replay_buffer` is not a component"), "{error}");
    let error = target.restore_component(&path, component).unwrap_err().to_string();
    assert!(error.contains("the checkpoint of an algorithm"), "{error}");
    assert!(error.contains(component), "{error}");
    assert_eq!(weights(&source), weights(&target));
}

#[test]
fn complete_episodes_mode_learns_from_whole_episodes() {
    let config = config().env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes));
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    assert!(algo.env_steps() >= 200);
    let episodes = result.get("env_runners/num_episodes").unwrap();
    let mean = result.get("env_runners/episode_len_mean").unwrap();
    assert!((episodes * mean - algo.env_steps() as f64).abs() < 1e-6);
}

#[test]
fn evaluation_runs_at_its_interval_on_exactly_its_episodes() {
    let config = config().evaluation(|e| e.evaluation_interval(2).evaluation_duration(7));
    let mut algo = config.build(&device()).unwrap();
    let key = "evaluation/env_runners/episode_return_mean";
    assert!(algo.train().unwrap().get(key).is_none());
    assert!(algo.train().unwrap().get(key).is_some());
    assert_eq!(algo.evaluate().unwrap().returns.len(), 7);
}

#[test]
fn settings_out_of_range_name_field_value_and_constraint() {
    let message = |config: PpoConfig| config.build(&device()).unwrap_err().to_string();
    let cases = [
        (PpoConfig::new(), "`env` is not set"),
        (config().training(|t| t.gamma(1.5)), "`gamma` is 1.5, but it must be between 0 and 1"),
        (
            config().training(|t| t.minibatch_size(5000)),
            "it must not exceed `train_batch_size` (200)",
        ),
        (config().training(|t| t.lr(-1.0)), "`lr` is -1, but"),
        (config().training(|t| t.entropy_coeff(-0.1)), "`entropy_coeff` is -0.1, but"),
        (config().training(|t| t.grad_clip(0.0)), "`grad_clip` is 0"),
        (config().training(|t| t.target_kl(0.0)), "`target_kl` is 0, but it must be positive"),
        (config().training(|t| t.train_batch_size(0)), "`train_batch_size` is 0"),
        (
            config().env_runners(|e| e.rollout_fragment_length(51)),
            "`rollout_fragment_length` is 51, but all environments together then collect 204 steps",
        ),
        (config().env_runners(|e| e.rollout_fragment_length(0)), "`rollout_fragment_length` is 0"),
        (
            config().evaluation(|e| e.evaluation_config(|o| o.num_envs_per_env_runner(0))),
            "`evaluation_config.num_envs_per_env_runner` is 0, but it must be at least 1",
        ),
        (
            config().evaluation(|e| e.evaluation_sample_timeout_s(-1.0)),
            "`evaluation_sample_timeout_s` is -1",
        ),
        (config().env_runners(|e| e.num_envs_per_env_runner(0)), "`num_envs_per_env_runner` is 0"),
        (config().environment("CartPole-v7"), "CartPole-v7"),
        (config().model("fcnet_hidden", 3), "unknown field `fcnet_hidden`"),
        (config().env_config(EnvConfig::new().with("gravity", 1.0)), "gravity"),
    ];
    for (config, expected) in cases {
        let message = message(config);
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
}

#[test]
fn configurations_are_data_and_refuse_unknown_keys() {
    let json = serde_json::to_string(&config()).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config());
    assert_eq!(PpoConfig::from_json("{}").unwrap(), PpoConfig::new());
    for bad in [
        r#"{"trainin": {}}"#,
        r#"{"training": {"gama": 0.9}}"#,
        r#"{"env_runners": {"rollout_fragment_length": "sometimes"}}"#,
    ] {
        let message = PpoConfig::from_json(bad).unwrap_err().to_string();
        assert!(message.starts_with("config: "), "{message}");
    }
}

#[test]
fn updates_that_are_not_finite_are_skipped_counted_and_leave_the_weights_finite() {
    // An infinite learning signal: the value loss of a huge target overflows.
    let config = config().training(|t| t.vf_clip_param(f64::INFINITY).vf_loss_coeff(3e38));
    let mut algo = config.build(&device()).unwrap();
    let before = algo.module("default_policy").unwrap().state_dict().unwrap();
    let result = algo.train().unwrap();
    let skipped = result.get("learners/default_policy/num_non_finite_updates_lifetime");
    assert_eq!(skipped, Some(8.0));
    assert_eq!(algo.module("default_policy").unwrap().state_dict().unwrap(), before);
}

fn weights(algo: &Algorithm, id: &str) -> Weights {
    algo.module(id).unwrap().state_dict().unwrap()
}

/// Two agents that see 4 values each, with a module each.
fn cartpoles() -> PpoConfig {
    config()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

fn refused(config: &PpoConfig, parts: &[&str]) {
    let message = config.build(&device()).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

#[test]
fn episodes_that_are_cut_off_need_a_critic() {
    let reason = "`use_critic` is false, but episodes that `batch_mode` cuts off";
    let complete = |c: PpoConfig| c.env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes));
    let without = config().training(|t| t.use_critic(false));
    refused(&without, &[reason, "`complete_episodes`"]);
    complete(without).build(&device()).unwrap();
    // The same rule holds for each of several modules.
    let one = cartpoles().multi_agent(|m| m.override_module("1", "use_critic", false));
    refused(&one, &["module `1`", reason]);
    complete(one).build(&device()).unwrap();
    let other = cartpoles()
        .training(|t| t.use_critic(false))
        .multi_agent(|m| m.override_module("1", "use_critic", true));
    refused(&other, &[reason]);
    other.multi_agent(|m| m.override_module("0", "use_critic", true)).build(&device()).unwrap();
}

#[test]
fn optimizer_settings_that_ruin_the_weights_are_refused() {
    let adam = |field: &str, value: f64| {
        let mut settings = json!({"type": "adam"});
        settings[field] = json!(value);
        settings
    };
    for (field, value) in
        [("beta_1", 1.0), ("beta_2", 1.0), ("beta_2", 0.99999999), ("epsilon", -1e-8)]
    {
        let settings = adam(field, value);
        let parsed = serde_json::from_value(settings.clone()).unwrap();
        let name = format!("`optimizer.{field}` is");
        refused(&config().training(|t| t.optimizer(parsed)), &[&name]);
        let module = cartpoles().multi_agent(|m| m.override_module("1", "optimizer", settings));
        refused(&module, &["module `1`", &name]);
    }
    refused(&config().training(|t| t.lr(1e39)), &["`lr` is", "at most 1e18"]);
    refused(&config().training(|t| t.lr([(0, 1.0), (9, f64::INFINITY)])), &["`lr` is"]);
}

#[test]
fn roles_are_asked_of_the_modules_that_need_them() {
    let no_values = RLModuleSpec::of::<PolicyOnly>();
    let specs = MultiRLModuleSpec::new([("1", no_values)]);
    let config = cartpoles()
        .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
        .multi_agent(|m| m.rl_module_specs(specs));
    let mut config = config;
    config.model_config = Default::default();
    refused(&config, &["lacks the role ValueFunction"]);
    let without = config.clone().multi_agent(|m| m.override_module("1", "use_critic", false));
    let result = without.build(&device()).unwrap().train().unwrap();
    assert!(result.get("learners/0/vf_loss").is_some());
    assert!(result.get("learners/1/vf_loss").is_none());
    // No critic in general, and one for the module that has values.
    let general = config.training(|t| t.use_critic(false));
    let one = general.clone().multi_agent(|m| m.override_module("0", "use_critic", true));
    let result = one.build(&device()).unwrap().train().unwrap();
    assert!(result.get("learners/0/vf_loss").is_some());
    let wrong = general.multi_agent(|m| m.override_module("1", "use_critic", true));
    refused(&wrong, &["lacks the role ValueFunction"]);
}

#[test]
fn an_update_without_rows_of_a_module_that_learns_is_skipped_and_counted() {
    // `b` joins after eight steps, and batches have five.
    scripted::game("test/LateAgent-v0", &[("a", 1), ("b", 1)], |t, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        if t >= 8 {
            out.observe(1)?.write_f32(&[0.0])?;
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let late = PpoConfig::new()
        .environment("test/LateAgent-v0")
        .multi_agent(|m| {
            m.policies(["a", "b"]).policy_mapping(PolicyMapping::ByAgent).policies_to_train(["b"])
        })
        .training(|t| t.train_batch_size(5).minibatch_size(None).num_epochs(1).lr(0.1))
        .seed(0);
    let none = late.clone().multi_agent(|m| m.policies_to_train(Vec::<String>::new()));
    let key = "learners/__all_modules__/num_updates_without_rows_lifetime";
    for (config, learns) in [(late, true), (none, false)] {
        let mut algo = config.build(&device()).unwrap();
        let before = weights(&algo, "b");
        assert_eq!(algo.train().unwrap().get(key), Some(1.0));
        assert_eq!((weights(&algo, "b"), algo.learner().weights_seq_no()), (before.clone(), 0));
        algo.train().unwrap();
        assert_eq!(weights(&algo, "b") != before, learns);
    }
}

#[test]
fn a_policy_in_reserve_has_the_spaces_of_its_spec() {
    scripted::game("test/Unequal-v0", &[("a", 1), ("b", 2)], |t, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        out.observe(1)?.write_f32(&[0.0, 1.0])?;
        if t == 5 {
            out.terminate_all();
        }
        Ok(())
    });
    let config = config()
        .environment("test/Unequal-v0")
        .multi_agent(|m| m.policies(["a", "b", "later"]).policy_mapping(PolicyMapping::ByAgent));
    refused(&config, &["no agent plays with module `later`", "`rl_module_specs`"]);
    let spec = RLModuleSpec::default()
        .observation_space(Space::unbounded(&[2]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    let specs = MultiRLModuleSpec::new([("later", spec.clone())]);
    let mut algo =
        config.clone().multi_agent(|m| m.rl_module_specs(specs)).build(&device()).unwrap();
    algo.train().unwrap();
    let found = algo.module("later").unwrap().spec().get_observation_space().cloned();
    assert_eq!(found, Some(Space::unbounded(&[2]).unwrap()));
    // An agent can be mapped to the spare module, which replaces its former one.
    let table = |b: &str| [("a", "a"), ("b", b)].map(|(agent, id)| (agent.into(), id.into()));
    algo.set_policy_mapping(PolicyMapping::Table(table("later").into())).unwrap();
    let result = algo.train().unwrap();
    let result = match result.get("env_runners/num_module_steps_sampled/later") {
        // Agents keep their module until the end of the episode they are in.
        None => algo.train().unwrap(),
        Some(_) => result,
    };
    assert!(result.get("env_runners/num_module_steps_sampled/later").unwrap() > 0.0);
}

/// Two agents with observations of different widths, and a policy in reserve for the first width.
fn unequal(id: &'static str) -> PpoConfig {
    scripted::game(id, &[("a", 1), ("b", 2)], |t, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        out.observe(1)?.write_f32(&[0.0, 1.0])?;
        if t == 5 {
            out.terminate_all();
        }
        Ok(())
    });
    let spec = RLModuleSpec::default()
        .observation_space(Space::unbounded(&[1]).unwrap())
        .action_space(Space::discrete(2).unwrap());
    let specs = MultiRLModuleSpec::new([("later", spec)]);
    config()
        .environment(id)
        .env_runners(|e| e.env_to_module_connector(ConnectorConfig::mean_std_filter()))
        .multi_agent(|m| m.policies(["a", "b", "later"]).policy_mapping(PolicyMapping::ByAgent))
        .multi_agent(|m| m.rl_module_specs(specs))
}

#[test]
fn a_mapping_that_does_not_fit_leaves_everything_as_it_is() {
    let mut algo = unequal("test/Misfit-v0").build(&device()).unwrap();
    algo.train().unwrap();
    let before = algo.get_state().unwrap();
    let table = |a: &str, b: &str| {
        let pairs = [("a", a), ("b", b)].map(|(agent, id)| (agent.into(), id.into()));
        PolicyMapping::Table(pairs.into())
    };
    for (mapping, parts) in [
        (table("a", "later"), ["`later`", "observation space"]),
        (table("b", "a"), ["[b]", "observation space"]),
        (table("a", "nobody"), ["`nobody`", "agent `b`"]),
    ] {
        let error = algo.set_policy_mapping(mapping.clone()).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
        assert_eq!(algo.get_state().unwrap(), before);
        algo.remove_module("a", Some(mapping)).unwrap_err();
        assert_eq!(algo.get_state().unwrap(), before);
    }
    let width = |n| Space::unbounded(&[n]).unwrap();
    let spec = RLModuleSpec::default().observation_space(width(3));
    let spec = spec.action_space(Space::discrete(2).unwrap());
    let module = spec.build(&device()).unwrap();
    algo.add_module("wide", module, Some(table("a", "wide")), None).unwrap_err();
    assert_eq!(algo.get_state().unwrap(), before);
    // Training goes on as if nothing had happened.
    let mut other = unequal("test/MisfitToo-v0").build(&device()).unwrap();
    other.train().unwrap();
    algo.train().unwrap();
    other.train().unwrap();
    for id in ["a", "b"] {
        assert_eq!(weights(&algo, id), weights(&other, id));
    }
}

#[test]
fn a_batch_of_agent_steps_ends_where_nobody_acts() {
    scripted::game("test/Idle-v0", &[("a", 1)], |t, out| {
        if t == 3 {
            out.terminate_all();
        }
        Ok(())
    });
    let mut algo = PpoConfig::new()
        .environment("test/Idle-v0")
        .multi_agent(|m| m.count_steps_by(CountStepsBy::AgentSteps))
        .training(|t| t.train_batch_size(20).minibatch_size(None).num_epochs(1))
        .seed(0)
        .build(&device())
        .unwrap();
    for iteration in 1..=2 {
        let result = algo.train().unwrap();
        assert_eq!(result.get("env_runners/num_env_steps_sampled"), Some(20.0));
        let skipped = result.get("learners/__all_modules__/num_updates_without_rows_lifetime");
        assert_eq!(skipped, Some(f64::from(iteration)));
    }
}

#[test]
fn a_module_that_cannot_be_removed_leaves_everything_as_it_is() {
    let mut algo = cartpoles().build(&device()).unwrap();
    algo.train().unwrap();
    let before = algo.get_state().unwrap();
    algo.remove_module("0", None).unwrap_err();
    assert_eq!(algo.get_state().unwrap(), before);
    algo.remove_module("7", None).unwrap_err();
    assert_eq!(algo.get_state().unwrap(), before);
    // With a mapping that fits, it goes.
    algo.remove_module("0", Some(PolicyMapping::All("1".into()))).unwrap();
    algo.train().unwrap();
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() {
    let config = config().env_runners(|e| e.num_env_runners(2));
    let mut source = config.build(&device()).unwrap();
    source.train().unwrap();
    let state = source.get_state().unwrap();
    let mut target = config.seed(99).build(&device()).unwrap();
    target.train().unwrap();
    let before = target.get_state().unwrap();
    // The last part that is read is damaged.
    let mut damaged = state.clone();
    let runners = damaged.components.get_mut("env_runners").unwrap();
    runners.components.get_mut("runner_1").unwrap().data = json!({"surprise": 1});
    let runners = runners.clone();
    target.set_state(&damaged).unwrap_err();
    assert_eq!(target.get_state().unwrap(), before);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runners");
    rekindle::checkpoint::write(&path, &runners).unwrap();
    target.restore_component(&path, "env_runners").unwrap_err();
    assert_eq!(target.get_state().unwrap(), before);
    target.set_state(&state).unwrap();
    assert_eq!(target.get_state().unwrap().components, state.components);
}

#[test]
fn a_restored_mapping_is_that_of_evaluation_too() {
    let mut source = cartpoles().build(&device()).unwrap();
    source.set_policy_mapping(PolicyMapping::All("1".into())).unwrap();
    let mut target = cartpoles().build(&device()).unwrap();
    target.set_state(&source.get_state().unwrap()).unwrap();
    let evaluation = target.evaluate().unwrap();
    let played = |id| evaluation.metrics.get(&format!("env_runners/num_module_steps_sampled/{id}"));
    assert!(played("1").is_some_and(|steps| steps > 0.0));
    assert!(played("0").is_none_or(|steps| steps == 0.0));
    assert_eq!(target.config(), source.config());
}

#[test]
fn an_update_ends_early_once_the_policy_has_moved_too_far() {
    let run = |target_kl: Option<f64>| {
        let config = config().training(|t| t.lr(1e-2).num_epochs(10).target_kl(target_kl));
        let mut algo = config.build(&device()).unwrap();
        let result = algo.train().unwrap();
        let of = |key| result.get(&format!("learners/default_policy/{key}"));
        let (stops, trained) =
            (of("num_early_stops_lifetime"), of("num_module_steps_trained_lifetime"));
        (stops, trained.unwrap_or_default(), weights(&algo, "default_policy"))
    };
    let (stops, trained, free) = run(None);
    assert_eq!((stops, trained), (None, 2000.0));
    let (stops, trained, bounded) = run(Some(1e-3));
    assert_eq!(stops, Some(1.0));
    assert!(trained > 0.0 && trained < 2000.0, "{trained}");
    assert_ne!(bounded, free);
    // A bound that is never reached changes nothing.
    assert_eq!(run(Some(1e9)), (None, 2000.0, free));
}

#[test]
fn a_batch_counts_the_steps_of_agents_if_asked() {
    // Two agents act in every step.
    scripted::game("test/Pair-v0", &[("a", 1), ("b", 1)], |t, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        out.observe(1)?.write_f32(&[0.0])?;
        if t == 7 {
            out.terminate_all();
        }
        Ok(())
    });
    let config = PpoConfig::new()
        .environment("test/Pair-v0")
        .multi_agent(|m| m.policies(["p"]).policy_mapping(PolicyMapping::All("p".into())))
        .training(|t| t.train_batch_size(60).minibatch_size(None).num_epochs(1))
        .seed(0);
    let steps = |config: PpoConfig| {
        let result = config.build(&device()).unwrap().train().unwrap();
        ["num_env_steps_sampled", "num_module_steps_sampled/p"]
            .map(|key| result.get(&format!("env_runners/{key}")).unwrap())
    };
    assert_eq!(steps(config.clone()), [60.0, 120.0]);
    let by_agents = config.multi_agent(|m| m.count_steps_by(CountStepsBy::AgentSteps));
    assert_eq!(steps(by_agents.clone()), [30.0, 60.0]);
    let complete = by_agents.env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes));
    assert_eq!(steps(complete.clone()), [35.0, 70.0]);
    let json = serde_json::to_string(&complete).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), complete);
}

#[test]
fn settings_of_actions_and_exploration_have_setters() {
    let config = config().clip_actions(true).normalize_actions(false);
    assert!(config.environment.clip_actions && !config.environment.normalize_actions);
    let config = config.env_runners(|e| e.explore(false));
    assert!(!config.env_runners.explore);
}

/// Every field of the settings, once, with its default.
#[test]
fn defaults_are_those_of_the_declarations() {
    let json = serde_json::to_value(PpoConfig::new()).unwrap();
    let defaults: BTreeMap<&str, serde_json::Value> = [
        ("/training/lr", json!(5e-5)),
        ("/training/minibatch_size", json!(128)),
        ("/training/vf_clip_param", json!(10.0)),
        ("/env_runners/rollout_fragment_length", json!("auto")),
        ("/env_runners/batch_mode", json!("truncate_episodes")),
        ("/evaluation/evaluation_duration", json!(10)),
        ("/evaluation/evaluation_config/num_envs_per_env_runner", json!(10)),
        ("/reporting/metrics_num_episodes_for_smoothing", json!(100)),
        ("/environment/normalize_actions", json!(true)),
    ]
    .into();
    for (pointer, value) in defaults {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
    let infinite = PpoConfig::new().training(|t| t.vf_clip_param(f64::INFINITY));
    let json = serde_json::to_string(&infinite).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), infinite);
}
