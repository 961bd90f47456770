//! Pieces of an episode: cutting, slicing and joining.

use std::ops::Range;

use super::columns::EpisodeColumns;
use super::{EpisodeError, SingleAgentEpisode, Slice};

impl SingleAgentEpisode {
    /// Returns the successor, which continues where this episode stands.
    ///
    /// It has the same id, starts at this episode's `t` with a copy of its last observation, and
    /// looks back on up to `len_lookback` of its last steps. Steps added to it do not change this
    /// episode; [`concat_episode`](Self::concat_episode) joins the two again.
    ///
    /// # Errors
    /// If this episode is not reset, or is over and so has no successor.
    pub fn cut(&self, len_lookback: usize) -> Result<Self, EpisodeError> {
        self.check_ongoing()?;
        self.piece(self.len()..self.len(), len_lookback)
    }

    /// Returns the steps of `range` as an episode of the same id.
    ///
    /// Negative bounds count from the end and bounds beyond the ends mean the ends, as in Python.
    /// The observation at the end of a piece is also the first of the piece after it. The look-back
    /// is as long as this episode's, or `len_lookback` steps, or as much as there is. Only a piece
    /// which reaches the end is terminated or truncated if the episode is.
    ///
    /// # Errors
    /// If this episode is not reset, or the step of `range` is not 1.
    pub fn slice(
        &self,
        range: impl Into<Slice>,
        len_lookback: Option<usize>,
    ) -> Result<Self, EpisodeError> {
        self.check_reset()?;
        let steps = range.into().consecutive(self.len())?;
        self.piece(steps, len_lookback.unwrap_or(self.len_lookback()))
    }

    /// Appends the piece that continues this one; its look-back is not needed and left out.
    ///
    /// This episode is then terminated or truncated if `other` is.
    ///
    /// # Errors
    /// If this episode is not reset or over, if `other` has another id, starts at another time
    /// step or with another observation than this one ends with, or has other columns. This
    /// episode is then unchanged.
    pub fn concat_episode(&mut self, other: &Self) -> Result<(), EpisodeError> {
        self.check_ongoing()?;
        other.check_reset()?;
        if self.id() != other.id() {
            let (id, other) = (self.id().to_owned(), other.id().to_owned());
            return Err(EpisodeError::IdMismatch { id, other });
        }
        if self.t() != other.t_started() {
            let (t, t_started) = (self.t(), other.t_started());
            return Err(EpisodeError::TimeMismatch { t, t_started });
        }
        let last = self.columns.observations.rows() - 1..self.columns.observations.rows();
        let first = other.len_lookback()..other.len_lookback() + 1;
        if self.columns.observations.slice(last)? != other.columns.observations.slice(first)? {
            let (id, t) = (self.id().to_owned(), self.t());
            return Err(EpisodeError::ObservationMismatch { id, t });
        }
        self.columns.append(|columns| columns.extend_from(&other.columns))?;
        self.columns.is_terminated = other.is_terminated();
        self.columns.is_truncated = other.is_truncated();
        Ok(())
    }

    /// Returns consecutive steps, counted after the look-back, with up to `len_lookback` before
    /// them.
    fn piece(&self, steps: Range<usize>, len_lookback: usize) -> Result<Self, EpisodeError> {
        let all = &self.columns;
        let reaches_end = steps.end == self.len();
        let first = all.len_lookback + steps.start;
        let len_lookback = len_lookback.min(first);
        let rows = first - len_lookback..all.len_lookback + steps.end;
        let extra_model_outputs = all
            .extra_model_outputs
            .iter()
            .map(|(key, column)| Ok((key.clone(), column.slice(rows.clone())?)))
            .collect::<Result<_, EpisodeError>>()?;
        let columns = EpisodeColumns {
            id: all.id.clone(),
            agent_id: all.agent_id.clone(),
            module_id: all.module_id.clone(),
            observations: all.observations.slice(rows.start..rows.end + 1)?,
            actions: all.actions.slice(rows.clone())?,
            rewards: all.rewards.get(rows).unwrap_or_default().to_vec(),
            extra_model_outputs,
            len_lookback,
            t_started: all.t_started.saturating_add(steps.start),
            is_terminated: reaches_end && all.is_terminated,
            is_truncated: reaches_end && all.is_truncated,
        };
        Ok(Self { columns })
    }
}

impl EpisodeColumns {
    /// Appends what `next` has after its look-back, but for its first observation.
    fn extend_from(&mut self, next: &Self) -> Result<(), EpisodeError> {
        let steps = next.len_lookback..next.steps();
        if self.is_open_to_extras() {
            for (key, column) in &next.extra_model_outputs {
                self.extra_model_outputs.insert(key.clone(), column.slice(0..0)?);
            }
        }
        self.check_extra_keys(next.extra_model_outputs.keys().map(String::as_str))?;
        let ours = self.extra_model_outputs.values_mut();
        for (ours, next) in ours.zip(next.extra_model_outputs.values()) {
            ours.extend_from(next, steps.clone())?;
        }
        self.observations.extend_from(&next.observations, steps.start + 1..steps.end + 1)?;
        self.actions.extend_from(&next.actions, steps.clone())?;
        self.rewards.extend_from_slice(next.rewards.get(steps).unwrap_or_default());
        Ok(())
    }
}
