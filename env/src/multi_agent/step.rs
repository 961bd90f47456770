//! What a multi-agent environment reports.

use serde::{Deserialize, Serialize};

use super::{AgentSpec, check_agents, unknown_agent};
use crate::{Buffer, Result, Row, RowMut};

/// What a reset or a step of a [`MultiAgentEnv`](super::MultiAgentEnv) led to, one slot per agent.
///
/// It is made once and overwritten by every step. Agents are addressed by their index in
/// [`possible_agents`](super::MultiAgentEnv::possible_agents). An environment writes:
///
/// ```
/// use rekindle_env::{AgentSpec, MultiAgentStep, Space};
///
/// let space = Space::boxed(-1.0, 1.0, &[2])?;
/// let agents = ["left", "right"].map(|id| AgentSpec::new(id, space.clone(), space.clone()));
/// let mut out = MultiAgentStep::new(&agents);
///
/// out.observe(0)?.write_f32(&[0.5, -0.5])?; // `left` sees this, and acts next
/// out.add_reward(1, -1.0)?; // `right` is punished without seeing anything
/// out.terminate(1)?; // and plays no more in this episode
///
/// assert_eq!(out.observation(0).map(|row| row.f32s()).transpose()?, Some(&[0.5, -0.5][..]));
/// assert!(out.acts_next(0) && !out.acts_next(1) && !out.is_done());
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// Flags and rewards are those of this one step. They say what has just happened, not what has been
/// the case since some earlier step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiAgentStep {
    slots: Vec<Slot>,
    all_terminated: bool,
    all_truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// One row: the last observation, from whichever step.
    observation: Buffer,
    observed: bool,
    reward: f64,
    terminated: bool,
    truncated: bool,
}

impl MultiAgentStep {
    /// Room for these agents.
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

    /// Forgets what the last step reported, except for what the agents saw last.
    ///
    /// Whoever calls an environment does this before each reset and step. Environments made by id
    /// do it themselves.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            (slot.observed, slot.reward) = (false, 0.0);
            (slot.terminated, slot.truncated) = (false, false);
        }
        (self.all_terminated, self.all_truncated) = (false, false);
    }

    /// Fails unless this was made for these agents.
    pub fn check(&self, agents: &[AgentSpec]) -> Result<()> {
        let rows = self.slots.iter().map(|slot| &slot.observation);
        check_agents(rows, agents, |agent| &agent.observation_space)
    }
}

/// What the environment writes.
impl MultiAgentStep {
    /// The observation of an agent in this step, to be written at once.
    ///
    /// Unless the agent or everybody is done, it acts next.
    #[inline]
    pub fn observe(&mut self, agent: usize) -> Result<RowMut<'_>> {
        let slot = self.slot_mut(agent)?;
        slot.observed = true;
        Ok(slot.observation.row_mut(0))
    }

    /// Adds to the reward of an agent, whether it is observed in this step or not.
    #[inline]
    pub fn add_reward(&mut self, agent: usize, reward: f64) -> Result<()> {
        self.slot_mut(agent)?.reward += reward;
        Ok(())
    }

    /// An agent has reached a terminal state. Without an observation in this step, its last one
    /// stands.
    #[inline]
    pub fn terminate(&mut self, agent: usize) -> Result<()> {
        self.slot_mut(agent)?.terminated = true;
        Ok(())
    }

    /// An agent is cut short. It must be observed in this step, so that the value of going on can
    /// be estimated.
    #[inline]
    pub fn truncate(&mut self, agent: usize) -> Result<()> {
        self.slot_mut(agent)?.truncated = true;
        Ok(())
    }

    /// The episode has reached a terminal state for everybody: RLlib's
    /// `terminateds["__all__"] = True`.
    #[inline]
    pub fn terminate_all(&mut self) {
        self.all_terminated = true;
    }

    /// The episode is cut short for everybody: RLlib's `truncateds["__all__"] = True`.
    ///
    /// Agents that are not observed in this step are judged by what they saw last.
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

/// What the caller reads. An agent that does not exist was not observed, got nothing, and goes on.
impl MultiAgentStep {
    /// The number of agents, present or not.
    #[inline]
    #[must_use]
    pub fn num_agents(&self) -> usize {
        self.slots.len()
    }

    /// Whether an agent was observed in this step.
    #[inline]
    #[must_use]
    pub fn observed(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.observed)
    }

    /// What an agent saw in this step, if it was observed.
    #[inline]
    #[must_use]
    pub fn observation(&self, agent: usize) -> Option<Row<'_>> {
        let slot = self.slots.get(agent).filter(|slot| slot.observed)?;
        Some(slot.observation.row(0))
    }

    /// What an agent saw last, in this step or before. If it has not been observed in this episode,
    /// this is left over from an earlier one, or zeros.
    #[inline]
    #[must_use]
    pub fn last_observation(&self, agent: usize) -> Option<Row<'_>> {
        self.slots.get(agent).map(|slot| slot.observation.row(0))
    }

    /// The reward an agent got in this step.
    #[inline]
    #[must_use]
    pub fn reward(&self, agent: usize) -> f64 {
        self.slots.get(agent).map_or(0.0, |slot| slot.reward)
    }

    /// Whether an agent reached a terminal state in this step.
    #[inline]
    #[must_use]
    pub fn terminated(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.terminated)
    }

    /// Whether an agent was cut short in this step.
    #[inline]
    #[must_use]
    pub fn truncated(&self, agent: usize) -> bool {
        self.slots.get(agent).is_some_and(|slot| slot.truncated)
    }

    /// Whether an agent's own part ended in this step.
    #[inline]
    #[must_use]
    pub fn is_agent_done(&self, agent: usize) -> bool {
        self.terminated(agent) || self.truncated(agent)
    }

    /// Whether the episode reached a terminal state: RLlib's `terminateds["__all__"]`.
    #[inline]
    #[must_use]
    pub fn all_terminated(&self) -> bool {
        self.all_terminated
    }

    /// Whether the episode was cut short: RLlib's `truncateds["__all__"]`.
    #[inline]
    #[must_use]
    pub fn all_truncated(&self) -> bool {
        self.all_truncated
    }

    /// Whether the episode is over.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.all_terminated || self.all_truncated
    }

    /// Whether an agent must act in the next step: it was observed, and neither it nor the episode
    /// is done.
    #[inline]
    #[must_use]
    pub fn acts_next(&self, agent: usize) -> bool {
        !self.is_done() && self.observed(agent) && !self.is_agent_done(agent)
    }

    /// The agents that must act in the next step, in order. There may be none: the environment is
    /// stepped without actions then.
    pub fn agents_to_act(&self) -> impl Iterator<Item = usize> {
        (0..self.num_agents()).filter(|&agent| self.acts_next(agent))
    }
}
