//! Multi-agent environments by id, in vectors, as copies, and restored.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/multi_agent.rs"]
#[allow(dead_code)] // Each test file uses only a part of this.
mod table;

use rekindle_env::classic_control::CartPole;
use rekindle_env::multi_agent::{MultiAgentChecker, MultiAgentCopies};
use rekindle_env::wrappers::TimeLimit;
use rekindle_env::{
    Env, EnvConfig, EnvError, EnvSpec, MultiAgentActions, MultiAgentEnv, MultiAgentEnvSpec,
    MultiAgentVectorEnv, MultiAgentVectorStep, ResetOptions, SyncMultiAgentVectorEnv, make,
    make_multi_agent, make_multi_agent_vec, make_multi_agent_vec_with, make_multi_agent_with,
    make_vec, multi_agent_spec, register, register_multi_agent, registered_ids,
    registered_multi_agent_ids, seeds_from,
};
use serde_json::json;
use table::Table;

fn two() -> EnvConfig {
    EnvConfig::new().with("num_agents", 2)
}

/// A vector with its slots.
struct Vector {
    envs: Box<dyn MultiAgentVectorEnv>,
    out: MultiAgentVectorStep,
    actions: Vec<MultiAgentActions>,
}

impl Vector {
    fn new(envs: Box<dyn MultiAgentVectorEnv>) -> Self {
        let (agents, n) = (envs.possible_agents(), envs.num_envs());
        let out = MultiAgentVectorStep::new(agents, n);
        let actions = vec![MultiAgentActions::new(agents); n];
        Self { envs, out, actions }
    }

    /// Steps with `action` for every agent that must act.
    fn step(&mut self, action: impl Fn(usize, usize) -> i64) -> rekindle_env::Result<()> {
        for (env, (actions, step)) in self.actions.iter_mut().zip(self.out.current()).enumerate() {
            actions.clear();
            for agent in step.agents_to_act() {
                actions.act(agent)?.write_discrete(action(env, agent))?;
            }
        }
        self.envs.step(&self.actions, &mut self.out)
    }
}

#[test]
fn ids_of_the_other_kind_say_what_to_do_instead() {
    let error = make("TicTacToe-v0").unwrap_err();
    assert!(
        error.to_string().contains("map its agents to policies with `.multi_agent(..)`"),
        "{error}"
    );
    assert!(error.to_string().contains("make it with `make_multi_agent`"), "{error}");
    assert!(matches!(make_vec("TicTacToe-v0", 1), Err(EnvError::WrongKindOfEnv { .. })));
    let error = make_multi_agent("CartPole-v1").unwrap_err();
    assert!(error.to_string().contains("leave out `.multi_agent(..)`"), "{error}");
    assert!(error.to_string().contains("make it with `make` or `make_vec`"), "{error}");
    assert!(make_multi_agent_vec("CartPole-v1", 1).is_err());
    let error = make_multi_agent("TicTacTo-v0").unwrap_err();
    assert!(error.to_string().contains("did you mean `TicTacToe-v0`?"), "{error}");
    assert!(registered_multi_agent_ids().contains(&"MultiAgentCartPole-v1".to_owned()));
    assert!(registered_ids().iter().all(|id| !registered_multi_agent_ids().contains(id)));
}

#[test]
fn both_kinds_share_their_ids() {
    let copies =
        |id: &str| MultiAgentEnvSpec::copies(id, rekindle_env::spec("CartPole-v1").unwrap());
    let error = register_multi_agent(copies("CartPole-v1")).unwrap_err();
    assert!(matches!(error, EnvError::DuplicateId { .. }), "{error}");
    assert!(register(EnvSpec::new("TicTacToe-v0", CartPole::new)).is_err());
    assert!(matches!(register_multi_agent(copies("x")), Err(EnvError::InvalidId { .. })));
    register_multi_agent(copies("Tests/Twins-v0").with_max_episode_steps(2)).unwrap();
    assert_eq!(multi_agent_spec("Tests/Twins-v0").unwrap().max_episode_steps(), Some(2));
    let mut table = Table::new(make_multi_agent_with("Tests/Twins-v0", &two()).unwrap());
    table.reset(&ResetOptions::new()).unwrap();
    (0..2).for_each(|_| table.step(&[(0, 0), (1, 0)]).unwrap());
    assert!(table.out.all_truncated());
}

