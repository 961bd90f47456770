//! Evaluation: exact amounts, its own settings, in parallel with training.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::counter::counting;
use crate::scripted::{self, Script};
use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::EvaluationOverrides;
use rekindle::env::{BoxSpace, Discrete};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// On an environment whose episodes differ in length and with connectors that learn.
fn cartpole() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| {
            e.num_envs_per_env_runner(4).env_to_module_connector(ConnectorConfig::mean_std_filter())
        })
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(200).minibatch_size(50).num_epochs(2).lr(1e-2))
        .evaluation(|e| e.evaluation_num_env_runners(2).evaluation_duration(7))
        .seed(3)
}

#[test]
fn exactly_the_episodes_asked_for_over_several_runners() {
    let mut algo = cartpole().build(&device()).unwrap();
    let evaluation = algo.evaluate().unwrap();
    assert_eq!(evaluation.returns.len(), 7);
    let metrics = &evaluation.metrics;
    assert_eq!(metrics.get("env_runners/num_episodes"), Some(7.0));
    for (key, value) in [
        ("episode_return_mean", evaluation.mean_return()),
        ("episode_return_min", evaluation.min_return()),
        ("episode_return_max", evaluation.max_return()),
        ("episode_len_mean", evaluation.mean_length()),
    ] {
        let reported = metrics.get(&format!("env_runners/{key}")).unwrap();
        assert!((reported - value).abs() < 1e-9, "{key}: {reported}, not {value}");
    }
    // The next evaluation reports only its own episodes, except for lifetime metrics.
    let second = algo.evaluate().unwrap();
    assert_eq!(second.metrics.get("env_runners/num_episodes"), Some(7.0));
    assert_eq!(second.metrics.get("env_runners/num_episodes_lifetime"), Some(14.0));
    assert!(
        (second.metrics.get("env_runners/episode_return_mean").unwrap() - second.mean_return())
            .abs()
            < 1e-9
    );
}

#[test]
fn timesteps_round_up_to_the_vectors_and_begin_anew_if_asked() {
    let config = cartpole().evaluation(|e| {
        e.evaluation_duration(25)
            .evaluation_duration_unit(DurationUnit::Timesteps)
            .evaluation_config(|o| o.num_envs_per_env_runner(4))
    });
    let evaluation = config.build(&device()).unwrap().evaluate().unwrap();
    // 13 and 12 steps of four environments.
    let steps = evaluation.metrics.get("env_runners/num_env_steps_sampled");
    assert_eq!(steps, Some(16.0 + 12.0));

    for (resets, returns) in [(true, vec![]), (false, vec![6.0])] {
        let config = counting().evaluation(|e| {
            e.evaluation_duration(2)
                .evaluation_duration_unit(DurationUnit::Timesteps)
                .evaluation_force_reset_envs_before_iteration(resets)
        });
        let mut algo = config.build(&device()).unwrap();
        assert!(algo.evaluate().unwrap().returns.is_empty());
        assert_eq!(algo.evaluate().unwrap().returns, returns);
    }
}

#[test]
fn evaluation_reports_all_that_training_reports_of_runners() {
    let config = cartpole().evaluation(|e| e.evaluation_interval(1));
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let result = algo.train().unwrap();
    let names = |prefix: &str| -> BTreeSet<String> {
        let keys = result.iter().filter_map(|(key, _)| key.strip_prefix(prefix));
        keys.map(ToString::to_string).collect()
    };
    assert!(names("env_runners/").contains("episode_return_mean"));
    assert_eq!(names("env_runners/"), names("evaluation/env_runners/"));
    assert!(result.get("timers/evaluation_iteration").is_some());
}

#[test]
fn beside_training_it_finds_what_it_finds_before_it() {
    let beside =
        cartpole().evaluation(|e| e.evaluation_interval(1).evaluation_parallel_to_training(true));
    let mut beside = beside.build(&device()).unwrap();
    let mut before = cartpole().build(&device()).unwrap();
    for _ in 0..3 {
        let expected = before.evaluate().unwrap();
        let trained = before.train().unwrap();
        let result = beside.train().unwrap();
        for key in ["episode_return_mean", "episode_return_min", "episode_len_max"] {
            let key = format!("env_runners/{key}");
            let found = result.get(&format!("evaluation/{key}"));
            assert!(found.is_some());
            assert_eq!(found, expected.metrics.get(&key), "{key}");
            assert_eq!(result.get(&key), trained.get(&key), "{key}");
        }
    }
    let parts = |algo: &Algorithm| {
        let state = algo.get_state().unwrap();
        ["learner", "env_runners", "eval_env_runners"]
            .map(|part| state.component(part).unwrap().clone())
    };
    assert_eq!(parts(&beside), parts(&before));
}

