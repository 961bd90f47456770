//! What runners of any kind bring back.

use std::collections::BTreeMap;

use rekindle_core::ModuleId;

use crate::Rollout;

/// What a call of a runner collected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Experience {
    /// What each module experienced.
    pub rollouts: BTreeMap<ModuleId, Vec<Rollout>>,
    /// Steps of environments; several agents may act in one.
    pub env_steps: usize,
    /// The episodes that ended, in order.
    pub episodes: Vec<EpisodeSummary>,
}

/// An episode that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpisodeSummary {
    /// The sum of the rewards of all its agents.
    pub episode_return: f64,
    /// Its steps.
    pub len: usize,
}

impl Experience {
    /// Adds what another call or runner collected.
    pub fn extend(&mut self, other: Self) {
        for (id, rollouts) in other.rollouts {
            self.rollouts.entry(id).or_default().extend(rollouts);
        }
        self.env_steps += other.env_steps;
        self.episodes.extend(other.episodes);
    }

    /// Steps of agents: the rows that modules can learn from.
    pub fn agent_steps(&self) -> usize {
        self.rollouts.values().flatten().map(Rollout::env_steps).sum()
    }
}
