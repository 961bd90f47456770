//! Environments with several agents.
//!
//! A [`MultiAgentEnv`] is RLlib's class of the same name on preallocated slots. Each agent has a
//! name for people, an index for programs, and its own spaces. The agents that an environment
//! observes in a step act in the next one, and no others. Games with simultaneous moves
//! (PettingZoo's parallel API) observe all agents in every step, turn-based games observe one at a
//! time, and agents may join and leave.
//!
//! ```
//! use rekindle_env::{MultiAgentActions, MultiAgentStep, ResetOptions, make_multi_agent};
//!
//! let mut env = make_multi_agent("RockPaperScissors-v0")?;
//! let mut out = MultiAgentStep::new(env.possible_agents());
//! let mut actions = MultiAgentActions::new(env.possible_agents());
//!
//! env.reset(&ResetOptions::seed(0), &mut out)?;
//! let mut returns = [0.0; 2];
//! while !out.is_done() {
//!     actions.clear();
//!     for agent in out.agents_to_act() {
//!         actions.act(agent)?.write_discrete(agent as i64)?; // rock against paper
//!     }
//!     env.step(&actions, &mut out)?;
//!     (0..2).for_each(|agent| returns[agent] += out.reward(agent));
//! }
//! assert_eq!(returns, [-10.0, 10.0]);
//! # Ok::<(), rekindle_env::EnvError>(())
//! ```
//!
//! Read [`RockPaperScissors`](crate::games::RockPaperScissors) before you write an environment, or
//! [`TicTacToe`](crate::games::TicTacToe) for turns.

mod actions;
mod checker;
mod copies;
mod registry;
mod step;
mod sync;
mod time_limit;
mod vector;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use actions::MultiAgentActions;
pub use checker::MultiAgentChecker;
pub use copies::MultiAgentCopies;
pub use registry::{
    MultiAgentEnvSpec, make_multi_agent, make_multi_agent_vec, make_multi_agent_vec_with,
    make_multi_agent_with, multi_agent_spec, register_multi_agent, registered_multi_agent_ids,
};
pub use step::MultiAgentStep;
pub use sync::SyncMultiAgentVectorEnv;
pub use time_limit::MultiAgentTimeLimit;
pub use vector::{MultiAgentVectorEnv, MultiAgentVectorStep};

pub(crate) use registry::specs;

use crate::buffer::Buffer;
use crate::env::{Info, ResetOptions};
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;
use crate::vector::{check_len, unsupported};

/// The name of an agent, unique in its environment.
pub type AgentId = String;

/// The name and the spaces of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentSpec {
    /// The agent's name.
    pub id: AgentId,
    /// The space of its observations.
    pub observation_space: Space,
    /// The space of its actions.
    pub action_space: Space,
}

impl AgentSpec {
    /// Creates the specification of an agent called `id`.
    #[must_use]
    pub fn new(id: impl Into<AgentId>, observation_space: Space, action_space: Space) -> Self {
        Self { id: id.into(), observation_space, action_space }
    }
}

/// An environment in which several agents observe and act.
///
/// [`reset`](Self::reset) starts an episode and [`step`](Self::step) advances it. Both write their
/// results into slots of the caller, so that a step allocates nothing:
///
/// - An agent that is [observed](MultiAgentStep::observe) acts in the next step, unless it is done.
///   No other agent may act. If no agent is observed, the next step has no actions.
/// - An agent may receive [rewards](MultiAgentStep::add_reward) in any step, also while it waits.
/// - An agent that is [terminated](MultiAgentStep::terminate) or
///   [truncated](MultiAgentStep::truncate) is done until the next reset, and is neither observed
///   nor rewarded again. A truncated agent needs a final observation in that step. For a terminated
///   agent without one, its last observation counts.
/// - The episode ends when the environment ends it for [all](MultiAgentStep::terminate_all), or
///   when every agent that was observed in it is done.
///
/// An environment need not check these rules: [`make_multi_agent`] wraps it in
/// [`MultiAgentChecker`], which enforces them for the environment and its user, and in
/// [`MultiAgentTimeLimit`]. Its caller clears `out` (see [`MultiAgentStep::clear`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a multi-agent environment",
    label = "this type does not implement `MultiAgentEnv`",
    note = "implement `MultiAgentEnv`: `possible_agents`, `reset` and `step`",
    note = "for several agents in copies of a single-agent `Env`, use `MultiAgentCopies`"
)]
pub trait MultiAgentEnv: Send {
    /// Returns every agent that may appear, in the order of their indices. The list never changes.
    fn possible_agents(&self) -> &[AgentSpec];