/// Two sides that continue when both have arrived.
#[derive(Clone, Default)]
struct Meeting(Arc<(Mutex<[bool; 2]>, Condvar)>);

impl Meeting {
    fn arrive(&self, side: usize) -> CallbackResult {
        let (sides, changed) = &*self.0;
        let mut sides = sides.lock().unwrap();
        sides[side] = true;
        changed.notify_all();
        let wait = Duration::from_secs(60);
        let (guard, outcome) =
            changed.wait_timeout_while(sides, wait, |sides| !(sides[0] && sides[1])).unwrap();
        drop(guard);
        if outcome.timed_out() { Err("the other side never came".into()) } else { Ok(()) }
    }
}

impl Callbacks for Meeting {
    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        if event.in_evaluation { self.arrive(0) } else { Ok(()) }
    }

    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        if event.in_evaluation { Ok(()) } else { self.arrive(1) }
    }
}

#[test]
fn beside_training_both_are_under_way_at_the_same_time() {
    let config = cartpole()
        .evaluation(|e| e.evaluation_interval(1).evaluation_parallel_to_training(true))
        .callbacks(Meeting::default());
    config.build(&device()).unwrap().train().unwrap();
}

#[test]
fn settings_of_its_own_stay_its_own() {
    let length = |n: i64| EnvConfig::new().with("length", n);
    let config = counting().env_config(length(3)).evaluation(|e| {
        e.evaluation_interval(1)
            .evaluation_duration(3)
            .evaluation_config(|o| o.env_config(length(5)).explore(true))
    });
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config);
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    assert_eq!(result.get("env_runners/episode_len_mean"), Some(3.0));
    assert_eq!(result.get("evaluation/env_runners/episode_len_mean"), Some(5.0));
    // Evaluation keeps its settings when the training environments change.
    algo.set_env_config(&length(4)).unwrap();
    let result = algo.train().unwrap();
    assert_eq!(result.get("env_runners/episode_len_max"), Some(4.0));
    assert_eq!(result.get("evaluation/env_runners/episode_len_mean"), Some(5.0));
    // Without its own settings, evaluation follows training, also after a restore.
    let config = counting().env_config(length(3));
    let mut algo = config.build(&device()).unwrap();
    assert_eq!(algo.evaluate().unwrap().lengths, [3; 10]);
    algo.set_env_config(&length(6)).unwrap();
    assert_eq!(algo.evaluate().unwrap().lengths, [6; 10]);
    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("six")).unwrap();
    let load = |f: fn(PpoConfig) -> PpoConfig| {
        let path = folder.path().join("six");
        Algorithm::from_checkpoint_with::<PpoTraining>(path, &device(), f).unwrap()
    };
    let mut resumed = load(|config| config);
    assert_eq!(resumed.evaluate().unwrap(), algo.evaluate().unwrap());
    for algo in [&mut algo, &mut resumed] {
        algo.train().unwrap();
    }
    let runners = |algo: &Algorithm| algo.get_state().unwrap().components["env_runners"].clone();
    assert_eq!(runners(&algo), runners(&resumed));
    let mut elsewhere = load(|c| c.env_config(EnvConfig::new().with("length", 2)));
    assert_eq!(elsewhere.evaluate().unwrap().lengths, [2; 10]);
    let mut fresh = config.build(&device()).unwrap();
    fresh.restore_from_path(folder.path().join("six")).unwrap();
    assert_eq!(fresh.evaluate().unwrap().lengths, [6; 10]);
}

/// Records which modules act in evaluation.
#[derive(Clone, Default)]
struct Players(Arc<Mutex<BTreeSet<String>>>);

