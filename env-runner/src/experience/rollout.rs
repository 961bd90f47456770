//! Recorded steps as columns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rekindle_env::{AgentId, Buffer};
use serde::{Deserialize, Serialize};

/// How the part of an episode in a [`Segment`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentEnd {
    /// The environment ended the episode. No value follows.
    Terminated,
    /// Something outside ended the episode, such as a time limit. The value of the final observation
    /// follows.
    Truncated,
    /// The episode continues in a later segment. The value of the final observation follows.
    Cut,
}

/// One episode, or part of one, in a rollout.
///
/// Its steps are the rows `start, start + stride, …` of the rollout's columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Segment {
    /// Index of the environment within its runner.
    pub env: usize,
    /// The agent that acted; `None` in single-agent environments.
    pub agent: Option<AgentId>,
    /// Number of the episode, counted over all environments of the runner.
    pub episode: u64,
    /// Index of the runner. 0 until the rollouts of all runners are gathered.
    #[serde(default)]
    pub runner: usize,
    /// The row of the first step.
    pub start: usize,
    /// The distance between the rows of two steps.
    pub stride: usize,
    /// Number of steps.
    pub len: usize,
    /// Number of steps of the episode before this segment.
    pub t_started: usize,
    /// How the segment ends.
    pub end: SegmentEnd,
}

impl Segment {
    /// Creates the segment of steps in consecutive rows: from the start of the first episode of the first
    /// environment, of a single agent.
    #[must_use]
    pub fn new(rows: Range<usize>, end: SegmentEnd) -> Self {
        let (start, len) = (rows.start, rows.len());
        Self {
            env: 0,
            agent: None,
            episode: 0,
            runner: 0,
            start,
            stride: 1,
            len,
            t_started: 0,
            end,
        }
    }

    /// Sets the index of the environment and the number of the episode.
    #[must_use]
    pub fn with_episode(mut self, env: usize, episode: u64) -> Self {
        (self.env, self.episode) = (env, episode);
        self
    }

    /// Sets the agent that acted.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<Option<AgentId>>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Sets the number of steps of the episode before the segment.
    #[must_use]
    pub fn with_t_started(mut self, t_started: usize) -> Self {
        self.t_started = t_started;
        self
    }

    /// Sets the distance between the rows of two steps.
    #[must_use]
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Returns the rows of the steps, in time order.
    #[must_use]
    pub fn rows(&self) -> impl ExactSizeIterator<Item = usize> + Clone + use<> {
        let (start, stride) = (self.start, self.stride);
        (0..self.len).map(move |t| start + t * stride)
    }

    /// Returns the rows of the steps as a range, for a segment whose rows follow one another.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// Recorded steps: time-major columns, cut into segments of episodes.
///
/// # Shapes
/// Columns are `[rows, …]`. For a single agent `rows = T · N`, in time-major order, for `T` steps
/// of `N` environments; with several agents the segments follow one another. Rows that no segment
/// refers to do not count: unfinished episodes when complete episodes were requested, and episodes
/// that were lost to a failure.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rollout {
    /// Observations `o_t` as the module saw them.
    pub observations: Buffer,
    /// Actions `a_t` as the module sampled them, before scaling.
    pub actions: Buffer,
    /// Rewards `r_t`.
    pub rewards: Vec<f32>,
    /// Outputs of the exploration pass by name: `action_dist_inputs`, `action_logp`, `action_prob`, and
    /// every other column that the module returned, except [`Columns::EMBEDDINGS`](rekindle_core::Columns::EMBEDDINGS).
    pub extras: BTreeMap<String, Buffer>,
    /// Numbers that the environments reported with the steps, as a Dict by name
    /// ([`Columns::INFOS`](rekindle_core::Columns::INFOS)); `None` if no step reported any.
    ///
    /// A step has the info that came with its reward; the last one of an episode has the final info.
    /// With several agents, an agent's step has the numbers of the environment, and those whose name
    /// starts with the agent's name and a dot, without these.
    pub infos: Option<Buffer>,
    /// Segments in order of the environment, then of time.
    pub segments: Vec<Segment>,
    /// For each segment, the observation after its last step, as the module would see it.
    pub final_observations: Buffer,
    /// The states of a stateful module; `None` for a stateless one.
    pub states: Option<Arc<RolloutStates>>,
    /// The index of the runner that recorded the steps.
    pub runner: usize,
    /// The version of the weights that acted.
    pub weights_seq_no: u64,
}

/// The states of a stateful module in a rollout.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RolloutStates {
    /// For each row, the state that the module acted from.
    pub state_in: Buffer,
    /// For each segment, the state after its last step, which belongs to its final observation.
    pub final_states: Buffer,
}

impl RolloutStates {
    /// Creates the states before each row and after the last step of each segment.
    #[must_use]
    pub fn new(state_in: Buffer, final_states: Buffer) -> Self {
        Self { state_in, final_states }
    }
}

impl Rollout {
    /// Creates recorded steps without outputs of the module, infos and recurrent states, which are fields.
    ///
    /// # Shapes
    /// `observations`, `actions` and `rewards` have one row per step, `segments` and `final_observations` one
    /// per segment.
    #[must_use]
    pub fn new(
        observations: Buffer,
        actions: Buffer,
        rewards: Vec<f32>,
        segments: Vec<Segment>,
        final_observations: Buffer,
    ) -> Self {
        Self {
            observations,
            actions,
            rewards,
            extras: BTreeMap::new(),
            infos: None,
            segments,
            final_observations,
            states: None,
            runner: 0,
            weights_seq_no: 0,
        }
    }

    /// Returns the number of steps that count.
    #[must_use]
    pub fn env_steps(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}
