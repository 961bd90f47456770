//! The multi-agent runner: turns, rewards that come late, agents that end early, exact states.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::prelude::Device;
use rekindle_checkpoint::Checkpointable;
use rekindle_core::{Columns, Generator};
use rekindle_env::EnvConfig;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, Experience, MultiAgentConfig,
    MultiAgentEnvRunner, PolicyMapping, PublishedAt, SampleOptions, SegmentEnd,
};
use rekindle_rl_module::{ExplorationContext, MultiRLModule, RLModuleSpec};

fn config(env: &str, num_envs: usize, mapping: PolicyMapping) -> EnvRunnerConfig {
    let multi_agent = MultiAgentConfig::default().policy_mapping(mapping);
    EnvRunnerConfig::new(env).num_envs(num_envs).seed(5).multi_agent(multi_agent)
}

fn cartpoles(num_envs: usize, mapping: PolicyMapping) -> EnvRunnerConfig {
    let env_config = EnvConfig::new().with("num_agents", 3);
    config("MultiAgentCartPole-v1", num_envs, mapping).env_config(env_config)
}

fn modules(runner: &dyn EnvRunner, settings: serde_json::Value) -> MultiRLModule {
    let mut multi = MultiRLModule::new();
    for (index, (id, (observations, actions))) in runner.module_spaces().into_iter().enumerate() {
        let spec = RLModuleSpec::default().observation_space(observations).action_space(actions);
        let rng = Generator::from_seed(index as u64);
        let module = spec.model_config(&settings).build_seeded(&Device::flex(), rng).unwrap();
        multi.add_module(id, module, false).unwrap();
    }
    multi
}

fn small() -> serde_json::Value {
    serde_json::json!({"fcnet_hiddens": [8]})
}

fn runner(config: EnvRunnerConfig) -> MultiAgentEnvRunner {
    let mut runner = MultiAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
    let modules = modules(&runner, small());
    runner.set_modules(&modules, PublishedAt::default()).unwrap();
    runner
}

fn random() -> SampleOptions {
    SampleOptions::random()
}

/// Wins and losses are paid when the game ends, to both, though only one of them moved.
#[test]
fn rewards_that_come_while_an_agent_waits_belong_to_its_last_action() {
    let mut runner = runner(config("TicTacToe-v0", 4, PolicyMapping::ByAgent));
    let experience = runner.collect(Amount::Episodes(40), random()).unwrap();
    assert_eq!(experience.episodes.len(), 40);
    let mut paid = vec![[None; 2]; 200];
    for (player, id) in ["player1", "player2"].into_iter().enumerate() {
        let rollout = &experience.rollouts[id][0];
        for segment in &rollout.segments {
            assert_eq!(segment.agent.as_deref(), Some(id));
            assert_eq!(segment.end, SegmentEnd::Terminated);
            let rewards: Vec<_> = segment.rows().map(|row| rollout.rewards[row]).collect();
            let (last, others) = rewards.split_last().unwrap();
            assert!(others.iter().all(|&reward| reward == 0.0), "{rewards:?}");
            paid[segment.episode as usize][player] = Some(*last);
        }
    }
    let games: Vec<_> = paid.into_iter().filter(|game| *game != [None; 2]).collect();
    assert_eq!(games.len(), 40);
    // Only a player that never moved has no part in a game.
    assert!(
        games
            .iter()
            .all(|[a, b]| a.unwrap_or(0.0) + b.unwrap_or(0.0) == 0.0 || a.is_none() || b.is_none())
    );
    assert!(games.iter().any(|game| *game == [Some(1.0), Some(-1.0)]));
    assert!(games.iter().any(|game| *game == [Some(-1.0), Some(1.0)]));
    let moves: usize = experience.agent_steps();
    assert_eq!(moves, experience.env_steps, "one player moves in a step");
}

#[test]
fn agents_end_on_their_own_and_the_episode_with_the_last() {
    let mut runner = runner(cartpoles(2, PolicyMapping::All("all".into())));
    let experience = runner.collect(Amount::Episodes(6), random()).unwrap();
    let rollout = &experience.rollouts["all"][0];
    assert_eq!(rollout.segments.len(), 3 * 6);
    for episode in &experience.episodes {
        assert!(episode.len as f64 <= episode.episode_return);
    }
    let total: usize = rollout.segments.iter().map(|segment| segment.len).sum();
    assert_eq!(total, rollout.rewards.len());
    let returns: f64 = experience.episodes.iter().map(|episode| episode.episode_return).sum();
    assert_eq!(returns, total as f64, "a reward of 1 a step");
    assert!(rollout.segments.iter().any(|s| s.len < 20) && experience.env_steps < total);
}

/// Fragments that cut episodes, and turns, give the same steps as whole episodes.
#[test]
fn cut_fragments_lose_no_step() {
    for (env, mapping) in [
        ("TicTacToe-v0", PolicyMapping::ByAgent),
        ("RockPaperScissors-v0", PolicyMapping::All("p".into())),
    ] {
        let steps = |fragments: &[usize]| {
            let mut runner = runner(config(env, 2, mapping.clone()));
            let mut all = Experience::default();
            for &steps in fragments {
                all.extend(runner.collect(Amount::Timesteps(steps), random()).unwrap());
            }
            all
        };
        let (whole, cut) = (steps(&[120]), steps(&[2, 4, 14, 30, 2, 68]));
        assert_eq!(whole.episodes, cut.episodes);
        // An action at the very end waits for its outcome in both.
        assert_eq!(whole.agent_steps(), cut.agent_steps(), "{env}");
        let rewards = |all: &Experience| -> f32 {
            all.rollouts.values().flatten().flat_map(|rollout| &rollout.rewards).sum()
        };
        assert_eq!(rewards(&whole), rewards(&cut));
    }
}