impl Callbacks for Players {
    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        if event.in_evaluation {
            let modules = event.agents.iter().filter_map(|agent| agent.module);
            self.0.lock().unwrap().extend(modules.map(String::from));
        }
        Ok(())
    }
}

#[test]
fn evaluation_keeps_its_mapping_when_policies_change_and_runners_are_restored() {
    let players = Players::default();
    let seen = || std::mem::take(&mut *players.0.lock().unwrap());
    let only = |id: &str| BTreeSet::from([id.to_string()]);
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(50).minibatch_size(None).num_epochs(1))
        .evaluation(|e| {
            e.evaluation_duration(3)
                .evaluation_config(|o| o.policy_mapping(PolicyMapping::All("1".into())))
        })
        .callbacks(players.clone())
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    algo.evaluate().unwrap();
    assert_eq!(seen(), only("1"));

    let copy = algo.module("0").unwrap().clone();
    algo.add_module("copy", copy, Some(PolicyMapping::All("copy".into())), None).unwrap();
    algo.evaluate().unwrap();
    assert_eq!(seen(), only("1"));

    let folder = tempfile::tempdir().unwrap();
    algo.save_to_path(folder.path().join("algo")).unwrap();
    let mut restored = Algorithm::from_checkpoint_with::<PpoTraining>(
        folder.path().join("algo"),
        &device(),
        |config| config.callbacks(players.clone()),
    )
    .unwrap();
    restored.evaluate().unwrap();
    assert_eq!(seen(), only("1"));

    // A module that evaluation uses cannot be removed.
    let message = algo.remove_module("1", None).unwrap_err().to_string();
    assert!(message.contains("evaluation maps agents to module `1`"), "{message}");
    algo.train().unwrap();
}

#[test]
fn evaluation_elsewhere_needs_the_same_spaces_and_modules_that_there_are() {
    let interval = |c: PpoConfig| c.evaluation(|e| e.evaluation_interval(1));
    let elsewhere = |env: &str| {
        let env = env.to_string();
        cartpole().evaluation(|e| e.evaluation_config(|o| o.env(env)))
    };
    let message = interval(elsewhere("Pendulum-v1")).build(&device()).unwrap_err().to_string();
    assert!(
        message.contains("in evaluation, module `default_policy` would have the observation space"),
        "{message}"
    );

    let wide = EnvConfig::new().with("wide", true);
    let mut algo = counting().build(&device()).unwrap();
    let message = algo.set_env_config(&wide).unwrap_err().to_string();
    assert!(message.contains("action space") && message.contains("test/Counter-v0"), "{message}");
    assert_eq!(algo.env_config(), &EnvConfig::new());
    algo.train().unwrap();
}

#[test]
fn a_custom_function_evaluates_instead() {
    let config = counting().evaluation(|e| {
        e.evaluation_interval(1).custom_evaluation_function(|algorithm, runners| {
            let mut metrics = Vec::new();
            for length in [2, 4] {
                runners.set_env_config(&EnvConfig::new().with("length", length))?;
                let played = runners.sample_episodes(2, SampleOptions::greedy())?;
                let mean = Evaluation::of(&played).mean_return();
                metrics.push((format!("mean_return_of_{length}"), mean));
            }
            metrics.push(("iteration".into(), algorithm.iteration() as f64));
            Ok(Evaluation::from_metrics(metrics))
        })
    });
    let result = config.build(&device()).unwrap().train().unwrap();
    for (key, value) in [
        ("evaluation/mean_return_of_2", 3.0),
        ("evaluation/mean_return_of_4", 10.0),
        ("evaluation/iteration", 1.0),
        ("evaluation/env_runners/num_episodes", 4.0),
    ] {
        assert_eq!(result.get(key), Some(value), "{key}");
    }
    let parallel = config.evaluation(|e| e.evaluation_parallel_to_training(true));
    let message = parallel.build(&device()).unwrap_err().to_string();
    assert!(message.contains("`evaluation_parallel_to_training` is true"), "{message}");

    let failing = counting().evaluation(|e| e.custom_evaluation_function(|_, _| Err("no".into())));
    let message = failing.build(&device()).unwrap().evaluate().unwrap_err().to_string();
    assert_eq!(message, "the callback `custom_evaluation_function` failed: no");
}

