//! Results of multi-agent environments.

use serde::{Deserialize, Serialize};

use super::{AgentSpec, check_agents, unknown_agent};
use crate::buffer::{Buffer, Row, RowMut};
use crate::error::Result;

/// The results of a reset or a step of a [`MultiAgentEnv`](super::MultiAgentEnv), one slot per
/// agent.
///
/// A caller creates it once; every step overwrites it. Agents are addressed by their index in
/// [`possible_agents`](super::MultiAgentEnv::possible_agents). An environment writes:
///
/// ```
/// use rekindle_env::{AgentSpec, MultiAgentStep, Space};
///
/// let space = Space::boxed(-1.0, 1.0, &[2])?;
/// let agents = ["left", "right"].map(|id| AgentSpec::new(id, space.clone(), space.clone()));
/// let mut out = MultiAgentStep::new(&agents);
///
/// out.observe(0)?.write_f32(&[0.5, -0.5])?; // `left` observes this, and acts next
/// out.add_reward(1, -1.0)?; // `right` gets a reward without an observation
/// out.terminate(1)?; // and is done for this episode
///
/// assert_eq!(out.observation(0).map(|row| row.as_f32()).transpose()?, Some(&[0.5, -0.5][..]));
/// assert!(out.acts_next(0) && !out.acts_next(1) && !out.is_done());
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// Flags and rewards describe this step only. An agent that was done earlier has no flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiAgentStep {
    slots: Vec<Slot>,
    all_terminated: bool,
    all_truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// One row: the most recent observation, from any step.
    observation: Buffer,
    observed: bool,
    #[serde(with = "crate::float")]
    reward: f64,
    terminated: bool,
    truncated: bool,
}

impl MultiAgentStep {
    /// Creates slots for these agents.
    #[must_use]
    pub fn new(agents: &[AgentSpec]) -> Self {
        let slot = |agent: &AgentSpec| Slot {
            observation: Buffer::zeros(&agent.observation_space, 1),
            observed: false,
            reward: 0.0,
            terminated: false,
            truncated: false,
        };
        Self {
            slots: agents.iter().map(slot).collect(),
            all_terminated: false,
            all_truncated: false,
        }
    }

    /// Clears the results of the last step, except for the agents' last observations.
    ///
    /// The caller of an environment does this before each reset and step. Environments made by id
    /// do it themselves.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            (slot.observed, slot.reward) = (false, 0.0);
            (slot.terminated, slot.truncated) = (false, false);
        }
        (self.all_terminated, self.all_truncated) = (false, false);
    }

    /// Fails unless these slots were created for these agents.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`](crate::EnvError::ShapeMismatch) for another number of agents,
    /// [`EnvError::Agent`](crate::EnvError::Agent) for an agent with another observation space.
    pub fn check(&self, agents: &[AgentSpec]) -> Result<()> {
        let rows = self.slots.iter().map(|slot| &slot.observation);
        check_agents(rows, agents, |agent| &agent.observation_space)
    }
}

