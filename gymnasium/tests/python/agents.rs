//! Games of PettingZoo through workers equal the same games in a Python loop.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rekindle_env::{
    AgentSpec, EnvError, Info, MultiAgentActions, MultiAgentStep, ResetOptions, Row,
    make_multi_agent_with,
};
use serde_json::{Value as Json, json};

use crate::support::{config, folder};

const EPISODES: usize = 10;

/// The numbers of an observation, parts of a Dict by name.
fn numbers(row: Row<'_>) -> Vec<f64> {
    if let Ok(parts) = row.buffer().as_dict() {
        return parts.keys().flat_map(|key| numbers(row.get(key).unwrap())).collect();
    }
    match (row.as_f32(), row.as_i64()) {
        (Ok(floats), _) => floats.iter().map(|&x| f64::from(x)).collect(),
        (_, Ok(ints)) => ints.iter().map(|&x| x as f64).collect(),
        _ => row.as_u8().unwrap().iter().map(|&x| f64::from(x)).collect(),
    }
}

/// The observations and rewards of each agent, in order.
type Records = BTreeMap<String, Vec<Json>>;

fn record(agents: &[AgentSpec], step: &MultiAgentStep, records: &mut Records) {
    for (agent, spec) in agents.iter().enumerate() {
        let flags = (step.terminated(agent), step.truncated(agent));
        match step.observation(agent) {
            Some(row) => records.entry(spec.id.clone()).or_default().push(json!([
                numbers(row),
                step.reward(agent),
                flags.0,
                flags.1
            ])),
            None => assert_eq!((step.reward(agent), flags), (0.0, (false, false))),
        }
    }
}

fn equals_its_own_loop(module: &str, api: &str) {
    rekindle_gymnasium::register();
    let id = format!("pettingzoo:{module}");
    let mut env = make_multi_agent_with(&id, &config(json!({"api": api}))).unwrap();
    let agents = env.possible_agents().to_vec();
    let mut out = MultiAgentStep::new(&agents);
    let mut actions = MultiAgentActions::new(&agents);
    let mut samplers: Vec<_> = agents.iter().map(|agent| agent.action_space.sampler(3)).collect();
    let (mut ours, mut taken) = (Records::new(), BTreeMap::<String, Vec<i64>>::new());
    for episode in 0..EPISODES {
        let seed = ResetOptions::seed(9);
        let options = if episode == 0 { seed } else { ResetOptions::new() };
        env.reset(&options, &mut out).unwrap();
        record(&agents, &out, &mut ours);
        let mut done = vec![false; agents.len()];
        while done.contains(&false) {
            actions.clear();
            for agent in out.agents_to_act() {
                let mut row = actions.act(agent).unwrap();
                samplers[agent].sample_into(row.reborrow()).unwrap();
                let action = row.as_row().as_discrete().unwrap();
                taken.entry(agents[agent].id.clone()).or_default().push(action);
            }
            env.step(&actions, &mut out).unwrap();
            record(&agents, &out, &mut ours);
            done.iter_mut().enumerate().for_each(|(i, done)| *done |= out.is_agent_done(i));
        }
    }
    let files = tempfile::tempdir().unwrap();
    let (input, output) = (files.path().join("in.json"), files.path().join("out.json"));
    let request = json!({
        "module": format!("pettingzoo.{module}"), "api": api, "episodes": EPISODES, "seed": 9,
        "actions": taken,
    });
    fs::write(&input, request.to_string()).unwrap();
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = folder().join("record_agents.py");
    assert!(Command::new(python).arg(script).args([&input, &output]).status().unwrap().success());
    let theirs: BTreeMap<String, Vec<Vec<Json>>> =
        serde_json::from_str(&fs::read_to_string(&output).unwrap()).unwrap();
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (agent, theirs) in &theirs {
        assert!(ours[agent].len() == theirs.len() && theirs.len() > EPISODES, "{agent}");
        for (row, (ours, theirs)) in ours[agent].iter().zip(theirs).enumerate() {
            let floats = |record: &Json| -> (Vec<f64>, f64) {
                serde_json::from_value(json!([record[0], record[1]])).unwrap()
            };
            let theirs = Json::Array(theirs.clone());
            assert_eq!(floats(ours), floats(&theirs), "{agent}, record {row}");
            assert_eq!((&ours[2], &ours[3]), (&theirs[2], &theirs[3]), "{agent}, record {row}");
        }
    }
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn a_game_with_simultaneous_moves_equals_its_own_loop() {
    equals_its_own_loop("classic.rps_v2", "parallel");
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn games_in_turns_equal_their_own_loops() {
    equals_its_own_loop("classic.rps_v2", "aec");
    equals_its_own_loop("classic.tictactoe_v3", "aec");
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn infos_of_agents_arrive_by_their_names_and_agents_leave() {
    rekindle_gymnasium::register();
    let mut env = make_multi_agent_with("pettingzoo:lab", &config(json!({}))).unwrap();
    let agents = env.possible_agents().to_vec();
    let mut out = MultiAgentStep::new(&agents);
    let mut actions = MultiAgentActions::new(&agents);
    let info = |numbers: &[(&str, f64)]| -> Info {
        numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    };
    env.reset(&ResetOptions::seed(0), &mut out).unwrap();
    assert_eq!(env.info(), info(&[("left.start", 1.0), ("right.start", 1.0)]));
    for t in 1..=4 {
        actions.clear();
        let playing: Vec<usize> = out.agents_to_act().collect();
        assert_eq!(playing, if t <= 2 { vec![0, 1] } else { vec![1] });
        for agent in playing {
            actions.act(agent).unwrap().write_discrete(1).unwrap();
        }
        env.step(&actions, &mut out).unwrap();
        let of = |agent: &str| {
            [(format!("{agent}.score"), f64::from(t)), (format!("{agent}.deep.er"), 0.5)]
        };
        let mut expected: Info = of("right").into();
        if t <= 2 {
            expected.extend(of("left"));
        }
        assert_eq!(env.info(), expected);
        assert_eq!((out.terminated(0), out.terminated(1)), (t == 2, t == 4));
    }
}

#[test]
#[ignore = "needs Python with PettingZoo; `cargo xtask test` runs it"]
fn modules_and_interfaces_that_do_not_exist_are_named() {
    rekindle_gymnasium::register();
    let message = |id: &str, options: Json| -> String {
        let made = make_multi_agent_with(id, &config(options));
        made.map(drop).map_err(|error: EnvError| error.to_string()).unwrap_err()
    };
    let module = message("pettingzoo:classic.no_such_game_v0", json!({}));
    assert!(module.contains("finds no module `classic.no_such_game_v0`"), "{module}");
    let api = message("pettingzoo:classic.tictactoe_v3", json!({"api": "parallel"}));
    assert!(api.contains("has no `parallel_env`"), "{api}");
    let single = rekindle_env::make("pettingzoo:classic.rps_v2").unwrap_err().to_string();
    assert!(single.contains("multi-agent environment"), "{single}");
}
