//! Hooks: their order, their arguments, and that they change nothing by themselves.

use crate::counter::counting;
use crate::trace::Trace;
use burn::prelude::*;
use rekindle::algorithms::{AsyncGradients, Asynchronous};
use rekindle::prelude::*;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

#[test]
fn hooks_of_one_agent_come_in_order_with_their_arguments() {
    let trace = Trace::default();
    let config = counting()
        .env_config(EnvConfig::new().with("length", 3))
        .evaluation(|e| e.evaluation_interval(2).evaluation_duration(1))
        .callbacks(trace.clone());
    let mut algo = config.build(&device()).unwrap();
    let built = [
        r#"environment_created 0: 1 {"length":3}"#,
        r#"eval environment_created 0: 1 {"length":3}"#,
        "algorithm_init PPO",
    ];
    assert_eq!(trace.take(), built);

    let of = "/default_policy acted";
    let begins = |episode| {
        [
            format!("episode_created 0/0/{episode} at 0: 0"),
            format!("episode_start 0/0/{episode} at 0: 0, {of} false for 0 sees [0.0]"),
        ]
    };
    let step = |episode, step, sum, end: &str| {
        format!("0/0/{episode} at {step}: {sum}, {of} true for {step} sees [{step}.0]{end}")
    };
    let steps = |episode| {
        [(1, 1), (2, 3)].map(|(t, sum)| format!("episode_step {}", step(episode, t, sum, "")))
    };
    let last = |episode| {
        let text = step(episode, 3, 6, " terminated");
        [format!("episode_step {text}"), format!("episode_end {text}")]
    };

    algo.train().unwrap();
    let mut expected: Vec<String> = Vec::new();
    expected.extend(begins(0));
    expected.extend(steps(0));
    expected.extend(last(0));
    expected.extend(begins(1));
    expected.extend(steps(1));
    expected.extend(["sample_end 0: 5", "train_result Some(1.0)"].map(String::from));
    assert_eq!(trace.take(), expected);

    // The episode continues, and the evaluation reports the one episode that counts.
    algo.train().unwrap();
    let mut expected: Vec<String> = Vec::new();
    expected.extend(last(1));
    expected.extend(begins(2));
    expected.extend(steps(2));
    expected.extend(last(2));
    expected.extend(begins(3));
    expected.push(format!("episode_step {}", step(3, 1, 1, "")));
    expected.extend(["sample_end 0: 5", "evaluate_start 2"].map(String::from));
    let evaluated = begins(0).into_iter().chain(steps(0)).chain(last(0));
    expected.extend(evaluated.map(|line| format!("eval {line}")));
    let end = ["eval sample_end 0: 3", "evaluate_end Some(6.0)", "train_result Some(2.0)"];
    expected.extend(end.map(String::from));
    assert_eq!(trace.take(), expected);
}

#[test]
fn hooks_of_several_agents_know_agents_modules_actions_and_rewards() {
    let trace = Trace::default();
    let roles = [("player1", "a"), ("player2", "b")].map(|(a, m)| (a.into(), m.into()));
    let config = PpoConfig::new()
        .environment("RockPaperScissors-v0")
        .env_config(EnvConfig::new().with("num_rounds", 2))
        .multi_agent(|m| m.policy_mapping(PolicyMapping::Table(roles.into())))
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(2).minibatch_size(None).num_epochs(1))
        .callbacks(trace.clone())
        .seed(0);
    config.build(&device()).unwrap().train().unwrap();
    let lines = trace.take();
    assert_eq!(lines[2], "episode_created 0/0/0 at 0: 0");
    let start = "episode_start 0/0/0 at 0: 0, player1/nobody acted false for 0 sees 3, \
                 player2/nobody acted false for 0 sees 3";
    assert_eq!(lines[3], start);
    for (line, begin) in [
        (&lines[4], "episode_step 0/0/0 at 1: 0, "),
        (&lines[5], "episode_step 0/0/0 at 2: 0, "),
        (&lines[6], "episode_end 0/0/0 at 2: 0, "),
    ] {
        assert!(line.starts_with(begin), "{line}");
        assert!(
            line.contains("player1/a acted true for ") && line.contains("player2/b acted true")
        );
    }
    assert!(lines[5].ends_with(" terminated") && lines[6].ends_with(" terminated"));
    assert_eq!(lines[5].replace("episode_step", "episode_end"), lines[6]);
    assert_eq!(lines[7], "episode_created 0/0/1 at 0: 0");
    assert_eq!(lines[9..], ["sample_end 0: 2", "train_result Some(1.0)"]);
}

