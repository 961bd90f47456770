//! The single-agent runner: assertions 67 and 74, the sampling rule, and time limits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_checkpoint::Checkpointable;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Discrete, Space};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, EnvRunnerGroup, Experience, PublishedAt, Rollout, RunnerError,
    SampleOptions, SegmentEnd, SingleAgentEnvRunner,
};
use rekindle_rl_module::{AnyRLModule, ModuleContext, RLModule, RLModuleSpec, Result};

fn config(env: &str, num_envs: usize) -> EnvRunnerConfig {
    EnvRunnerConfig::new(env).num_envs(num_envs).seed(7)
}

fn module_for(runner: &SingleAgentEnvRunner, spec: RLModuleSpec) -> AnyRLModule {
    spec.observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .build_seeded(&Device::flex(), Generator::from_seed(0))
        .unwrap()
}

fn runner(config: EnvRunnerConfig) -> SingleAgentEnvRunner {
    let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
    let module = module_for(&runner, RLModuleSpec::default());
    runner.set_module(&module, PublishedAt::new(3, 0)).unwrap();
    runner
}

fn sample(runner: &mut SingleAgentEnvRunner, amount: Amount) -> Rollout {
    runner.sample(amount, SampleOptions::default()).unwrap()
}

#[test]
fn ten_episodes_are_exactly_ten_whole_episodes_from_the_start() {
    let mut runner = runner(config("CartPole-v1", 5));
    for _ in 0..100 {
        let rollout = sample(&mut runner, Amount::Episodes(10));
        assert_eq!(rollout.segments.len(), 10);
        for segment in &rollout.segments {
            assert_eq!(segment.t_started, 0);
            assert_ne!(segment.end, SegmentEnd::Cut);
        }
    }
}

#[test]
fn timesteps_round_up_to_the_vector_and_continue_episodes() {
    let mut runner = runner(config("CartPole-v1", 5));
    assert_eq!(sample(&mut runner, Amount::Timesteps(20)).env_steps(), 20);
    let rollout = sample(&mut runner, Amount::Timesteps(22));
    assert_eq!(rollout.env_steps(), 25);
    assert!(rollout.segments.iter().any(|s| s.t_started > 0), "episodes go on");

    let options = SampleOptions::default().force_reset(true);
    let rollout = runner.sample(Amount::Timesteps(5), options).unwrap();
    assert!(rollout.segments.iter().all(|s| s.t_started == 0));
}

#[test]
fn the_same_seed_gives_the_same_trajectories_and_runners_differ() {
    let run = |index, seed| {
        let config = config("CartPole-v1", 3).seed(seed);
        let mut runner = SingleAgentEnvRunner::new(config, index, &Device::flex()).unwrap();
        let module = module_for(&runner, RLModuleSpec::default());
        runner.set_module(&module, PublishedAt::default()).unwrap();
        sample(&mut runner, Amount::Timesteps(90))
    };
    assert_eq!(run(0, 1), run(0, 1));
    assert_ne!(run(0, 1).observations, run(1, 1).observations);
    assert_ne!(run(0, 1).observations, run(0, 2).observations);
}

