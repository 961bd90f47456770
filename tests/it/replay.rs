//! Replay with memory, stacked frames and turns.

use std::collections::BTreeMap;

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::env_runner::{EnvRunnerConfig, MultiAgentConfig, MultiAgentEnvRunner};
use rekindle::learner::replay::{ReplayBuffer, ReplayConfig, TransitionSpec};
use rekindle::prelude::*;

use crate::dqn::small;
use crate::scripted;
use crate::support::device;
use crate::trace::Trace;

/// Two agents take turns, and both are paid the number of each step. The game ends after seven steps.
fn turns() -> &'static str {
    const ID: &str = "test/TurnsWithRewards-v0";
    scripted::game(ID, &[("a", 1), ("b", 1)], |t, out| {
        out.observe(t % 2)?.write_f32(&[t as f32])?;
        if t > 0 {
            out.add_reward(0, t as f64)?;
            out.add_reward(1, t as f64)?;
        }
        if t == 7 {
            out.observe(1 - t % 2)?.write_f32(&[t as f32])?;
            out.terminate_all();
        }
        Ok(())
    });
    ID
}

#[test]
fn transitions_of_agents_that_take_turns_lead_to_their_own_next_turn() {
    let multi_agent = MultiAgentConfig::default().policy_mapping(PolicyMapping::ByAgent);
    let config = EnvRunnerConfig::new(turns()).num_envs(2).multi_agent(multi_agent);
    let mut runner = MultiAgentEnvRunner::new(config, 0, &device()).unwrap();
    let mut buffers: BTreeMap<&str, ReplayBuffer> = BTreeMap::new();
    // Fragments end between the turns of either agent.
    for steps in [6, 10, 2, 14, 8, 30] {
        let options = SampleOptions::random();
        let experience = runner.collect(Amount::Timesteps(steps), options).unwrap();
        for (id, rollouts) in &experience.rollouts {
            let id = if id == "a" { "a" } else { "b" };
            let new = || ReplayBuffer::new(ReplayConfig::default(), [""; 0], 2);
            let buffer = buffers.entry(id).or_insert_with(new);
            rollouts.iter().for_each(|rollout| buffer.push(rollout).unwrap());
        }
    }
    let mut rng = Generator::from_seed(0);
    for (id, first) in [("a", 0.0), ("b", 1.0)] {
        let batch = buffers[id].sample(300, &TransitionSpec::new(0.5), 0, &mut rng).unwrap();
        let column = |name: &str| batch.as_f32(name).unwrap().to_vec();
        let (obs, next) = (column(Columns::OBS), column(Columns::NEXT_OBS));
        let (rewards, discounts) = (column(Columns::REWARDS), column(Columns::DISCOUNTS));
        let mut seen = Vec::new();
        for row in 0..300 {
            let t = obs[row];
            assert_eq!(t % 2.0, first, "{id} moves at {t}");
            // The last move of `a` is at 6; the game ends at 7.
            let (after, reward) = match t {
                6.0 => (7.0, 7.0),
                _ => (t + 2.0, 2.0 * t + 3.0),
            };
            let is_open = next[row] != after;
            let discount = if after == 7.0 { 0.0 } else { 0.5 };
            assert!(!is_open, "{id}: {t} leads to {}", next[row]);
            assert_eq!((rewards[row], discounts[row]), (reward, discount), "{id} at {t}");
            seen.push(t as i32);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, if id == "a" { vec![0, 2, 4, 6] } else { vec![1, 3, 5] });
    }
}

#[test]
fn agents_that_take_turns_learn_from_buffers_of_their_own() {
    let config = small()
        .environment("TicTacToe-v0")
        .multi_agent(|m| m.policies(["player1", "player2"]).policy_mapping(PolicyMapping::ByAgent));
    let mut algo = config.build(&device()).unwrap();
    let result = (0..8).map(|_| algo.train().unwrap()).last().unwrap();
    for id in ["player1", "player2"] {
        let loss = result.get(&format!("learners/{id}/total_loss"));
        assert!(loss.is_some_and(f64::is_finite), "{id}: {loss:?}");
    }
}

/// Stacks frames; with `whole`, another connector follows, so that observations are stored whole.
fn stacking(whole: bool) -> DqnConfig {
    let config = small().environment("StatelessCartPole-v1").env_runners(|e| {
        e.env_to_module_connector(ConnectorConfig::mean_std_filter())
            .env_to_module_connector(ConnectorConfig::frame_stacking(4))
    });
    match whole {
        true => {
            config.env_runners(|e| e.env_to_module_connector(ConnectorConfig::frame_stacking(1)))
        }
        false => config,
    }
}