/// Methods for environments, which write the results.
impl MultiAgentStep {
    /// Observes an agent in this step, and returns its observation for writing. Write it
    /// immediately: until then, it holds the agent's previous observation.
    ///
    /// The agent acts next, unless it or the episode is done.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`](crate::EnvError::UnknownAgent) for an unknown agent.
    #[inline]
    pub fn observe(&mut self, agent: usize) -> Result<RowMut<'_>> {
        let slot = self.slot_mut(agent)?;
        slot.observed = true;
        Ok(slot.observation.row_mut(0))
    }

    /// Adds to the reward of an agent, which need not be observed in this step.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`](crate::EnvError::UnknownAgent) for an unknown agent.
    #[inline]
    pub fn add_reward(&mut self, agent: usize, reward: f64) -> Result<()> {
        self.slot_mut(agent)?.reward += reward;
        Ok(())
    }

    /// Ends the episode of one agent in a terminal state. Without an observation in this step, its
    /// last one counts.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`](crate::EnvError::UnknownAgent) for an unknown agent.
    #[inline]
    pub fn terminate(&mut self, agent: usize) -> Result<()> {
        self.slot_mut(agent)?.terminated = true;
        Ok(())
    }

    /// Cuts the episode of one agent short. The agent must be observed in this step, because the
    /// value of its last state is estimated.
    ///
    /// # Errors
    ///
    /// [`EnvError::UnknownAgent`](crate::EnvError::UnknownAgent) for an unknown agent.
    #[inline]
    pub fn truncate(&mut self, agent: usize) -> Result<()> {
        self.slot_mut(agent)?.truncated = true;
        Ok(())
    }

    /// Ends the episode of all agents in a terminal state: RLlib's `terminateds["__all__"] = True`.
    #[inline]
    pub fn terminate_all(&mut self) {
        self.all_terminated = true;
    }

    /// Cuts the episode of all agents short: RLlib's `truncateds["__all__"] = True`.
    ///
    /// For agents that are not observed in this step, the last observation counts.
    #[inline]
    pub fn truncate_all(&mut self) {
        self.all_truncated = true;
    }

    #[inline]
    fn slot_mut(&mut self, agent: usize) -> Result<&mut Slot> {
        let agents = self.slots.len();
        self.slots.get_mut(agent).ok_or_else(|| unknown_agent(agent, agents))
    }
}

/// Methods for callers, which read the results. An agent that does not exist has no observation, no
/// reward and no flags.
impl MultiAgentStep {
    /// Returns the number of agents, including those that are absent.
    #[inline]
    #[must_use]
    pub fn num_agents(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether an agent was observed in this step.
    #[inline]
    #[must_use]
    pub fn observed(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.observed)
    }

    /// Returns the observation of an agent in this step, if it was observed.
    #[inline]
    #[must_use]
    pub fn observation(&self, agent: usize) -> Option<Row<'_>> {
        let slot = self.slots.get(agent).filter(|slot| slot.observed)?;
        Some(slot.observation.row(0))
    }

    /// Returns the last observation of an agent, from this step or an earlier one.
    ///
    /// If the agent has not been observed in this episode, the observation is stale, or zeros.
    #[inline]
    #[must_use]
    pub fn last_observation(&self, agent: usize) -> Option<Row<'_>> {
        self.slots.get(agent).map(|slot| slot.observation.row(0))
    }

    /// Returns the reward of an agent in this step.
    #[inline]
    #[must_use]
    pub fn reward(&self, agent: usize) -> f64 {
        self.slots.get(agent).map_or(0.0, |slot| slot.reward)
    }

    /// Returns whether an agent reached a terminal state in this step.
    #[inline]
    #[must_use]
    pub fn terminated(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.terminated)
    }

    /// Returns whether the episode of an agent was cut short in this step.
    #[inline]
    #[must_use]
    pub fn truncated(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.truncated)
    }

    /// Returns whether the episode of an agent ended in this step.
    #[inline]
    #[must_use]
    pub fn is_agent_done(&self, agent: usize) -> bool {
        self.terminated(agent) || self.truncated(agent)
    }

    /// Returns whether the episode reached a terminal state: RLlib's `terminateds["__all__"]`.
    #[inline]
    #[must_use]
    pub fn all_terminated(&self) -> bool {
        self.all_terminated
    }

    /// Returns whether the episode was cut short: RLlib's `truncateds["__all__"]`.
    #[inline]
    #[must_use]
    pub fn all_truncated(&self) -> bool {
        self.all_truncated
    }

    /// Returns whether the episode is over.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.all_terminated || self.all_truncated
    }

    /// Returns whether an agent must act in the next step: it was observed, and neither it nor the
    /// episode is done.
    #[inline]
    #[must_use]
    pub fn acts_next(&self, agent: usize) -> bool {
        !self.is_done() && self.observed(agent) && !self.is_agent_done(agent)
    }

    /// Iterates over the agents that must act in the next step, in order. If there are none, the
    /// environment is stepped without actions.
    pub fn agents_to_act(&self) -> impl Iterator<Item = usize> {
        (0..self.num_agents()).filter(|&agent| self.acts_next(agent))
    }
}