/// Checks the returns of agents that end at different times.
struct SumOfReturns;

impl Callbacks for SumOfReturns {
    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        let sum: f64 = event.agents.iter().map(|agent| agent.episode_return).sum();
        if event.agents.len() != 3 || event.agents_of("2").count() != 1 {
            return Err(format!("{:?}", event.agents).into());
        }
        let missing = event.episode_return - sum;
        Ok(event.metrics.log_value("missing", missing.abs(), Reducer::Sum { window: None })?)
    }
}

#[test]
fn at_the_end_of_an_episode_agents_that_ended_before_are_there() {
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 3))
        .multi_agent(|m| m.policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(200).minibatch_size(None).num_epochs(1))
        .callbacks(SumOfReturns)
        .seed(0);
    let result = config.build(&device()).unwrap().train().unwrap();
    assert!(result.get("env_runners/num_episodes").unwrap() > 1.0);
    assert_eq!(result.get("env_runners/missing"), Some(0.0));
}

#[test]
fn several_callbacks_are_called_in_the_order_they_were_given() {
    let trace = Trace::default();
    let config = counting().callbacks(trace.named("1 ")).callbacks(trace.named("2 "));
    config.build(&device()).unwrap().train().unwrap();
    let lines = trace.take();
    assert!(lines.len() > 20);
    for pair in lines.chunks(2) {
        assert_eq!((pair[0].strip_prefix("1 "), pair.len()), (pair[1].strip_prefix("2 "), 2));
    }
}

#[test]
fn only_episodes_that_count_are_told_of_and_each_that_began_ends() {
    let trace = Trace::default();
    let config = counting()
        .env_config(EnvConfig::new().with("length", 4))
        .evaluation(|e| {
            e.evaluation_duration(7)
                .evaluation_num_env_runners(2)
                .evaluation_config(|o| o.num_envs_per_env_runner(3))
        })
        .callbacks(trace.clone());
    let mut algo = config.build(&device()).unwrap();
    assert_eq!(algo.evaluate().unwrap().returns, [10.0; 7]);
    let lines = trace.take();
    let count = |hook: &str| {
        let begin = format!("eval episode_{hook} ");
        lines.iter().filter(|line| line.starts_with(&begin)).count()
    };
    assert_eq!(["created", "start", "step", "end"].map(count), [7, 7, 28, 7]);
}

/// Logs at every level.
struct Logs;

impl Callbacks for Logs {
    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        Ok(event.metrics.log_value("twice", 2.0 * event.episode_return, Reducer::MEAN)?)
    }

    fn on_evaluate_end(&self, _: &mut Algorithm, metrics: &mut Metrics) -> CallbackResult {
        metrics.insert("extra", 1.0);
        Ok(())
    }

    fn on_train_result(&self, algorithm: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        result.insert("mine", 3.0);
        Ok(algorithm.metrics_logger().log_value("next", 4.0, Reducer::Item)?)
    }
}

#[test]
fn custom_metrics_reach_the_results() {
    let config = counting().evaluation(|e| e.evaluation_interval(1)).callbacks(Logs);
    let mut algo = config.build(&device()).unwrap();
    let result = algo.train().unwrap();
    for (key, value) in [
        ("env_runners/twice", Some(12.0)),
        ("evaluation/env_runners/twice", Some(12.0)),
        ("evaluation/extra", Some(1.0)),
        ("mine", Some(3.0)),
        ("next", None),
    ] {
        assert_eq!(result.get(key), value, "{key}");
    }
    assert_eq!(algo.train().unwrap().get("next"), Some(4.0));
}