    /// Starts an episode and observes the agents that act first.
    ///
    /// A seed restarts the environment's random stream. Without a seed, the stream continues.
    ///
    /// # Errors
    ///
    /// Any error of the environment, for example [`EnvError::UnknownOption`] for a reset option
    /// that it does not have, or [`EnvError::Crashed`].
    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()>;

    /// Performs the actions of the agents that were observed in the last reset or step.
    ///
    /// # Errors
    ///
    /// Any error of the environment, for example [`EnvError::InvalidAction`] or
    /// [`EnvError::Crashed`].
    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()>;

    /// Returns additional numbers about the last reset or step, for logs and callbacks.
    fn info(&self) -> Info {
        Info::new()
    }

    /// Returns a picture of the current state. It is meant for people, and need not be fast.
    ///
    /// # Errors
    ///
    /// [`EnvError::CannotRender`] if the environment draws nothing.
    fn render(&mut self) -> Result<Frame> {
        Err(EnvError::cannot_render(self.name()))
    }

    /// Returns everything needed to continue exactly from here, or `None` if the environment does
    /// not support that.
    ///
    /// Use [`save_state`](crate::save_state): other conversions to JSON turn NaN and infinities
    /// into `null`.
    ///
    /// # Errors
    ///
    /// Any error of the environment, if its state cannot be saved now.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Continues from a state that [`state`](Self::state) returned.
    ///
    /// # Errors
    ///
    /// [`EnvError::Unsupported`] if the environment does not save its state,
    /// [`EnvError::InvalidState`] if the state is not one of this environment.
    fn set_state(&mut self, _state: &Json) -> Result<()> {
        Err(unsupported::<Self>("set_state"))
    }

    /// Returns the name used in error messages: the type's, unless [`make_multi_agent`] made the
    /// environment by its id.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

impl dyn MultiAgentEnv + '_ {
    /// Returns the index of the agent called `id`.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`] if there is none.
    pub fn agent_index(&self, id: &str) -> Result<usize> {
        agent_index(self.possible_agents(), id)
    }
}

impl fmt::Debug for dyn MultiAgentEnv + '_ {
    /// Shows the name and the agents with their spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_agents(self.possible_agents(), &mut f.debug_struct(self.name()))
    }
}

impl<E: MultiAgentEnv + ?Sized> MultiAgentEnv for Box<E> {
    fn possible_agents(&self) -> &[AgentSpec] {
        (**self).possible_agents()
    }

    fn reset(&mut self, options: &ResetOptions, out: &mut MultiAgentStep) -> Result<()> {
        (**self).reset(options, out)
    }

    fn step(&mut self, actions: &MultiAgentActions, out: &mut MultiAgentStep) -> Result<()> {
        (**self).step(actions, out)
    }

    fn info(&self) -> Info {
        (**self).info()
    }

    fn render(&mut self) -> Result<Frame> {
        (**self).render()
    }

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}

/// Returns the index of the agent called `id` among `agents`.
///
/// # Errors
///
/// [`EnvError::UnknownAgent`] if there is none.
pub fn agent_index(agents: &[AgentSpec], id: &str) -> Result<usize> {
    agents.iter().position(|agent| agent.id == id).ok_or_else(|| EnvError::UnknownAgent {
        agent: id.to_owned(),
        known: agents.iter().map(|agent| agent.id.clone()).collect(),
    })
}

/// Shows each agent with its spaces of observations and actions: `left: Discrete(2) ->
/// Discrete(3)`.
fn debug_agents(agents: &[AgentSpec], f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
    for AgentSpec { id, observation_space, action_space } in agents {
        f.field(id, &format_args!("{observation_space} -> {action_space}"));
    }
    f.finish_non_exhaustive()
}

#[cold]
fn unknown_agent(agent: usize, agents: usize) -> EnvError {
    let known = (0..agents).map(|agent| agent.to_string()).collect();
    EnvError::UnknownAgent { agent: agent.to_string(), known }
}

/// Fails unless there is one row for each agent, with the layout of its space.
fn check_agents<'a>(
    rows: impl ExactSizeIterator<Item = &'a Buffer>,
    agents: &[AgentSpec],
    space: fn(&AgentSpec) -> &Space,
) -> Result<()> {
    check_len("agents", agents.len(), rows.len())?;
    for (row, agent) in rows.zip(agents) {
        if row.rows() != 1 || !row.is_compatible(space(agent)) {
            let expected = format!("one row of {}", space(agent));
            let source = EnvError::wrong_kind(expected, format!("{:?}", row.row(0)));
            return Err(EnvError::Agent { agent: agent.id.clone(), source: Box::new(source) });
        }
    }
    Ok(())
}
