//! The rules between several agents and their environment, in a scripted one.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/multi_agent.rs"]
#[allow(dead_code)] // Each test file uses only a part of this.
mod table;

use rekindle_env::multi_agent::{MultiAgentChecker, MultiAgentTimeLimit, agent_index};
use rekindle_env::{
    AgentSpec, EnvError, MultiAgentActions, MultiAgentEnv, MultiAgentStep, ResetOptions, Result,
    Space,
};
use table::Table;

/// What a scripted environment does in a step.
#[derive(Clone, Copy)]
enum Do {
    See(usize),
    Reward(usize, f64),
    Terminate(usize),
    Truncate(usize),
    TerminateAll,
    TruncateAll,
    /// Writes an observation outside the space.
    Nonsense(usize),
    Crash,
}
use Do::*;

/// Plays a script, starting with its first line in the reset. Nothing happens after its end.
struct Script {
    agents: Vec<AgentSpec>,
    lines: Vec<Vec<Do>>,
    at: usize,
}

impl Script {
    fn read(&mut self, out: &mut MultiAgentStep) -> Result<()> {
        let line = self.lines.get(self.at).cloned().unwrap_or_default();
        for action in line {
            match action {
                See(agent) => out.observe(agent)?.write_discrete(self.at as i64)?,
                Reward(agent, reward) => out.add_reward(agent, reward)?,
                Terminate(agent) => out.terminate(agent)?,
                Truncate(agent) => out.truncate(agent)?,
                TerminateAll => out.terminate_all(),
                TruncateAll => out.truncate_all(),
                Nonsense(agent) => out.observe(agent)?.write_discrete(-1)?,
                Crash => return Err(EnvError::custom("out of fuel")),
            }
        }
        self.at += 1;
        Ok(())
    }
}

impl MultiAgentEnv for Script {
    fn possible_agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    fn reset(&mut self, _: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        self.at = 0;
        self.read(out)
    }

    fn step(&mut self, _: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        self.read(out)
    }

    fn name(&self) -> &str {
        "Script"
    }
}

fn script(lines: &[&[Do]]) -> Script {
    let (seen, done) = (Space::discrete(5000).unwrap(), Space::discrete(2).unwrap());
    let agents = ["a", "b", "c"].map(|id| AgentSpec::new(id, seen.clone(), done.clone()));
    Script { agents: agents.into(), lines: lines.iter().map(|line| line.to_vec()).collect(), at: 0 }
}

fn checked(lines: &[&[Do]]) -> Table<MultiAgentChecker<Script>> {
    Table::new(MultiAgentChecker::new(script(lines)))
}

/// Steps with an action of every agent that must act.
fn step(table: &mut Table<impl MultiAgentEnv>) -> Result<()> {
    let actions: Vec<_> = table.to_act().iter().map(|&agent| (agent, 0)).collect();
    table.step(&actions)
}

/// Returns the error of the first step that fails.
fn failure(lines: &[&[Do]]) -> EnvError {
    let mut table = checked(lines);
    table.reset(&ResetOptions::new()).unwrap();
    (0..2000).find_map(|_| step(&mut table).err()).unwrap()
}

#[test]
fn only_observed_agents_act_next() {
    let mut table = checked(&[&[See(0)], &[See(1), See(2)], &[], &[See(0)]]);
    table.reset(&ResetOptions::new()).unwrap();
    assert_eq!(table.to_act(), [0]);
    step(&mut table).unwrap();
    assert_eq!(table.to_act(), [1, 2]);
    assert_eq!(table.out.last_observation(0).unwrap().as_discrete().unwrap(), 0);
    step(&mut table).unwrap();
    assert_eq!(table.to_act(), [0; 0]); // the next step has no actions
    step(&mut table).unwrap();
    assert_eq!(table.to_act(), [0]);
}

