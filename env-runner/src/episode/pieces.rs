//! Parts of an episode: slicing, and checking that one part continues another.

use super::{EpisodeError, EpisodeView, Slice};

impl EpisodeView<'_> {
    /// Returns the steps of `range`, counted after the look-back.
    ///
    /// Negative bounds count from the end and bounds beyond the ends mean the ends, as in Python.
    /// The observation at the end of a part is also the first of the part after it. The look-back
    /// is as long as this view's, or `len_lookback` steps, or as much as the rollout has. Only a part
    /// that reaches the end is terminated or truncated if the episode is.
    ///
    /// # Errors
    /// If the step of `range` is not 1.
    pub fn slice(
        &self,
        range: impl Into<Slice>,
        len_lookback: Option<usize>,
    ) -> Result<Self, EpisodeError> {
        let steps = range.into().consecutive(self.len())?;
        let (start, end) = (self.start + steps.start, self.start + steps.end);
        let len_lookback = len_lookback.unwrap_or(self.len_lookback).min(start);
        Ok(Self { start, end, len_lookback, ..*self })
    }

    /// Checks that another part continues this one, as the same agent's part of an episode in the next
    /// rollout of a runner does.
    ///
    /// # Errors
    /// If this part ends the episode, or the other one is of another episode, environment or agent, starts
    /// at another time step, or starts with another observation than this one ends with.
    pub fn check_continued_by(&self, next: &Self) -> Result<(), EpisodeError> {
        if self.is_done() {
            let (id, t) = (self.id(), self.t());
            let (terminated, truncated) = (self.is_terminated(), self.is_truncated());
            return Err(EpisodeError::Done { id, t, terminated, truncated });
        }
        let identity = |view: &Self| (view.id(), view.env(), view.agent_id().cloned());
        if identity(self) != identity(next) {
            let name = |view: &Self| match view.agent_id() {
                Some(agent) => format!("{} of agent `{agent}`", view.id()),
                None => format!("{} in environment {}", view.id(), view.env()),
            };
            let (id, other) = (name(self), name(next));
            return Err(EpisodeError::IdMismatch { id, other });
        }
        if self.t() != next.t_started() {
            let (t, t_started) = (self.t(), next.t_started());
            return Err(EpisodeError::TimeMismatch { t, t_started });
        }
        let last = self.observation(self.len()).to_value()?;
        if last != next.observation(0).to_value()? {
            return Err(EpisodeError::ObservationMismatch { id: self.id(), t: self.t() });
        }
        Ok(())
    }
}
