//! The rules of multi-agent environments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentStep};
use crate::buffer::Row;
use crate::env::{Info, ResetOptions, load_state, save_state};
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;
use crate::wrappers::Nested;

/// The number of consecutive steps without an agent to act that is an error.
const MAX_IDLE_STEPS: usize = 1_000;

/// Enforces the rules of [`MultiAgentEnv`] on environments and their users.
///
/// It rejects:
///
/// - steps before the first reset, after the end of an episode and after a failure;
/// - actions of agents that must not act, and missing actions of agents that must act;
/// - observations, rewards or flags for an agent that is done, and the end of an agent that was
///   never observed;
/// - truncated agents without a final observation;
/// - agents that are done in a reset;
/// - observations outside their space in a reset, and choices that do not exist in any step;
/// - 1000 consecutive steps in which no agent may act.
///
/// It completes what an environment reports. When every agent that was observed in the episode is
/// done, it ends the episode, truncated if one of them was, else terminated. When the episode ends
/// for all, every agent that was not done gets the flags of the episode. It also clears the slots
/// before the environment writes to them.
#[derive(Clone, Debug)]
pub struct MultiAgentChecker<E> {
    env: E,
    name: Option<Arc<str>>,
    /// Whether an agent observes choices, which are checked.
    has_choices: bool,
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

/// The status of an agent in the current episode.
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
    /// Wraps `env`.
    #[must_use]
    pub fn new(env: E) -> Self {
        let agents = vec![Agent::Absent; env.possible_agents().len()];
        let state = State { phase: Phase::New, agents, any_truncated: false, idle_steps: 0 };
        let mut spaces = env.possible_agents().iter().map(|agent| &agent.observation_space);
        let has_choices = spaces.any(Space::has_choices);
        Self { env, name: None, has_choices, state }
    }

    /// Sets the name of the environment in error messages: the id under which it is registered.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Returns the wrapped environment.
    #[must_use]
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

    /// Updates the status of the agents, completes the report, and fails on a broken rule.
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
                    "an end although it was never observed in this episode",
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
            if self.has_choices && observed {
                self.check_observation(i, out, Space::contains_choices)?;
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

    /// Fails if an agent is done in a reset, or if an observation is outside its space: every
    /// number is checked here, which would be too slow in every step.
    fn check_reset(&self, out: &MultiAgentStep) -> Result<()> {
        for i in 0..self.state.agents.len() {
            if out.is_agent_done(i) || out.is_done() {
                let report = "the end of an episode in a reset";
                return Err(self.invalid(i, report, "end it in a step, or do not start it"));
            }
            self.check_observation(i, out, Space::contains_row)?;
        }
        Ok(())
    }

    /// Fails if an agent is observed and `contains` does not hold for its observation.
    fn check_observation(
        &self,
        i: usize,
        out: &MultiAgentStep,
        contains: fn(&Space, Row<'_>) -> bool,
    ) -> Result<()> {
        let agent = self.env.possible_agents().get(i);
        let (Some(agent), Some(row)) = (agent, out.observation(i)) else { return Ok(()) };
        if contains(&agent.observation_space, row) {
            return Ok(());
        }
        let source = EnvError::invalid_observation(self.name(), &agent.observation_space, row);
        Err(EnvError::Agent { agent: agent.id.clone(), source: Box::new(source) })
    }

    fn named(&self, error: EnvError) -> EnvError {
        match &self.name {
            Some(name) => error.with_env(name),
            None => error,
        }
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
        started.map_err(|error| self.named(error))
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
        // When one action is rejected, the actions of other agents may already have been performed.
        let stepped = self.env.step(actions, out).and_then(|()| self.settle(out));
        stepped.map_err(|error| {
            self.state.phase = Phase::Failed;
            self.named(error)
        })
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        let rendered = self.env.render();
        rendered.map_err(|error| self.named(error))
    }

    fn state(&self) -> Result<Option<Json>> {
        match self.env.state().map_err(|error| self.named(error))? {
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
        self.env.set_state(&env).map_err(|error| self.named(error))?;
        self.state = wrapper;
        Ok(())
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.env.name())
    }
}