/// Fails in one hook.
struct Fails(&'static str);

impl Fails {
    fn at(&self, hook: &str) -> CallbackResult {
        if hook == self.0 { Err("no more".into()) } else { Ok(()) }
    }
}

impl Callbacks for Fails {
    fn on_algorithm_init(&self, _: &mut Algorithm) -> CallbackResult {
        self.at("on_algorithm_init")
    }

    fn on_episode_step(&self, _: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.at("on_episode_step")
    }

    fn on_train_result(&self, _: &mut Algorithm, _: &mut Metrics) -> CallbackResult {
        self.at("on_train_result")
    }
}

#[test]
fn an_error_of_a_callback_is_returned_with_the_name_of_the_hook() {
    for hook in ["on_algorithm_init", "on_episode_step", "on_train_result"] {
        let outcome = counting().callbacks(Fails(hook)).build(&device());
        let error = outcome.and_then(|mut algo| algo.train()).unwrap_err().to_string();
        assert_eq!(error, format!("the callback `{hook}` failed: no more"));
    }
}

/// Panics in the hook that it names.
struct Panics(&'static str);

impl Panics {
    fn at(&self, hook: &str) -> CallbackResult {
        assert!(hook != self.0, "no more");
        Ok(())
    }
}

impl Callbacks for Panics {
    fn on_algorithm_init(&self, _: &mut Algorithm) -> CallbackResult {
        self.at("on_algorithm_init")
    }

    fn on_episode_step(&self, _: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.at("on_episode_step")
    }

    fn on_sample_end(&self, _: &mut SampleEvent<'_>) -> CallbackResult {
        self.at("on_sample_end")
    }

    fn on_train_result(&self, _: &mut Algorithm, _: &mut Metrics) -> CallbackResult {
        self.at("on_train_result")
    }
}

/// A runner that is recreated would hide a panic that happens now and then.
#[test]
fn a_panic_of_a_callback_is_an_error_and_no_failure_of_a_runner() {
    let plans: [fn(PpoConfig) -> PpoConfig; 3] = [
        |config| config,
        |config| config.with_execution_plan(Asynchronous::new(5, 1)),
        |config| config.with_execution_plan(AsyncGradients::new(1)),
    ];
    for plan in plans {
        for hook in ["on_algorithm_init", "on_episode_step", "on_sample_end", "on_train_result"] {
            let config = counting().env_runners(|e| e.num_env_runners(2)).callbacks(Panics(hook));
            let built = plan(config).build(&device());
            let error = built.and_then(|mut algo| algo.train()).unwrap_err().to_string();
            assert_eq!(error, format!("the callback `{hook}` failed: it panicked: no more"));
        }
    }
    let config = counting().evaluation(|e| e.custom_evaluation_function(|_, _| panic!("no more")));
    let error = config.build(&device()).unwrap().evaluate().unwrap_err().to_string();
    assert!(
        error.ends_with("`custom_evaluation_function` failed: it panicked: no more"),
        "{error}"
    );
}

#[test]
fn callbacks_change_nothing_and_checkpoints_go_on_with_and_without_them() {
    let trace = Trace::default();
    let plain = counting().env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2));
    let told = plain.clone().callbacks(trace.clone());
    assert_eq!(plain, told, "callbacks are no data");
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(json, serde_json::to_string(&plain).unwrap());

    let run = |config: &PpoConfig, iterations: usize| {
        let mut algo = config.build(&device()).unwrap();
        (0..iterations).for_each(|_| drop(algo.train().unwrap()));
        algo
    };
    let parts = |algo: &Algorithm| {
        let state = algo.get_state().unwrap();
        ["learner", "env_runners"].map(|part| state.component(part).unwrap().clone())
    };
    let straight = run(&plain, 4);
    assert_eq!(parts(&straight), parts(&run(&told, 4)));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half");
    run(&told, 2).save_to_path(&path).unwrap();
    trace.take();
    let mut resumed = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), |config| {
        config.callbacks(trace.clone())
    })
    .unwrap();
    assert_eq!(trace.take()[2..], ["algorithm_init PPO", "checkpoint_loaded 2"]);
    (0..2).for_each(|_| drop(resumed.train().unwrap()));
    assert_eq!(parts(&straight), parts(&resumed));
    assert!(trace.take().len() > 10);

    // The state is restored into new environments.
    resumed.restore_from_path(&path).unwrap();
    let created = [0, 1].map(|runner| format!("environment_created {runner}: 2 {{}}"));
    assert_eq!(trace.take(), [&created[..], &["checkpoint_loaded 2".into()]].concat());
    let mut untold = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    (0..2).for_each(|_| drop(untold.train().unwrap()));
    assert_eq!(parts(&straight), parts(&untold));
    assert_eq!(trace.take().len(), 0);
}

