//! Properties of vectors, on random actions and sizes: the automatic reset neither loses nor
//! repeats a step.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/multi_agent.rs"]
#[allow(dead_code)] // Each test file uses only a part of this.
mod table;

use proptest::prelude::*;
use rekindle_env::{
    Buffer, EnvConfig, MultiAgentActions, MultiAgentVectorStep, ResetOptions, VectorStep, make,
    make_multi_agent_vec_with, make_multi_agent_with, make_vec, seeds_from,
};
use table::Table;

/// Compares a vector with its environments, stepped one by one with the same actions.
fn vector_equals_singles(id: &str, num_envs: usize, seed: u64, steps: usize) {
    let mut envs = make_vec(id, num_envs).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), num_envs);
    let mut actions = Buffer::zeros(envs.action_space(), num_envs);
    let mut sampler = envs.action_space().sampler(seed);
    let seeds = seeds_from(Some(seed), num_envs);
    envs.reset(&seeds, &mut out).unwrap();

    let mut singles: Vec<_> = (0..num_envs).map(|_| make(id).unwrap()).collect();
    let mut seen = Buffer::zeros(envs.observation_space(), num_envs);
    for (i, single) in singles.iter_mut().enumerate() {
        let mut options = ResetOptions::new();
        options.seed = seeds[i];
        single.reset(&options, seen.row_mut(i)).unwrap();
    }
    assert_eq!(out.observations, seen);
    let (mut finished, mut running) = (0, vec![0; num_envs]);
    for _ in 0..steps {
        (0..num_envs).for_each(|i| sampler.sample_into(actions.row_mut(i)).unwrap());
        envs.step(&actions, &mut out).unwrap();
        for (i, single) in singles.iter_mut().enumerate() {
            let step = single.step(actions.row(i), seen.row_mut(i)).unwrap();
            assert_eq!(
                (out.rewards[i], out.terminated[i], out.truncated[i]),
                (step.reward, step.terminated, step.truncated)
            );
            running[i] += 1;
            if step.is_done() {
                let last = out.final_observations.row(i).to_value().unwrap();
                assert_eq!(last, seen.row(i).to_value().unwrap());
                single.reset(&ResetOptions::new(), seen.row_mut(i)).unwrap();
                finished += std::mem::take(&mut running[i]);
            }
        }
        assert_eq!(out.observations, seen);
    }
    assert_eq!(finished + running.iter().sum::<usize>(), num_envs * steps);
}

/// Compares a multi-agent vector with its environments in the same way.
fn multi_agent_vector_equals_singles(
    id: &str,
    config: &EnvConfig,
    n: usize,
    seed: u64,
    steps: usize,
) {
    let mut envs = make_multi_agent_vec_with(id, n, config).unwrap();
    let agents = envs.possible_agents().to_vec();
    let mut out = MultiAgentVectorStep::new(&agents, n);
    let mut actions = vec![MultiAgentActions::new(&agents); n];
    let seeds = seeds_from(Some(seed), n);
    envs.reset(&seeds, &mut out).unwrap();

    let mut singles: Vec<_> = (0..n)
        .map(|i| {
            let mut table = Table::new(make_multi_agent_with(id, config).unwrap());
            let mut options = ResetOptions::new();
            options.seed = seeds[i];
            table.reset(&options).unwrap();
            table
        })
        .collect();
    let mut samplers: Vec<_> = singles[0].samplers(seed);
    for _ in 0..steps {
        for (single, actions) in singles.iter_mut().zip(&mut actions) {
            single.step_at_random(&mut samplers).unwrap();
            actions.clone_from(&single.actions);
        }
        envs.step(&actions, &mut out).unwrap();
        for (i, single) in singles.iter_mut().enumerate() {
            let agree = |found: &rekindle_env::MultiAgentStep, single: &Table<_>| {
                let single: &Table<Box<dyn rekindle_env::MultiAgentEnv>> = single;
                for agent in 0..agents.len() {
                    let value = |step: &rekindle_env::MultiAgentStep| {
                        step.observation(agent).map(|row| row.to_value().unwrap())
                    };
                    assert_eq!(value(found), value(&single.out));
                }
                let text = |step: &rekindle_env::MultiAgentStep| -> Vec<_> {
                    let flags = |a| (step.reward(a), step.terminated(a), step.truncated(a));
                    (0..agents.len()).map(flags).collect()
                };
                assert_eq!(text(found), text(&single.out));
                assert_eq!(found.all_terminated(), single.out.all_terminated());
                assert_eq!(found.all_truncated(), single.out.all_truncated());
            };
            agree(out.outcome(i).unwrap(), single);
            assert_eq!(out.is_done(i), single.out.is_done());
            if single.out.is_done() {
                single.reset(&ResetOptions::new()).unwrap();
            }
            agree(&out.current()[i], single);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_vector_reports_what_its_environments_report(
        id in prop::sample::select(vec![
            "CartPole-v1", "Catch-v0", "Breakout-v0", "NestedCartPole-v1", "StatelessCartPole-v1",
        ]),
        num_envs in 1_usize..5,
        seed in any::<u64>(),
        steps in 1_usize..120,
    ) {
        vector_equals_singles(id, num_envs, seed, steps);
    }

    #[test]
    fn a_multi_agent_vector_reports_what_its_environments_report(
        id in prop::sample::select(vec![
            "MultiAgentCartPole-v1", "TicTacToe-v0", "RockPaperScissors-v0",
        ]),
        num_envs in 1_usize..5,
        seed in any::<u64>(),
        steps in 1_usize..120,
    ) {
        let config = if id == "MultiAgentCartPole-v1" {
            EnvConfig::new().with("num_agents", 3)
        } else {
            EnvConfig::new()
        };
        multi_agent_vector_equals_singles(id, &config, num_envs, seed, steps);
    }
}