#[test]
fn missing_and_unexpected_actions_name_agent_and_reason_and_change_nothing() {
    let mut table = checked(&[&[See(0), See(1)], &[See(1), Terminate(0)], &[See(1)]]);
    assert!(matches!(table.step(&[]).unwrap_err(), EnvError::StepBeforeReset { .. }));
    table.reset(&ResetOptions::new()).unwrap();
    let error = table.step(&[(0, 0)]).unwrap_err();
    assert!(matches!(&error, EnvError::MissingAction { agent, .. } if agent == "b"), "{error}");
    let reason = |error: EnvError| match error {
        EnvError::UnexpectedAction { agent, reason, .. } => (agent, reason),
        other => (other.to_string(), ""),
    };
    let error = table.step(&[(0, 0), (1, 0), (2, 0)]).unwrap_err();
    assert_eq!(reason(error), ("c".to_owned(), "it has not appeared in this episode"));
    table.step(&[(0, 0), (1, 0)]).unwrap();
    let error = table.step(&[(0, 0), (1, 0)]).unwrap_err();
    assert_eq!(reason(error), ("a".to_owned(), "it is done"));
    table.step(&[(1, 0)]).unwrap();

    let mut table = checked(&[&[See(0), See(1)], &[See(1)]]);
    table.reset(&ResetOptions::new()).unwrap();
    step(&mut table).unwrap();
    let error = table.step(&[(0, 0), (1, 0)]).unwrap_err();
    assert_eq!(reason(error), ("a".to_owned(), "it was not observed in the last step"));
}

#[test]
fn an_episode_ends_when_every_agent_that_appeared_is_done() {
    let mut table = checked(&[
        &[See(0), See(1)],
        &[See(1), See(0), Terminate(0)],
        &[Reward(1, 2.0), Terminate(1)], // without an observation: the last one stands
    ]);
    table.reset(&ResetOptions::new()).unwrap();
    step(&mut table).unwrap();
    assert_eq!((table.to_act(), table.out.is_done()), (vec![1], false));
    step(&mut table).unwrap();
    assert!(table.out.all_terminated() && !table.out.all_truncated());
    assert_eq!(table.terminated(), [false, true, false]); // in this step
    assert_eq!(table.out.observation(1).map(|_| ()), None);
    assert_eq!(table.out.last_observation(1).unwrap().as_discrete().unwrap(), 1);
    assert_eq!(table.rewards(), [0.0, 2.0, 0.0]);
    assert!(matches!(step(&mut table).unwrap_err(), EnvError::StepAfterDone { .. }));
}

#[test]
fn an_episode_with_a_truncated_agent_ends_truncated() {
    let lines: &[&[Do]] =
        &[&[See(0), See(1)], &[See(0), Truncate(0), See(1)], &[See(1), Terminate(1)]];
    let mut table = checked(lines);
    table.reset(&ResetOptions::new()).unwrap();
    step(&mut table).unwrap();
    assert_eq!(table.truncated(), [true, false, false]);
    step(&mut table).unwrap();
    assert!(table.out.all_truncated() && !table.out.all_terminated());
    assert_eq!(table.terminated(), [false, true, false]);
}

#[test]
fn the_end_for_all_ends_every_agent_that_was_not_done() {
    let mut table = checked(&[&[See(0), See(1)], &[See(0), Terminate(0), TruncateAll]]);
    table.reset(&ResetOptions::new()).unwrap();
    step(&mut table).unwrap();
    assert_eq!(table.terminated(), [true, false, false]);
    assert_eq!(table.truncated(), [false, true, false]); // `c` never appeared
    assert!(table.to_act().is_empty());

    let mut table = checked(&[&[See(0)], &[TerminateAll]]);
    table.reset(&ResetOptions::new()).unwrap();
    step(&mut table).unwrap();
    assert_eq!(table.terminated(), [true, false, false]);
}

#[test]
fn invalid_reports_are_errors_of_the_environment() {
    let cases: &[(&[&[Do]], &str)] = &[
        (&[&[See(0)], &[Truncate(0)]], "a truncation without a final observation"),
        (&[&[See(0), See(1)], &[Terminate(0), See(1)], &[See(0)]], "an observation, a reward or"),
        (
            &[&[See(0), See(1)], &[Terminate(0), See(1)], &[Reward(0, 1.0)]],
            "an observation, a reward",
        ),
        (
            &[&[See(0), See(1)], &[Terminate(0), See(1)], &[Terminate(0)]],
            "an observation, a reward",
        ),
        (&[&[See(0)], &[See(0), Terminate(1)]], "an end although it was never observed"),
    ];
    for (lines, report) in cases {
        let error = failure(lines);
        assert!(matches!(error, EnvError::InvalidReport { .. }), "{error}");
        assert!(error.to_string().contains(report), "{error}");
        assert!(!error.is_recoverable());
    }
    assert!(matches!(failure(&[&[See(0)], &[See(3)]]), EnvError::UnknownAgent { .. }));
}