#[test]
fn recorded_probabilities_are_those_of_the_module_that_played() {
    let mut runner = runner(cartpoles(2, PolicyMapping::ByAgent));
    let modules = modules(&runner, small());
    let experience = runner.collect(Amount::Timesteps(40), SampleOptions::default()).unwrap();
    assert_eq!(experience.rollouts.keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    for (id, rollouts) in &experience.rollouts {
        let rollout = &rollouts[0];
        let module = modules.module(id).unwrap();
        let obs = rekindle_core::host_batch::upload(&rollout.observations, &Device::flex());
        let batch = rekindle_core::Batch::new().with(Columns::OBS, obs.unwrap());
        let outputs =
            module.forward_exploration(&batch, &mut ExplorationContext::default()).unwrap();
        let inputs = outputs.column(Columns::ACTION_DIST_INPUTS).unwrap();
        let inputs = inputs.tensor().unwrap().to_f32().unwrap();
        let recorded = rollout.extras[Columns::ACTION_DIST_INPUTS].as_f32().unwrap();
        assert_eq!(inputs.len(), recorded.len());
        let close = inputs.iter().zip(recorded).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "{id}");
    }
}

#[test]
fn a_mapping_is_kept_for_an_episode_and_asked_again_for_the_next() {
    let mapping = PolicyMapping::from_fn("test/alternating", |agent, episode| {
        if (episode.episode + u64::from(agent == "player2")).is_multiple_of(2) { "a" } else { "b" }
            .into()
    });
    let mut runner = runner(config("TicTacToe-v0", 1, mapping));
    let experience = runner.collect(Amount::Timesteps(60), random()).unwrap();
    for (id, rollouts) in &experience.rollouts {
        for segment in &rollouts[0].segments {
            let second = u64::from(segment.agent.as_deref() == Some("player2"));
            let expected = if (segment.episode + second).is_multiple_of(2) { "a" } else { "b" };
            assert_eq!(id, expected);
        }
    }
    assert_eq!(experience.rollouts.len(), 2);
}

/// Filters, recurrent states and previous actions of agents that come and go.
fn everything(mapping: PolicyMapping) -> EnvRunnerConfig {
    cartpoles(2, mapping).env_to_module(vec![
        ConnectorConfig::mean_std_filter(),
        ConnectorConfig::PrevActionsPrevRewards { n_prev_actions: 2, n_prev_rewards: 1 },
    ])
}

#[test]
fn a_restored_runner_continues_exactly() {
    let settings = serde_json::json!({"fcnet_hiddens": [8], "fusionnet_hiddens": [8],
        "use_lstm": true, "lstm_cell_size": 4});
    let build = || {
        let config = everything(PolicyMapping::ByAgent);
        let mut runner = MultiAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
        let modules = modules(&runner, settings.clone());
        runner.set_modules(&modules, PublishedAt::default()).unwrap();
        runner
    };
    let mut one = build();
    one.collect(Amount::Timesteps(34), SampleOptions::default()).unwrap();
    let state = one.get_state().unwrap();
    let expected = one.collect(Amount::Timesteps(50), SampleOptions::default()).unwrap();
    let mut two = build();
    two.set_state(&state).unwrap();
    assert_eq!(two.collect(Amount::Timesteps(50), SampleOptions::default()).unwrap(), expected);
    assert!(expected.rollouts.values().flatten().all(|rollout| rollout.states.is_some()));
}

#[test]
fn experience_does_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let config = everything(PolicyMapping::All("p".into()));
        let mut group = EnvRunnerGroup::new(&config, 2, threads, &Device::flex()).unwrap();
        let settings = serde_json::json!({"fcnet_hiddens": [8], "fusionnet_hiddens": [8]});
        let modules = modules(group.runners().next().unwrap(), settings);
        group.set_modules(&modules, PublishedAt::default()).unwrap();
        let mut all = Experience::default();
        for _ in 0..3 {
            all.extend(group.sample(Amount::Timesteps(40), SampleOptions::default()).unwrap());
            group.sync_connectors().unwrap();
        }
        all
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn single_agent_environments_and_missing_modules_are_named() {
    let error = MultiAgentEnvRunner::new(
        config("CartPole-v1", 1, PolicyMapping::ByAgent),
        0,
        &Device::flex(),
    );
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`CartPole-v1` has a single agent"), "{message}");
    let mut runner = runner(cartpoles(1, PolicyMapping::ByAgent));
    let message =
        runner.set_modules(&MultiRLModule::new(), PublishedAt::default()).unwrap_err().to_string();
    assert!(message.contains("no module is named `0`"), "{message}");
    let message = runner.policy_bundle_of("default_policy").unwrap_err().to_string();
    assert!(message.contains("no module `default_policy` acts here"), "{message}");
    assert!(message.contains("[0, 1, 2]"), "{message}");
}
