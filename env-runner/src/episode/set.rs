//! Overwriting parts of columns.

use rekindle_env::Buffer;

use super::columns::check_rows;
use super::lookback::{Extent, resolve_existing};
use super::{EpisodeError, Index, SingleAgentEpisode};

/// Parts of columns, overwritten: connectors write what they change into the episode, so that a
/// learner sees what the module saw.
///
/// An [`Index`] says which items, as for the getters; there must be one new item for each. A setter
/// that fails has changed nothing.
impl SingleAgentEpisode {
    /// Overwrites observations.
    ///
    /// # Errors
    /// If an index is out of range, or `new` has another number of rows or does not fit the space.
    pub fn set_observations(
        &mut self,
        new: &Buffer,
        at: impl Into<Index>,
    ) -> Result<(), EpisodeError> {
        let extent = self.extent(self.columns.observations.rows());
        overwrite(&mut self.columns.observations, extent, new, &at.into())
    }

    /// Overwrites actions.
    ///
    /// # Errors
    /// As [`set_observations`](Self::set_observations).
    pub fn set_actions(&mut self, new: &Buffer, at: impl Into<Index>) -> Result<(), EpisodeError> {
        let extent = self.extent(self.columns.actions.rows());
        overwrite(&mut self.columns.actions, extent, new, &at.into())
    }

    /// Overwrites rewards.
    ///
    /// # Errors
    /// If an index is out of range, or there are more or fewer new rewards.
    pub fn set_rewards(&mut self, new: &[f64], at: impl Into<Index>) -> Result<(), EpisodeError> {
        let rows = resolve_existing(&at.into(), self.extent(self.columns.rewards.len()))?;
        check_size(rows.len(), new.len())?;
        for (row, &new) in rows.into_iter().zip(new) {
            if let Some(reward) = self.columns.rewards.get_mut(row) {
                *reward = new;
            }
        }
        Ok(())
    }

    /// Overwrites rows of one of the extra model outputs.
    ///
    /// # Errors
    /// If there is none of this name, and as [`set_observations`](Self::set_observations).
    pub fn set_extra_model_outputs(
        &mut self,
        key: &str,
        new: &Buffer,
        at: impl Into<Index>,
    ) -> Result<(), EpisodeError> {
        let extent = self.extent(self.columns.steps());
        match self.columns.extra_model_outputs.get_mut(key) {
            Some(column) => overwrite(column, extent, new, &at.into()),
            None => Err(self.columns.unknown_extra(key)),
        }
    }

    /// Adds an extra model output, or replaces one: a row for every step, those of the look-back
    /// included.
    ///
    /// # Errors
    /// If there are more or fewer rows.
    pub fn insert_extra_model_outputs(
        &mut self,
        key: impl Into<String>,
        column: Buffer,
    ) -> Result<(), EpisodeError> {
        let key = key.into();
        check_rows(&key, &column, self.columns.steps())?;
        self.columns.extra_model_outputs.insert(key, column);
        Ok(())
    }
}

fn overwrite(
    column: &mut Buffer,
    extent: Extent,
    new: &Buffer,
    at: &Index,
) -> Result<(), EpisodeError> {
    let rows = resolve_existing(at, extent)?;
    check_size(rows.len(), new.rows())?;
    // Only the layout can be wrong from here on, which the first row would show.
    for (from, to) in rows.into_iter().enumerate() {
        column.copy_row(to, new, from)?;
    }
    Ok(())
}

fn check_size(expected: usize, found: usize) -> Result<(), EpisodeError> {
    if expected == found { Ok(()) } else { Err(EpisodeError::SizeMismatch { expected, found }) }
}
