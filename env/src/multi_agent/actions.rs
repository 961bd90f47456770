//! Actions of several agents.

use serde::{Deserialize, Serialize};

use super::{AgentSpec, check_agents, unknown_agent};
use crate::buffer::{Buffer, Row, RowMut};
use crate::error::Result;

/// The actions for one step of a [`MultiAgentEnv`](super::MultiAgentEnv), one slot per agent.
///
/// A caller creates it once. For each step, it [clears](Self::clear) all actions and writes the
/// actions of the agents that [act](Self::act).
///
/// ```
/// use rekindle_env::{AgentSpec, MultiAgentActions, Space};
///
/// let moves = Space::discrete(3)?;
/// let agents = ["left", "right"].map(|id| AgentSpec::new(id, moves.clone(), moves.clone()));
/// let mut actions = MultiAgentActions::new(&agents);
/// actions.act(1)?.write_discrete(2)?;
/// assert!(!actions.acts(0) && actions.acts(1));
/// assert_eq!(actions.action(1).map(|row| row.as_discrete()).transpose()?, Some(2));
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiAgentActions {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// One row.
    action: Buffer,
    acts: bool,
}

impl MultiAgentActions {
    /// Creates slots for these agents, without actions.
    #[must_use]
    pub fn new(agents: &[AgentSpec]) -> Self {
        let slot =
            |agent: &AgentSpec| Slot { action: Buffer::zeros(&agent.action_space, 1), acts: false };
        Self { slots: agents.iter().map(slot).collect() }
    }

    /// Removes all actions.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.acts = false);
    }

    /// Lets an agent act, and returns its action for writing. Write it immediately: until then, it
    /// holds the agent's previous action.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`](crate::EnvError::UnknownAgent) for an unknown agent.
    #[inline]
    pub fn act(&mut self, agent: usize) -> Result<RowMut<'_>> {
        let agents = self.slots.len();
        let slot = self.slots.get_mut(agent).ok_or_else(|| unknown_agent(agent, agents))?;
        slot.acts = true;
        Ok(slot.action.row_mut(0))
    }

    /// Returns the number of agents, including those that do not act.
    #[inline]
    #[must_use]
    pub fn num_agents(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether an agent acts.
    #[inline]
    #[must_use]
    pub fn acts(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.acts)
    }

    /// Returns the action of an agent, if it acts.
    #[inline]
    #[must_use]
    pub fn action(&self, agent: usize) -> Option<Row<'_>> {
        let slot = self.slots.get(agent).filter(|slot| slot.acts)?;
        Some(slot.action.row(0))
    }

    /// Fails unless these slots were created for these agents.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`](crate::EnvError::ShapeMismatch) for another number of agents,
    /// [`EnvError::Agent`](crate::EnvError::Agent) for an agent with another action space.
    pub fn check(&self, agents: &[AgentSpec]) -> Result<()> {
        let rows = self.slots.iter().map(|slot| &slot.action);
        check_agents(rows, agents, |agent| &agent.action_space)
    }
}