fn crashing(env: &str, p_crash: f64, trace: &Trace) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .env_config(EnvConfig::new().with("p_crash", p_crash).with("p_crash_reset", 0.1))
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(3))
        .model("fcnet_hiddens", vec![4])
        .training(|t| t.train_batch_size(300).minibatch_size(None).num_epochs(1))
        .evaluation(|e| {
            e.evaluation_interval(1)
                .evaluation_duration(5)
                .evaluation_config(|o| o.num_envs_per_env_runner(2))
        })
        .callbacks(trace.clone())
        .seed(2)
}

#[test]
fn runners_that_are_built_anew_are_told_of_training_and_of_evaluation() {
    let trace = Trace::default();
    let mut algo = crashing("CrashingCartPole-v1", 0.004, &trace).build(&device()).unwrap();
    let mut told = [0, 0];
    let mut restarts = 0.0;
    for _ in 0..10 {
        let result = algo.train().unwrap();
        restarts = result.get("fault_tolerance/num_remote_worker_restarts").unwrap();
        for line in trace.take() {
            if let Some((before, indices)) = line.split_once("env_runners_recreated ") {
                told[usize::from(before == "eval ")] += indices.split(',').count();
            }
        }
    }
    assert!(told[0] > 0 && told[1] > 0, "{told:?}");
    assert_eq!(told[0] as f64, restarts);
}

/// CartPoles begin near the middle.
struct NearTheMiddle;

impl Callbacks for NearTheMiddle {
    fn on_episode_start(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        for observation in event.agents.iter().filter_map(|agent| agent.observation) {
            let observation = observation.as_f32()?;
            if observation.iter().any(|x| x.abs() > 0.05) {
                return Err(format!("an episode begins with {observation:?}").into());
            }
        }
        if event.agents.is_empty() { Err("nobody is there".into()) } else { Ok(()) }
    }
}

#[test]
fn an_episode_that_fails_has_no_end_and_the_next_one_begins() {
    for env in ["CrashingCartPole-v1", "MultiAgentCrashingCartPole-v1"] {
        let trace = Trace::default();
        let mut config = crashing(env, 0.01, &trace)
            .fault_tolerance(|f| f.restart_failed_sub_environments(true))
            .callbacks(NearTheMiddle);
        if env.starts_with("Multi") {
            config = config.multi_agent(|m| m.policies(["default_policy"]));
        }
        let mut algo = config.build(&device()).unwrap();
        let result = (0..3).map(|_| algo.train().unwrap()).last().unwrap();
        assert!(result.get("env_runners/num_env_restarts_lifetime").unwrap() > 3.0);
        // The last hook and step of each episode.
        let mut episodes = std::collections::BTreeMap::new();
        for line in trace.take() {
            let eval = line.starts_with("eval ");
            let line = line.trim_start_matches("eval ");
            let mut words = line.split(' ');
            let (Some(hook), Some(id), Some("at")) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let step: usize = words.next().unwrap().trim_end_matches(':').parse().unwrap();
            let key = (eval, id.to_string());
            let before = episodes.insert(key, (hook.to_string(), step));
            let before = before.as_ref().map(|(hook, step)| (hook.as_str(), *step));
            let expected = match hook {
                "episode_created" => None,
                "episode_start" => Some(("episode_created", 0)),
                "episode_step" if step == 1 => Some(("episode_start", 0)),
                "episode_step" => Some(("episode_step", step - 1)),
                _ => Some(("episode_step", step)),
            };
            assert_eq!(before, expected, "{line}");
        }
        let lost = episodes.values().filter(|(hook, _)| hook != "episode_end").count();
        assert!(lost > 6, "only {lost} of {}", episodes.len());
    }
}
