//! The experience that runners collect.
//!
//! | item | is |
//! |---|---|
//! | [`Experience`] | everything that a call collected |
//! | [`Rollout`] | the recorded steps of one module, as columns |
//! | [`Segment`] | one episode, or part of one, in a rollout |

mod dry_run;
mod infos;
mod rollout;

use std::collections::BTreeMap;

use rekindle_core::ModuleId;

use crate::tensor_env::TensorRollout;

pub use dry_run::dry_run_rollout;
pub(crate) use infos::Infos;
pub use rollout::{Rollout, RolloutStates, Segment, SegmentEnd};

/// The experience that a call of a runner collected.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Experience {
    /// The recorded steps of each module; empty if the call did
    /// [not record](crate::SampleOptions::record).
    ///
    /// A module has several rollouts if several runners recorded it, or if the rows of one runner
    /// differ in their columns. For example, an agent's greedy or random action may still be open
    /// when the next call explores. Its row has no log-probability and is recorded separately.
    pub rollouts: BTreeMap<ModuleId, Vec<Rollout>>,
    /// The recorded steps of runners on the device, one after the other. They are those of the default
    /// module. Their episodes are read for metrics later, and are not among
    /// [`episodes`](Self::episodes).
    pub on_device: Vec<TensorRollout>,
    /// Number of environment steps. Several agents may act in one.
    pub env_steps: usize,
    /// The episodes that ended, in order.
    pub episodes: Vec<EpisodeSummary>,
    /// Whether the [time limit](crate::SampleOptions::time_limit) ended the call before everything
    /// was collected.
    pub timed_out: bool,
}

/// An episode that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EpisodeSummary {
    /// Sum of the rewards of all agents.
    pub episode_return: f64,
    /// Number of steps.
    pub len: usize,
}

impl PartialEq for Experience {
    /// Compares experience on the host. Experience on the device equals nothing, because comparing it would
    /// wait for the device.
    fn eq(&self, other: &Self) -> bool {
        self.on_device.is_empty()
            && other.on_device.is_empty()
            && self.rollouts == other.rollouts
            && self.env_steps == other.env_steps
            && self.episodes == other.episodes
            && self.timed_out == other.timed_out
    }
}

impl Experience {
    /// Appends the experience of another call or runner.
    pub fn extend(&mut self, other: Self) {
        for (id, rollouts) in other.rollouts {
            self.rollouts.entry(id).or_default().extend(rollouts);
        }
        self.on_device.extend(other.on_device);
        self.env_steps += other.env_steps;
        self.episodes.extend(other.episodes);
        self.timed_out |= other.timed_out;
    }

    /// Returns the number of recorded steps of agents, which are the rows that modules learn from.
    #[must_use]
    pub fn agent_steps(&self) -> usize {
        let on_host = self.rollouts.values().flatten().map(Rollout::env_steps);
        on_host.chain(self.on_device.iter().map(TensorRollout::env_steps)).sum()
    }
}