#[test]
fn trajectories_do_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let config =
            config("Pendulum-v1", 2).env_to_module(vec![ConnectorConfig::mean_std_filter()]);
        let mut group = EnvRunnerGroup::new(&config, 2, threads, &Device::flex()).unwrap();
        let module = module_for(&runner(config.clone()), RLModuleSpec::default());
        group.set_modules(&module.as_multi_rl_module().unwrap(), PublishedAt::default()).unwrap();
        let mut all = Experience::default();
        for _ in 0..3 {
            let amount = Amount::Timesteps(100);
            all.extend(group.sample(amount, SampleOptions::default()).unwrap());
            group.sync_connectors().unwrap();
        }
        all
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn truncated_segments_keep_the_final_observation_of_the_old_episode() {
    let mut runner = runner(config("Pendulum-v1", 2));
    let rollout = sample(&mut runner, Amount::Timesteps(2 * 250));
    let ends: Vec<_> = rollout.segments.iter().map(|s| (s.env, s.len, s.end)).collect();
    assert_eq!(
        ends,
        [
            (0, 200, SegmentEnd::Truncated),
            (0, 50, SegmentEnd::Cut),
            (1, 200, SegmentEnd::Truncated),
            (1, 50, SegmentEnd::Cut),
        ]
    );
    // One step moves the pendulum a little; a reset would jump.
    let last = rollout.segments[0].rows().last().unwrap();
    let (before, after) = (rollout.observations.row(last), rollout.final_observations.row(0));
    let (before, after) = (before.as_f32().unwrap(), after.as_f32().unwrap());
    assert!((before[0] - after[0]).abs() < 0.45 && (before[1] - after[1]).abs() < 0.45);
    let next = rollout.observations.row(rollout.segments[1].start);
    assert_ne!(next.as_f32().unwrap(), after);
}

#[test]
fn episodes_read_the_columns_of_their_segment() {
    let mut runner = runner(config("CartPole-v1", 3));
    let rollout = sample(&mut runner, Amount::Episodes(4));
    assert_eq!(rollout.episodes().len(), 4);
    for (episode, segment) in rollout.episodes().zip(&rollout.segments) {
        assert_eq!(episode.len(), segment.len);
        assert!(episode.is_done());
        assert_eq!(episode.get_return(), segment.len as f64);
        let logp = episode.get_extra_model_outputs(Columns::ACTION_LOGP, .., None).unwrap();
        assert_eq!(logp.rows(), segment.len);
    }
}

#[test]
fn exploration_records_log_probabilities_and_probabilities_of_the_actions() {
    let mut runner = runner(config("CartPole-v1", 2));
    let rollout = sample(&mut runner, Amount::Timesteps(10));
    let logp = rollout.extras[Columns::ACTION_LOGP].as_f32().unwrap();
    let prob = rollout.extras[Columns::ACTION_PROB].as_f32().unwrap();
    let inputs = rollout.extras[Columns::ACTION_DIST_INPUTS].as_f32().unwrap();
    let actions = rollout.actions.as_i64().unwrap();
    for row in 0..10 {
        let logits = &inputs[2 * row..2 * row + 2];
        let (chosen, other) = (logits[actions[row] as usize], logits[1 - actions[row] as usize]);
        let expected = 1.0 / (1.0 + (other - chosen).exp());
        assert!((prob[row] - expected).abs() < 1e-5);
        assert!((logp[row].exp() - prob[row]).abs() < 1e-6);
    }
    assert_eq!(rollout.weights_seq_no, 3);
}

#[test]
fn greedy_actions_are_the_same_every_time_and_record_no_probabilities() {
    let mut runner = runner(config("CartPole-v1", 2));
    let rollout = runner.sample(Amount::Timesteps(20), SampleOptions::greedy()).unwrap();
    assert!(!rollout.extras.contains_key(Columns::ACTION_LOGP));
    let inputs = rollout.extras[Columns::ACTION_DIST_INPUTS].as_f32().unwrap();
    for (logits, action) in inputs.chunks(2).zip(rollout.actions.as_i64().unwrap()) {
        assert_eq!(usize::from(logits[1] > logits[0]) as i64, *action);
    }
}

/// Puts out actions instead of distribution inputs, or neither.
#[derive(Module, Debug)]
struct Fixed {
    unused: Mlp,
    silent: bool,
}

impl RLModule for Fixed {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self { unused: cx.mlp(1, &[], 1), silent: cx.inference_only() })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let rows = batch.column(Columns::OBS)?.rows();
        if self.silent {
            return Ok(Batch::new());
        }
        let ones = Tensor::<1, Int>::ones([rows], &Device::flex());
        Ok(Batch::new().with(Columns::ACTIONS, ones))
    }
}