/// Ends its episodes after three steps.
const THREE_STEPS: Script = |t, _, mut observation| {
    observation.write_f32(&[0.0])?;
    Ok(Step { reward: 1.0, terminated: t == 3, truncated: false })
};

#[test]
fn a_module_is_evaluated_in_its_own_spaces_only() {
    let one = || Space::unbounded(&[1]).unwrap();
    let two = || Space::discrete(2).unwrap();
    let from = |start| Space::Discrete(Discrete::with_start(2, start).unwrap());
    let boxed = |bound: f32| Space::boxed(-bound, bound, &[1]).unwrap();
    let pair = Space::Box(BoxSpace::unbounded(&[2]).unwrap());
    let cases = [
        ("test/Five-v0", [one(), Space::discrete(5).unwrap()], two(), "action space"),
        ("test/FromSeven-v0", [one(), from(7)], two(), "action space"),
        ("test/Wide-v0", [one(), boxed(100.0)], boxed(1.0), "action space"),
        ("test/Pairs-v0", [pair, two()], two(), "observation space"),
    ];
    for (id, spaces, actions, field) in cases {
        scripted::env(id, spaces.clone(), THREE_STEPS);
        let spec = RLModuleSpec::default().observation_space(one()).action_space(actions.clone());
        let module = spec.build(&device()).unwrap();
        let runner = EnvRunnerConfig::new(id);
        let found = evaluate(&module, &runner, 1, SampleOptions::greedy(), &device());
        let message = found.unwrap_err().to_string();
        let (expected, found) = match field {
            "action space" => (spaces[1].to_string(), actions.to_string()),
            _ => (spaces[0].to_string(), one().to_string()),
        };
        let start = format!("module `default_policy` was built for the {field} {found}");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains(&format!("`{id}`")) && message.contains(&expected), "{message}");
        // The same holds for a deployable policy, and for a module that is to be trained there.
        let config = BundleConfig::new(one(), actions);
        let policy = PolicyBundle::new(module.clone(), config, &device()).unwrap();
        let found = evaluate_policy(&policy, &runner, 1, SampleOptions::greedy(), &device());
        assert!(found.unwrap_err().to_string().starts_with(&start));
        let config = PpoConfig::new().environment(id).rl_module(module.spec().clone());
        assert!(config.build(&device()).unwrap_err().to_string().contains(&start));
    }
}

/// Chooses 1 where its observation is positive.
#[derive(Module, Debug)]
struct Sign {
    bias: burn::module::Param<Tensor<1>>,
}

