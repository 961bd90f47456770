//! The actions of several agents.

use serde::{Deserialize, Serialize};

use super::{AgentSpec, check_agents, unknown_agent};
use crate::{Buffer, Result, Row, RowMut};

/// The actions for one step of a [`MultiAgentEnv`](super::MultiAgentEnv), one slot per agent.
///
/// It is made once; [`clear`](Self::clear) it and let the agents [`act`](Self::act) for each step.
///
/// ```
/// use rekindle_env::{AgentSpec, MultiAgentActions, Space};
///
/// let moves = Space::discrete(3)?;
/// let agents = ["left", "right"].map(|id| AgentSpec::new(id, moves.clone(), moves.clone()));
/// let mut actions = MultiAgentActions::new(&agents);
/// actions.act(1)?.set_discrete(2)?;
/// assert!(!actions.acts(0) && actions.acts(1));
/// assert_eq!(actions.action(1).map(|row| row.discrete()).transpose()?, Some(2));
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
    /// Room for these agents, none of which acts yet.
    #[must_use]
    pub fn new(agents: &[AgentSpec]) -> Self {
        let slot =
            |agent: &AgentSpec| Slot { action: Buffer::zeros(&agent.action_space, 1), acts: false };
        Self { slots: agents.iter().map(slot).collect() }
    }

    /// Takes all actions back.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.acts = false);
    }

    /// The action of an agent, to be written at once.
    #[inline]
    pub fn act(&mut self, agent: usize) -> Result<RowMut<'_>> {
        let agents = self.slots.len();
        let slot = self.slots.get_mut(agent).ok_or_else(|| unknown_agent(agent, agents))?;
        slot.acts = true;
        Ok(slot.action.row_mut(0))
    }

    /// The number of agents, whether they act or not.
    #[inline]
    #[must_use]
    pub fn num_agents(&self) -> usize {
        self.slots.len()
    }

    /// Whether an agent acts.
    #[inline]
    #[must_use]
    pub fn acts(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.acts)
    }

    /// The action of an agent, if it acts.
    #[inline]
    #[must_use]
    pub fn action(&self, agent: usize) -> Option<Row<'_>> {
        let slot = self.slots.get(agent).filter(|slot| slot.acts)?;
        Some(slot.action.row(0))
    }

    /// Fails unless this was made for these agents.
    pub fn check(&self, agents: &[AgentSpec]) -> Result<()> {
        let rows = self.slots.iter().map(|slot| &slot.action);
        check_agents(rows, agents, |agent| &agent.action_space)
    }
}
