//! Steps of one agent, for a postprocessing function.

use rekindle_core::Columns;
use rekindle_env::{AgentId, Buffer};
use rekindle_env_runner::{Segment, SegmentEnd};
use rekindle_learner::{Result, TrainData};

/// Consecutive steps of an agent in an episode.
#[derive(Debug, Clone, Copy)]
pub struct AgentSteps<'a> {
    pub(super) module_id: &'a str,
    pub(super) data: &'a TrainData,
    pub(super) segment: &'a Segment,
}

impl<'a> AgentSteps<'a> {
    /// Returns the id of the module that acted for the agent.
    #[must_use]
    pub fn module_id(&self) -> &'a str {
        self.module_id
    }

    /// Returns the number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segment.len
    }

    /// Returns whether there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segment.len == 0
    }

    /// Returns how the steps end.
    #[must_use]
    pub fn end(&self) -> SegmentEnd {
        self.segment.end
    }

    /// Returns the agent; `None` in single-agent environments.
    #[must_use]
    pub fn agent(&self) -> Option<&'a AgentId> {
        self.segment.agent.as_ref()
    }

    /// Returns the number of steps of the episode before the first one.
    #[must_use]
    pub fn t_started(&self) -> usize {
        self.segment.t_started
    }

    /// Returns the rewards, `[T]`.
    ///
    /// # Errors
    /// If the experience is on an accelerator.
    pub fn rewards(&self) -> Result<&'a [f32]> {
        Ok(&self.data.as_f32(Columns::REWARDS)?[self.segment.range()])
    }

    /// Returns the rows of any column, such as observations, next observations, actions and recorded
    /// outputs of the module ([`TrainData::column`]).
    ///
    /// # Errors
    /// If the column is missing.
    pub fn column(&self, name: &str) -> Result<Buffer> {
        self.data.column(name, &self.segment.range().collect::<Vec<_>>())
    }
}
