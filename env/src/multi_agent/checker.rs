//! The rules between several agents and their environment.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::wrappers::Nested;
use crate::{EnvError, Info, ResetOptions, Result, load_state, save_state};

/// Steps in a row without an agent to act, after which an episode counts as stuck.
const MAX_IDLE_STEPS: usize = 1_000;

/// Enforces the rules of [`MultiAgentEnv`] on its user and on its author.
///
/// Refused are: steps before the first reset, after the end of an episode and after a breakdown;
/// actions of agents that must not act, and missing ones of agents that must; data for an agent that
/// is done; a truncated agent without a final observation; the end of an agent that never appeared;
/// agents that are done, or observations outside their space, in a reset; and 1000 steps in a row in
/// which nobody may act.
///
/// What the environment reports becomes complete: when every agent that was observed in the episode
/// is done, the episode is (truncated if one of them was, else terminated); and when the episode ends
/// for all, every agent in it that was not done gets the flags of the episode. It also clears the
/// slots that an environment writes to.
#[derive(Clone, Debug)]
pub struct MultiAgentChecker<E> {
    env: E,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    phase: Phase,
    agents: Vec<Agent>,
    /// Whether an agent was truncated in this episode.
    any_truncated: bool,
    idle_steps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    New,
    Running,
    Done { terminated: bool, truncated: bool },
    Failed,
}

/// What became of an agent in this episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Agent {
    /// Never observed.
    Absent,
    Waits,
    MustAct,
    Done,
}

impl<E: MultiAgentEnv> MultiAgentChecker<E> {
    /// Watches over `env`.
    pub fn new(env: E) -> Self {
        let agents = vec![Agent::Absent; env.possible_agents().len()];
        let state = State { phase: Phase::New, agents, any_truncated: false, idle_steps: 0 };
        Self { env, state }
    }

    /// The environment it watches over.
    pub fn env(&self) -> &E {
        &self.env
    }

    fn check_actions(&self, actions: &MultiAgentActions) -> Result<()> {
        if actions.num_agents() != self.state.agents.len() {
            actions.check(self.env.possible_agents())?;
        }
        for (i, agent) in self.state.agents.iter().enumerate() {
            let reason = match (agent, actions.acts(i)) {
                (Agent::MustAct, true) => continue,
                (_, false) if *agent != Agent::MustAct => continue,
                (Agent::Done, _) => "it is done",
                (Agent::Absent, _) => "it has not appeared in this episode",
                (Agent::Waits, _) => "it was not observed in the last step",
                (Agent::MustAct, _) => {
                    let (env, agent) = (self.name().to_owned(), self.id(i));
                    return Err(EnvError::MissingAction { env, agent });
                }
            };
            let (env, agent) = (self.name().to_owned(), self.id(i));
            return Err(EnvError::UnexpectedAction { env, agent, reason });
        }
        Ok(())
    }

    /// Takes down what became of the agents, completes what was reported, and fails on what cannot
    /// be.
    fn settle(&mut self, out: &mut MultiAgentStep) -> Result<()> {
        for i in 0..self.state.agents.len() {
            let (observed, ends) = (out.observed(i), out.is_agent_done(i));
            let agent = self.state.agents[i];
            let wrong = match agent {
                Agent::Done if observed || ends || out.reward(i) != 0.0 => Some((
                    "an observation, a reward or an end after it was done",
                    "end it later, or leave it out",
                )),
                Agent::Absent if ends && !observed => Some((
                    "an end though it was never observed in this episode",
                    "observe it first, or leave it out",
                )),
                _ if out.truncated(i) && !observed => Some((
                    "a truncation without a final observation",
                    "observe it in the same step, or use `truncate_all`",
                )),
                _ => None,
            };
            if let Some((report, remedy)) = wrong {
                return Err(self.invalid(i, report, remedy));
            }
            self.state.any_truncated |= out.truncated(i);
            self.state.agents[i] = match agent {
                Agent::Done => Agent::Done,
                _ if ends => Agent::Done,
                _ if observed => Agent::MustAct,
                Agent::Absent => Agent::Absent,
                Agent::Waits | Agent::MustAct => Agent::Waits,
            };
        }
        let agents = &mut self.state.agents;
        let alive = |agent: &Agent| matches!(agent, Agent::Waits | Agent::MustAct);
        if !out.is_done() && agents.contains(&Agent::Done) && !agents.iter().any(alive) {
            if self.state.any_truncated { out.truncate_all() } else { out.terminate_all() }
        }
        let (terminated, truncated) = (out.all_terminated(), out.all_truncated());
        if terminated || truncated {
            for (i, agent) in agents.iter_mut().enumerate().filter(|(_, agent)| alive(agent)) {
                if terminated {
                    out.terminate(i)?;
                }
                if truncated {
                    out.truncate(i)?;
                }
                *agent = Agent::Done;
            }
            self.state.phase = Phase::Done { terminated, truncated };
        } else if agents.contains(&Agent::MustAct) {
            self.state.idle_steps = 0;
        } else {
            self.state.idle_steps += 1;
            if self.state.idle_steps >= MAX_IDLE_STEPS {
                let env = self.name().to_owned();
                return Err(EnvError::NobodyActs { env, steps: MAX_IDLE_STEPS });
            }
        }
        Ok(())
    }