#[test]
fn copies_start_differently_and_end_independently() {
    let mut table = Table::new(make_multi_agent_with("MultiAgentCartPole-v1", &two()).unwrap());
    table.reset(&ResetOptions::seed(0)).unwrap();
    assert_ne!(
        table.out.observation(0).unwrap().as_f32().unwrap(),
        table.out.observation(1).unwrap().as_f32().unwrap()
    );
    // One always pushes to the right and falls, the other sways.
    let mut first_done = None;
    let mut returns = [0.0; 2];
    for t in 0.. {
        let actions: Vec<_> = table
            .to_act()
            .iter()
            .map(|&agent| (agent, if agent == 0 { 1 } else { t % 2 }))
            .collect();
        table.step(&actions).unwrap();
        (0..2).for_each(|agent| returns[agent] += table.out.reward(agent));
        if table.out.terminated(0) {
            first_done = Some(t + 1);
            assert!(!table.out.is_done());
        }
        if table.out.is_done() {
            assert!(table.out.all_terminated() && table.out.terminated(1));
            assert_eq!(returns, [first_done.unwrap() as f64, (t + 1) as f64]);
            assert!(returns[1] > returns[0]);
            break;
        }
    }
}

#[test]
fn copies_of_a_limited_environment_are_truncated_independently() {
    let env = |steps| TimeLimit::new(CartPole::new(&EnvConfig::new()).unwrap(), steps).unwrap();
    let copies = MultiAgentCopies::new(vec![env(2), env(4)]).unwrap();
    assert_eq!(copies.name(), "MultiAgentCartPole");
    let mut table = Table::new(MultiAgentChecker::new(copies));
    table.reset(&ResetOptions::seed(0)).unwrap();
    (0..2).for_each(|_| table.step(&[(0, 0), (1, 0)]).unwrap());
    assert_eq!((table.truncated(), table.out.is_done()), (vec![true, false], false));
    table.step(&[(1, 0)]).unwrap();
    table.step(&[(1, 1)]).unwrap();
    assert!(table.out.all_truncated());
    let error = MultiAgentCopies::<CartPole>::new(vec![]).unwrap_err();
    assert!(matches!(error, EnvError::ShapeMismatch { .. }));
    let none = EnvConfig::new().with("num_agents", 0);
    let error = make_multi_agent_with("MultiAgentCartPole-v1", &none).unwrap_err();
    assert!(error.to_string().contains("`num_agents` must be at least 1, got 0"), "{error}");
}

#[test]
fn an_agent_in_a_copy_observes_what_the_single_environment_does() {
    let mut table = Table::new(make_multi_agent("MultiAgentPendulum-v1").unwrap());
    assert_eq!(table.env.possible_agents().len(), 1); // RLlib's default
    table.reset(&ResetOptions::seed(3)).unwrap();
    let seed = rekindle_env::Generator::from_key(&[3, 0]).next_u64();
    let mut alone = make("Pendulum-v1").unwrap();
    let mut observation = rekindle_env::Buffer::zeros(alone.observation_space(), 1);
    alone.reset(&ResetOptions::seed(seed), observation.row_mut(0)).unwrap();
    assert_eq!(table.out.observation(0).unwrap().as_f32().unwrap(), observation.as_f32().unwrap());
}

#[test]
fn an_episode_that_ends_in_a_vector_is_followed_by_the_next() {
    let config = EnvConfig::new().with("first_player", "player1");
    let mut vector = Vector::new(make_multi_agent_vec_with("TicTacToe-v0", 2, &config).unwrap());
    vector.envs.reset(&[None; 2], &mut vector.out).unwrap();
    assert!(
        format!("{:?}", vector.envs).starts_with("MultiAgentVectorEnv { num_envs: 2, player1:")
    );
    // In the first environment, `player2` marks the taken center; in the second, another cell.
    vector.step(|_, _| 4).unwrap();
    vector.step(|env, _| [4, 0][env]).unwrap();
    assert_eq!([vector.out.is_done(0), vector.out.is_done(1)], [true, false]);
    let ended = vector.out.outcome(0).unwrap();
    assert!(ended.all_terminated() && ended.terminated(0) && ended.terminated(1));
    assert_eq!((ended.reward(0), ended.reward(1)), (1.0, -1.0));
    assert_eq!(ended.observation(1).unwrap().as_i64().unwrap()[4], 2);
    let next = &vector.out.current()[0];
    assert_eq!(next.agents_to_act().collect::<Vec<_>>(), [0]);
    assert_eq!(next.observation(0).unwrap().as_i64().unwrap(), [0; 9]);
    assert!(!next.is_done() && next.reward(0) == 0.0);
    assert_eq!(vector.out.outcome(1), Some(&vector.out.current()[1]));
    assert_eq!(vector.out.outcomes().filter(|step| step.is_done()).count(), 1);
    vector.step(|_, _| 8).unwrap();
    assert!(!vector.out.is_done(0));
}

