//! What a runner recorded, as columns.

use std::collections::BTreeMap;

use rekindle_core::Columns;
use rekindle_env::{AgentId, Buffer};

use crate::episode::EpisodeColumns;
use crate::{Result, SingleAgentEpisode};

/// How the part of an episode in a [`Segment`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEnd {
    /// The environment ended the episode: no value follows.
    Terminated,
    /// Something outside ended the episode (a time limit): the value of the final observation
    /// follows.
    Truncated,
    /// The episode goes on in the next rollout: the value of the final observation follows.
    Cut,
}

/// One episode, or the part of one, inside a rollout.
///
/// Its steps are the rows `start, start + stride, …` of the rollout's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The environment that played it.
    pub env: usize,
    /// The agent that played it; `None` where there is one only.
    pub agent: Option<AgentId>,
    /// The number of the episode, counted over all environments of the runner.
    pub episode: u64,
    /// The row of the first step.
    pub start: usize,
    /// The distance between the rows of two steps.
    pub stride: usize,
    /// The number of steps.
    pub len: usize,
    /// Steps of the episode before this segment.
    pub t_started: usize,
    /// How it ends.
    pub end: SegmentEnd,
}

impl Segment {
    /// The rows of its steps, in time order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let (start, stride) = (self.start, self.stride);
        (0..self.len).map(move |t| start + t * stride)
    }
}

/// Steps of all environments of a runner: time-major columns, cut into segments of episodes.
///
/// # Shapes
/// Columns are `[rows, …]` with `rows = T · N` in time-major order for `T` steps of `N`
/// environments. Rows that no segment refers to (unfinished episodes when whole episodes were
/// asked for) do not count.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Observations `o_t` as the module saw them.
    pub observations: Buffer,
    /// Actions `a_t` as they were sampled.
    pub actions: Buffer,
    /// Rewards `r_t`.
    pub rewards: Vec<f32>,
    /// Outputs of the module that losses need later: `action_logp`, `action_dist_inputs`, ….
    pub extras: BTreeMap<&'static str, Buffer>,
    /// Segments in order of the environment, then of time.
    pub segments: Vec<Segment>,
    /// For each segment the observation after its last step, as the module would see it.
    pub final_observations: Buffer,
    /// The states of a stateful module; `None` for one without memory.
    pub states: Option<RolloutStates>,
    /// The version of the weights that acted.
    pub weights_seq_no: u64,
}

/// What a stateful module remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutStates {
    /// For each row, the state that the module acted from.
    pub state_in: Buffer,
    /// For each segment, the state after its last step: that of its final observation.
    pub final_states: Buffer,
}

impl Rollout {
    /// The number of steps that count.
    pub fn env_steps(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Every segment as an episode object, with all its columns copied.
    ///
    /// # Errors
    /// None for a rollout of a runner; an episode error for one put together inconsistently.
    pub fn episodes(&self) -> Result<Vec<SingleAgentEpisode>> {
        self.segments.iter().enumerate().map(|(index, s)| self.episode(index, s)).collect()
    }

    fn episode(&self, index: usize, segment: &Segment) -> Result<SingleAgentEpisode> {
        let rows: Vec<usize> = segment.rows().collect();
        let mut observations = self.observations.gather(&rows)?;
        observations.extend_from(&self.final_observations, index..index + 1)?;
        let rewards = rows.iter().filter_map(|&row| self.rewards.get(row).copied());
        let extras = self
            .extras
            .iter()
            .map(|(name, column)| Ok(((*name).to_string(), column.gather(&rows)?)));
        let mut columns = EpisodeColumns::new(
            observations,
            self.actions.gather(&rows)?,
            rewards.map(f64::from).collect(),
        );
        columns.id = segment.episode.to_string();
        columns.extra_model_outputs = extras.collect::<Result<_>>()?;
        if let Some(states) = &self.states {
            let states = states.state_in.gather(&rows)?;
            columns.extra_model_outputs.insert(Columns::STATE_IN.into(), states);
        }
        columns.agent_id.clone_from(&segment.agent);
        columns.t_started = segment.t_started;
        columns.is_terminated = segment.end == SegmentEnd::Terminated;
        columns.is_truncated = segment.end == SegmentEnd::Truncated;
        Ok(SingleAgentEpisode::from_columns(columns)?)
    }
}