    /// What must not happen in a reset. Only there, since it would cost too much in every step, are
    /// observations compared with their spaces.
    fn check_reset(&self, out: &MultiAgentStep) -> Result<()> {
        for (i, agent) in self.env.possible_agents().iter().enumerate() {
            if out.is_agent_done(i) || out.is_done() {
                let report = "the end of an episode in a reset";
                return Err(self.invalid(i, report, "end it in a step, or do not start it"));
            }
            let Some(row) = out.observation(i) else { continue };
            if !agent.observation_space.contains_row(row) {
                let space = agent.observation_space.to_string();
                let source = EnvError::NotInSpace { space, value: format!("{row:?}") };
                return Err(EnvError::Agent { agent: agent.id.clone(), source: Box::new(source) });
            }
        }
        Ok(())
    }

    fn id(&self, agent: usize) -> String {
        self.env.possible_agents().get(agent).map(|agent| agent.id.clone()).unwrap_or_default()
    }

    #[cold]
    fn invalid(&self, agent: usize, report: &'static str, remedy: &'static str) -> EnvError {
        let (env, agent) = (self.name().to_owned(), self.id(agent));
        EnvError::InvalidReport { env, agent, report, remedy }
    }

    fn start(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        out.check(self.env.possible_agents())?;
        out.clear();
        self.env.reset(options, out)?;
        self.check_reset(out)?;
        self.state.agents.fill(Agent::Absent);
        (self.state.any_truncated, self.state.idle_steps) = (false, 0);
        self.settle(out)
    }

    #[cold]
    fn refuse(&self) -> EnvError {
        let env = self.name().to_owned();
        match self.state.phase {
            Phase::Done { terminated, truncated } => {
                EnvError::StepAfterDone { env, terminated, truncated }
            }
            Phase::Failed => EnvError::StepAfterFailure { env },
            Phase::New | Phase::Running => EnvError::StepBeforeReset { env },
        }
    }
}

impl<E: MultiAgentEnv> MultiAgentEnv for MultiAgentChecker<E> {
    fn possible_agents(&self) -> &[AgentSpec] {
        self.env.possible_agents()
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        let started = self.start(options, out);
        self.state.phase = if started.is_ok() { Phase::Running } else { Phase::Failed };
        started
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        if self.state.phase != Phase::Running {
            return Err(self.refuse());
        }
        self.check_actions(actions)?;
        if out.num_agents() != self.state.agents.len() {
            out.check(self.env.possible_agents())?;
        }
        out.clear();
        // Even a refused action may come after others have been performed: there is no way on.
        let stepped = self.env.step(actions, out).and_then(|()| self.settle(out));
        stepped.inspect_err(|_| self.state.phase = Phase::Failed)
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn state(&self) -> Result<Option<Json>> {
        match self.env.state()? {
            Some(env) => save_state(&Nested { wrapper: &self.state, env }),
            None => Ok(None),
        }
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let Nested { wrapper, env } = load_state::<Nested<State>>(self.name(), state)?;
        let (expected, found) = (self.state.agents.len(), wrapper.agents.len());
        if expected != found {
            return Err(EnvError::length("agents in the state", expected, found));
        }
        self.env.set_state(&env)?;
        self.state = wrapper;
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