#[test]
fn only_the_failed_environment_of_a_vector_is_restarted() {
    let config = two().with("p_crash", 0.05).with("p_crash_reset", 0.1);
    let make = |config: &EnvConfig| {
        Vector::new(make_multi_agent_vec_with("MultiAgentCrashingCartPole-v1", 3, config).unwrap())
    };
    let mut vector = make(&config);
    let mut outcome = vector.envs.reset(&seeds_from(Some(1), 3), &mut vector.out);
    let (mut in_step, mut in_reset) = (0, 0);
    let mut seeds = 100..;
    for t in 0..1_000 {
        if let Err(error) = outcome {
            assert!(error.is_recoverable(), "{error}");
            for (index, _) in error.failed_envs() {
                if vector.out.is_done(index) {
                    in_reset += 1;
                } else {
                    in_step += 1;
                }
                assert_eq!(vector.out.current()[index].agents_to_act().count(), 0);
                while vector.envs.reset_one(index, seeds.next(), &mut vector.out).is_err() {}
                assert!(!vector.out.is_done(index));
            }
        }
        // All present agents act, and no step was lost.
        for step in vector.out.current() {
            assert!(step.agents_to_act().count() > 0);
        }
        outcome = vector.step(|_, agent| (t + agent as i64) % 2);
    }
    assert!(in_step > 20 && in_reset > 0, "{in_step} {in_reset}");
    let beyond = vector.envs.reset_one(3, None, &mut vector.out);
    assert!(matches!(beyond, Err(EnvError::RowOutOfRange { .. })));
}

#[test]
fn wrong_counts_are_typed_errors() {
    let mut vector = Vector::new(make_multi_agent_vec("TicTacToe-v0", 2).unwrap());
    let mut small = MultiAgentVectorStep::new(vector.envs.possible_agents(), 1);
    let errors = [
        vector.envs.reset(&[None], &mut vector.out).unwrap_err(),
        vector.envs.reset(&[None; 2], &mut small).unwrap_err(),
        vector.envs.step(&vector.actions[..1], &mut vector.out).unwrap_err(),
        make_multi_agent_vec("TicTacToe-v0", 0).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");
    }
    let mixed = ["TicTacToe-v0", "RockPaperScissors-v0"].map(|id| make_multi_agent(id).unwrap());
    let error = SyncMultiAgentVectorEnv::new(mixed.into()).unwrap_err();
    assert!(matches!(error, EnvError::InvalidSpace { .. }), "{error}");
}

#[test]
fn every_multi_agent_environment_continues_exactly_from_its_state() {
    for id in registered_multi_agent_ids().iter().filter(|id| !id.starts_with("Tests/")) {
        let mut config = EnvConfig::new();
        if id.starts_with("MultiAgent") {
            config = two();
        }
        if id.contains("Crashing") {
            config = config.with("p_crash", 0.0).with("p_crash_reset", 0.0);
        }
        let made = || Table::new(make_multi_agent_with(id, &config).unwrap());
        let mut table = made();
        let mut samplers = table.samplers(5);
        table.reset(&ResetOptions::seed(2)).unwrap();
        (0..2).for_each(|_| table.step_at_random(&mut samplers).unwrap());
        assert!(!table.out.is_done(), "{id}");
        let saved = json!([table.env.state().unwrap().unwrap(), table.out]).to_string();

        let run = |mut table: Table<Box<dyn MultiAgentEnv>>| {
            let mut samplers = samplers.clone();
            let mut history = Vec::new();
            for _ in 0..300 {
                table.step_at_random(&mut samplers).unwrap();
                history.push(table.out.clone());
                if table.out.is_done() {
                    table.reset(&ResetOptions::new()).unwrap();
                    history.push(table.out.clone());
                }
            }
            history
        };
        let expected = run(table);
        assert!(expected.iter().any(|step| step.is_done()), "{id}");
        let [env, out]: [serde_json::Value; 2] = serde_json::from_str(&saved).unwrap();
        let mut restored = made();
        restored.env.set_state(&env).unwrap();
        restored.out = serde_json::from_value(out).unwrap();
        assert_eq!(run(restored), expected, "{id}");
        for foreign in [json!(null), json!({"wrapper": 1, "env": 2})] {
            let error = made().env.set_state(&foreign).unwrap_err();
            assert!(matches!(error, EnvError::InvalidState { .. }), "{id}: {error}");
        }
    }
}

#[test]
fn a_restored_vector_continues_exactly() {
    let made =
        || Vector::new(make_multi_agent_vec_with("MultiAgentCartPole-v1", 3, &two()).unwrap());
    let run = |vector: &mut Vector| -> Vec<MultiAgentVectorStep> {
        (0..80)
            .map(|t| {
                vector.step(|env, agent| (t / (1 + env + agent) % 2) as i64).unwrap();
                vector.out.clone()
            })
            .collect()
    };
    let mut vector = made();
    vector.envs.reset(&seeds_from(Some(7), 3), &mut vector.out).unwrap();
    run(&mut vector);
    let saved = json!([vector.envs.state().unwrap().unwrap(), vector.out]).to_string();
    let [envs, out]: [serde_json::Value; 2] = serde_json::from_str(&saved).unwrap();
    let mut restored = made();
    restored.envs.set_state(&envs).unwrap();
    restored.out = serde_json::from_value(out).unwrap();
    assert_eq!(run(&mut restored), run(&mut vector));
}