#[test]
fn actions_that_a_module_puts_out_are_used_as_they_are() {
    let mut runner =
        SingleAgentEnvRunner::new(config("CartPole-v1", 4), 0, &Device::flex()).unwrap();
    let module = module_for(&runner, RLModuleSpec::of::<Fixed>());
    runner.set_module(&module, PublishedAt::default()).unwrap();
    let rollout = sample(&mut runner, Amount::Timesteps(12));
    assert!(rollout.actions.as_i64().unwrap().iter().all(|a| *a == 1));
    assert!(rollout.extras.is_empty());

    let silent = module_for(&runner, RLModuleSpec::of::<Fixed>().inference_only(true));
    runner.set_module(&silent, PublishedAt::default()).unwrap();
    let error = runner.sample(Amount::Timesteps(1), SampleOptions::default()).unwrap_err();
    assert!(matches!(error, RunnerError::NoActions { pass: "forward_exploration", .. }), "{error}");
}

#[test]
fn random_actions_need_no_module_and_other_actions_do() {
    let mut runner =
        SingleAgentEnvRunner::new(config("CartPole-v1", 2), 0, &Device::flex()).unwrap();
    let options = SampleOptions::random();
    let rollout = runner.sample(Amount::Timesteps(100), options).unwrap();
    let ones = rollout.actions.as_i64().unwrap().iter().sum::<i64>();
    assert!((20..80).contains(&ones), "{ones} of 100");
    let error = runner.sample(Amount::Timesteps(1), SampleOptions::default()).unwrap_err();
    assert!(matches!(error, RunnerError::NoModule));
}

#[test]
fn a_restored_runner_continues_exactly() {
    let config = config("Pendulum-v1", 2).env_to_module(vec![ConnectorConfig::mean_std_filter()]);
    let mut first = runner(config.clone());
    sample(&mut first, Amount::Timesteps(150));
    let state = first.get_state().unwrap();
    let mut second = runner(config.clone());
    second.set_state(&state).unwrap();
    for _ in 0..3 {
        let amount = Amount::Timesteps(300);
        assert_eq!(sample(&mut first, amount), sample(&mut second, amount));
    }
}

#[test]
fn unknown_environments_and_empty_vectors_are_refused() {
    let open = |config| SingleAgentEnvRunner::new(config, 0, &Device::flex());
    let message = open(config("CartPole-v9", 1)).unwrap_err().to_string();
    assert!(message.contains("CartPole-v9") && message.contains("CartPole-v1"), "{message}");
    let message = open(config("CartPole-v1", 0)).unwrap_err().to_string();
    assert!(message.contains("num_envs_per_env_runner"), "{message}");
    let message = open(config("TicTacToe-v0", 1)).unwrap_err().to_string();
    assert!(message.contains("`TicTacToe-v0` has several agents"), "{message}");
    assert!(message.contains(".multi_agent("), "{message}");
}

#[test]
fn modules_for_other_spaces_are_refused_by_name() {
    let mut runner = runner(config("CartPole-v1", 1));
    let before = runner.get_state().unwrap();
    let spec = RLModuleSpec::default().observation_space(runner.observation_space().clone());
    let spaces = [
        spec.clone().action_space(Space::discrete(5).unwrap()),
        spec.clone().action_space(Space::Discrete(Discrete::with_start(2, 7).unwrap())),
        spec.observation_space(Space::unbounded(&[3]).unwrap())
            .action_space(Space::discrete(2).unwrap()),
    ];
    for spec in spaces {
        let module = spec.build(&Device::flex()).unwrap();
        let error = runner.set_module(&module, PublishedAt::default()).unwrap_err();
        assert!(matches!(error, RunnerError::ModuleSpaces { .. }), "{error}");
        for part in ["`CartPole-v1`", "`default_policy`", "space"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    assert_eq!(runner.get_state().unwrap(), before);
    sample(&mut runner, Amount::Timesteps(4));
}