impl RLModule for Sign {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let zero = Tensor::zeros([1], cx.device());
        Ok(Self { bias: burn::module::Param::from_tensor(zero) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let seen = batch.float::<2>(Columns::OBS)?.squeeze_dim::<1>(1) + self.bias.val();
        Ok(Batch::new().with(Columns::ACTIONS, seen.greater_elem(0.1).int()))
    }
}

#[test]
fn a_policy_is_evaluated_with_what_its_filter_has_learned() {
    // Observes 1 and 9 in turns, or always 9. A filter without statistics maps 9 to 0.
    let spaces = [Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap()];
    scripted::env("test/ByTurns-v0", spaces.clone(), |t, _, mut observation| {
        observation.write_f32(&[if t % 2 == 0 { 1.0 } else { 9.0 }])?;
        Ok(Step { reward: 0.0, terminated: t == 10, truncated: false })
    });
    scripted::env("test/AlwaysHigh-v0", spaces.clone(), |t, action, mut observation| {
        observation.write_f32(&[9.0])?;
        let reward = action.map_or(Ok(0), Row::as_discrete)? as f64;
        Ok(Step { reward, terminated: t == 10, truncated: false })
    });
    let [observations, actions] = spaces;
    let module = RLModuleSpec::of::<Sign>()
        .observation_space(observations)
        .action_space(actions)
        .build(&device())
        .unwrap();
    let with_filter =
        |id: &str| EnvRunnerConfig::new(id).env_to_module(vec![ConnectorConfig::mean_std_filter()]);
    let mut runners =
        EnvRunnerGroup::new(&with_filter("test/ByTurns-v0"), 1, 1, &device()).unwrap();
    runners.set_modules(&module.as_multi_rl_module().unwrap(), PublishedAt::default()).unwrap();
    runners.sample(Amount::Timesteps(100), SampleOptions::greedy()).unwrap();
    let policy = runners.policy_bundle_of(DEFAULT_MODULE_ID).unwrap();
    let learned = policy.connector_state().unwrap();

    let there = with_filter("test/AlwaysHigh-v0");
    let (greedy, device) = (SampleOptions::greedy(), device());
    let fresh = evaluate(&module, &there, 2, greedy, &device).unwrap();
    assert_eq!(fresh.returns, [0.0, 0.0]);
    // The connectors come from the policy, regardless of the configuration.
    for config in [there, EnvRunnerConfig::new("test/AlwaysHigh-v0")] {
        let found = evaluate_policy(&policy, &config, 2, greedy, &device).unwrap();
        assert_eq!(found.returns, [10.0, 10.0]);
    }
    assert_eq!(policy.connector_state().unwrap(), learned);
}

#[test]
fn an_evaluation_that_never_ends_is_ended_by_its_time_limit() {
    let spaces = [Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap()];
    scripted::env("test/Endless-v0", spaces, |t, _, mut observation| {
        observation.write_f32(&[0.0])?;
        // The episode ends after a while, so that no thread outlives the test for long.
        Ok(Step { reward: 1.0, terminated: t == 2_000_000, truncated: false })
    });
    let config = PpoConfig::new()
        .environment("test/Endless-v0")
        .training(|t| t.train_batch_size(5).minibatch_size(None).num_epochs(1))
        .evaluation(|e| e.evaluation_duration(3).evaluation_sample_timeout_s(0.3));
    let mut algo = config.build(&device()).unwrap();
    for _ in 0..2 {
        let message = algo.evaluate().unwrap_err().to_string();
        assert!(message.contains("within 0.3 s (`evaluation_sample_timeout_s`)"), "{message}");
        assert!(message.contains("0 of 3 episodes"), "{message}");
        algo.train().unwrap();
    }
    let custom = config.evaluation(|e| e.custom_evaluation_function(|_, _| Err("no".into())));
    let message = custom.build(&device()).unwrap_err().to_string();
    assert!(message.contains("`evaluation_sample_timeout_s` is 0.3"), "{message}");
}

/// Keeps the number of steps in each result.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<Option<f64>>>>);

impl Sink for Steps {
    fn write(&mut self, _: u64, metrics: &Metrics) -> rekindle::metrics::Result<()> {
        self.0.lock().unwrap().push(metrics.get("env_runners/num_env_steps_sampled"));
        Ok(())
    }