#[test]
fn a_reset_must_start_an_episode_with_observations_in_their_spaces() {
    for lines in [&[See(0), Terminate(0)][..], &[See(0), TerminateAll]] {
        let error = checked(&[lines]).reset(&ResetOptions::new()).unwrap_err();
        assert!(matches!(error, EnvError::InvalidReport { .. }), "{error}");
    }
    let error = checked(&[&[See(0), Nonsense(1)]]).reset(&ResetOptions::new()).unwrap_err();
    let expected = "agent `b`: `Script` observed -1, which is not in its observation space \
                    Discrete(5000); correct the environment or its space";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_episode_in_which_no_agent_acts_is_an_error() {
    let error = failure(&[&[See(0)]]);
    assert!(matches!(error, EnvError::NobodyActs { steps: 1000, .. }), "{error}");
}

#[test]
fn a_failure_is_recoverable_by_a_reset() {
    let mut table = checked(&[&[See(0)], &[Crash]]);
    table.reset(&ResetOptions::new()).unwrap();
    assert!(step(&mut table).unwrap_err().is_recoverable());
    assert!(matches!(table.step(&[]).unwrap_err(), EnvError::StepAfterFailure { .. }));
    table.reset(&ResetOptions::new()).unwrap();
    assert_eq!(table.to_act(), [0]);
}

#[test]
fn a_time_limit_truncates_all_agents_and_keeps_the_last_observation_of_waiting_ones() {
    let lines: &[&[Do]] = &[&[See(0)], &[See(1)], &[See(0)]];
    let limited = MultiAgentTimeLimit::new(script(lines), 2).unwrap();
    assert_eq!(limited.max_episode_steps(), 2);
    let mut table = Table::new(MultiAgentChecker::new(limited));
    for _ in 0..2 {
        table.reset(&ResetOptions::new()).unwrap();
        step(&mut table).unwrap();
        assert!(!table.out.is_done());
        step(&mut table).unwrap();
        assert!(table.out.all_truncated() && !table.out.all_terminated());
        assert_eq!(table.truncated(), [true, true, false]);
        assert_eq!((table.out.observed(0), table.out.observed(1)), (true, false));
        assert_eq!(table.out.last_observation(1).unwrap().as_discrete().unwrap(), 1);
    }
    assert!(MultiAgentTimeLimit::new(script(lines), 0).is_err());
}

#[test]
fn slots_of_other_agents_are_refused() {
    let mut table = checked(&[&[See(0)], &[See(0)]]);
    let agents = table.env.possible_agents().to_vec();
    table.out = MultiAgentStep::new(&agents[..2]);
    assert!(matches!(table.reset(&ResetOptions::new()), Err(EnvError::ShapeMismatch { .. })));
    let other = Space::boxed(0.0, 1.0, &[2]).unwrap();
    let mut changed = agents.clone();
    changed[1].observation_space = other;
    table.out = MultiAgentStep::new(&changed);
    let error = table.reset(&ResetOptions::new()).unwrap_err();
    assert!(matches!(&error, EnvError::Agent { agent, .. } if agent == "b"), "{error}");
    table.out = MultiAgentStep::new(&agents);
    table.reset(&ResetOptions::new()).unwrap();
    table.actions = MultiAgentActions::new(&agents[..1]);
    assert!(matches!(table.step(&[(0, 0)]), Err(EnvError::ShapeMismatch { .. })));
}

#[test]
fn agents_are_found_by_name_and_errors_suggest_close_names() {
    let agents = script(&[]).agents;
    assert_eq!(agent_index(&agents, "c").unwrap(), 2);
    let error = agent_index(&agents, "d").unwrap_err();
    assert_eq!(error.to_string(), "no agent `d`; known: `a`, `b`, `c`");
    let boxed: Box<dyn MultiAgentEnv> = Box::new(script(&[]));
    assert_eq!(boxed.agent_index("b").unwrap(), 1);
    assert!(format!("{boxed:?}").starts_with("Script { a: Discrete(5000) -> Discrete(2), b:"));
}