#[test]
fn frames_that_are_stored_once_give_the_same_run_as_whole_observations() {
    let runs = [false, true].map(|whole| {
        let mut algo = stacking(whole).build(&device()).unwrap();
        (0..40).for_each(|_| drop(algo.train().unwrap()));
        algo.get_state().unwrap()
    });
    let [stacked, whole] = &runs;
    let modules = [stacked, whole].map(|state| state.component("learner").unwrap());
    assert!(modules[0] == modules[1]);
    let width = |state: &State| {
        let rows = state.component("execution_plan/default_policy/rows").unwrap();
        rows.part("0").unwrap().tensor("column.1.0").unwrap().shape()[1]
    };
    assert_eq!([width(stacked), width(whole)], [2, 8]);
}

/// A Q-network with an LSTM, which learns from sequences with burn-in.
pub(crate) fn recurrent() -> DqnConfig {
    small()
        .environment("StatelessCartPole-v1")
        .model("use_lstm", true)
        .model("lstm_cell_size", 6)
        .model("max_seq_len", 4)
        .training(|t| t.burn_in_len(2).train_batch_size(16))
}

#[test]
fn runs_with_memory_and_with_stacked_frames_are_resumed_exactly() {
    for config in [recurrent(), stacking(false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved");
        let mut straight = config.build(&device()).unwrap();
        (0..20).for_each(|_| drop(straight.train().unwrap()));
        straight.save_to_path(&path).unwrap();
        let mut resumed = Algorithm::from_checkpoint::<DqnTraining>(&path, &device()).unwrap();
        for algo in [&mut straight, &mut resumed] {
            (0..20).for_each(|_| drop(algo.train().unwrap()));
        }
        let [straight, resumed] = [straight, resumed].map(|algo| algo.get_state().unwrap());
        for component in ["learner", "env_runners", "execution_plan"] {
            let of = |state: &State| state.component(component).unwrap().clone();
            assert!(of(&straight) == of(&resumed), "{component}");
        }
    }
}

#[test]
fn sequences_learn_from_the_batch_size_in_steps() {
    let replay = ReplayConfig::default().capacity(500);
    let mut algo =
        recurrent().training(|t| t.replay_buffer_config(replay)).build(&device()).unwrap();
    let mut trained = 0.0;
    for _ in 0..10 {
        let result = algo.train().unwrap();
        trained += result.get("learners/default_policy/num_module_steps_trained").unwrap_or(0.0);
    }
    // Eight steps an iteration. The first three iterations only fill the buffer; the others take 16 updates of 4
    // sequences. A sequence has at most 4 steps, and fewer where its episode ends.
    let most = (7.0 * 8.0 * 0.3_f64).floor() * 16.0;
    assert!(trained > 0.6 * most && trained <= most, "{trained} of {most}");
}

/// Trains with hooks and an evaluation beside the training, and without: the weights are the same.
fn is_watched<T: TrainingConfig>(name: &str, config: &AlgorithmConfig<T>) {
    const ITERATIONS: usize = 6;
    let trace = Trace::default();
    let watched = config.clone().callbacks(trace.clone()).evaluation(|e| {
        e.evaluation_interval(2).evaluation_duration(1).evaluation_parallel_to_training(true)
    });
    let runs = [config, &watched].map(|config| {
        let mut algo = config.build(&device()).unwrap();
        let result = (0..ITERATIONS).map(|_| algo.train().unwrap()).last().unwrap();
        (algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap(), result)
    });
    assert!(runs[0].0 == runs[1].0, "{name}");
    let evaluated = runs[1].1.get("evaluation/env_runners/episode_return_mean");
    assert!(evaluated.is_some_and(f64::is_finite), "{name}");
    let lines = trace.take();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("algorithm_init"), 1, "{name}");
    assert_eq!((count("evaluate_end"), count("train_result")), (3, ITERATIONS), "{name}");
    assert!(count("sample_end") >= ITERATIONS && count("episode_step") > 0, "{name}: {lines:?}");
    assert!(count("eval episode_end") >= 3, "{name}: {lines:?}");
}

#[test]
fn callbacks_and_parallel_evaluations_accompany_replay_and_change_nothing() {
    is_watched("DQN", &small());
    is_watched("SAC", &crate::sac::sac());
    is_watched("TQC", &crate::sac::tqc());
}

#[test]
fn rewards_that_are_no_numbers_are_refused_before_they_are_stored() {
    scripted::env(
        "test/NaN-v0",
        [Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap()],
        |t, _, mut row| {
            row.write_f32(&[t as f32])?;
            Ok(Step::running(if t == 40 { f64::NAN } else { 1.0 }))
        },
    );
    let mut algo = small().environment("test/NaN-v0").build(&device()).unwrap();
    let error = (0..20).find_map(|_| algo.train().err()).unwrap().to_string();
    assert!(error.contains("reward") && error.contains("NaN"), "{error}");
}