    fn flush(&mut self) -> rekindle::metrics::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failed_evaluation_costs_neither_the_result_of_training_nor_the_next_one() {
    let fails = Arc::new(Mutex::new(true));
    let of_function = fails.clone();
    let config = counting().evaluation(|e| {
        e.evaluation_interval(1).custom_evaluation_function(move |_, runners| {
            match *of_function.lock().unwrap() {
                true => Err("no evaluation".into()),
                false => {
                    let experience = runners.sample_episodes(1, SampleOptions::default())?;
                    Ok(Evaluation::of(&experience))
                }
            }
        })
    });
    let steps = Steps::default();
    let mut algo = config.build(&device()).unwrap().with_sink(steps.clone());
    let message = algo.train().unwrap_err().to_string();
    assert!(message.contains("no evaluation"), "{message}");
    assert_eq!(*steps.0.lock().unwrap(), [Some(5.0)], "the sink has the result of training");
    *fails.lock().unwrap() = false;
    let result = algo.train().unwrap();
    assert_eq!(result.get("env_runners/num_env_steps_sampled"), Some(5.0));
    assert_eq!(result.get("training_iteration"), Some(2.0));
    assert!(result.get("evaluation/env_runners/episode_return_mean").is_some());
}

#[test]
fn settings_that_change_during_an_evaluation_apply_to_the_next_one() {
    let longer = EnvConfig::new().with("length", 4);
    let of_function = longer.clone();
    let config = counting().evaluation(|e| {
        e.custom_evaluation_function(move |algo, runners| {
            let experience = runners.sample_episodes(1, SampleOptions::default())?;
            algo.set_env_config(&of_function)?;
            Ok(Evaluation::of(&experience))
        })
    });
    let mut algo = config.build(&device()).unwrap();
    // 1 + 2 + 3, and then 4 more.
    assert_eq!(algo.evaluate().unwrap().returns, [6.0]);
    assert_eq!(algo.env_config(), &longer);
    assert_eq!(algo.evaluate().unwrap().returns, [10.0]);
}

/// A policy with a column more from the fourth step on, which no record can hold.
#[derive(Module, Debug)]
struct Late {
    network: Mlp,
}

impl RLModule for Late {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { network: cx.mlp(1, &[], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.network.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        _: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let seen = batch.float::<2>(Columns::OBS)?;
        let is_late = seen.clone().max().into_scalar::<f32>() > 2.5;
        let outputs = self.forward_train(batch)?;
        Ok(if is_late { outputs.with("late", seen) } else { outputs })
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for Late {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(batch.float::<2>(Columns::OBS)?.squeeze_dim(1))
    }
}

#[test]
fn evaluation_records_nothing_of_what_it_plays() {
    let spaces = [Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap()];
    scripted::env("test/Counts-v0", spaces.clone(), |t, _, mut observation| {
        observation.write_f32(&[t as f32])?;
        Ok(Step { reward: 1.0, terminated: t == 6, truncated: false })
    });
    let [observations, actions] = spaces;
    let spec = RLModuleSpec::of::<Late>().observation_space(observations).action_space(actions);
    let module = spec.build(&device()).unwrap();
    let runner = EnvRunnerConfig::new("test/Counts-v0");
    let explore = SampleOptions::default();
    let evaluation = evaluate(&module, &runner, 2, explore, &device()).unwrap();
    assert_eq!(evaluation.returns, [6.0; 2]);

    let config = PpoConfig::new()
        .environment("test/Counts-v0")
        .rl_module(spec)
        .training(|t| t.train_batch_size(12).minibatch_size(None).num_epochs(1))
        .evaluation(|e| e.evaluation_duration(2).evaluation_config(|o| o.explore(true)));
    let mut algo = config.build(&device()).unwrap();
    assert_eq!(algo.evaluate().unwrap().returns, [6.0; 2]);
    // Training records, and finds the column.
    assert!(algo.train().unwrap_err().to_string().contains("`late`"));
}

#[test]
fn an_evaluation_elsewhere_that_is_not_due_during_training_is_checked_at_build() {
    let refused = |overrides: fn(EvaluationOverrides) -> EvaluationOverrides| {
        let config = cartpole().evaluation(|e| e.evaluation_config(overrides));
        config.build(&device()).unwrap_err().to_string()
    };
    let message = refused(|o| o.env("CartPole-v9"));
    assert!(message.contains("CartPole-v9") && message.contains("CartPole-v1"), "{message}");
    let message = refused(|o| o.env_config(EnvConfig::new().with("gravty", 9.8)));
    assert!(message.contains("gravty"), "{message}");
    let message = refused(|o| o.env("Acrobot-v1"));
    assert!(message.contains("spaces") || message.contains("space"), "{message}");
    let message = refused(|o| o.env("MultiAgentCartPole-v1"));
    assert!(message.contains("MultiAgentCartPole-v1"), "{message}");

    let mapped = |id: &str| {
        PpoConfig::new()
            .environment("MultiAgentCartPole-v1")
            .env_config(EnvConfig::new().with("num_agents", 2))
            .multi_agent(|m| m.policy_mapping(PolicyMapping::All("a".into())))
            .evaluation(|e| {
                e.evaluation_config(|o| o.policy_mapping(PolicyMapping::All(id.into())))
            })
            .build(&device())
    };
    let message = mapped("c").unwrap_err().to_string();
    assert!(message.contains("`c`"), "{message}");
    // Nothing is kept: the first evaluation begins as without the check.
    let config = cartpole().evaluation(|e| e.evaluation_config(|o| o.env("CartPole-v1")));
    let other = config.build(&device()).unwrap().evaluate().unwrap();
    assert_eq!(other, cartpole().build(&device()).unwrap().evaluate().unwrap());
}
