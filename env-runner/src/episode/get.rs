//! Reading parts of columns.

use rekindle_core::Columns;
use rekindle_env::{Buffer, Space};

use super::gather::gather;
use super::lookback::{Extent, resolve};
use super::one_hot::gather_one_hot;
use super::{EpisodeError, EpisodeView, Index};

/// Parts of columns, copied.
///
/// An [`Index`] says which items; the look-back is within its reach. Where an index leaves the view, every
/// number of the item is `fill`; without a `fill`, single indices fail and slices are cut.
impl EpisodeView<'_> {
    /// Returns observations. There is one more than there are steps.
    ///
    /// # Errors
    /// If an index is out of range and there is no `fill`, or `fill` is not a value of the space's type.
    pub fn get_observations(
        &self,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let all = self.all_observations()?;
        let items = resolve(&index.into(), self.extent(all.rows()), fill.is_some())?;
        gather(&all, &items, fill)
    }

    /// Returns actions.
    ///
    /// # Errors
    /// As [`get_observations`](Self::get_observations).
    pub fn get_actions(
        &self,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        self.get(&self.rollout.actions, &index.into(), fill)
    }

    /// Returns rewards.
    ///
    /// # Errors
    /// If an index is out of range and there is no `fill`.
    pub fn get_rewards(
        &self,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Vec<f64>, EpisodeError> {
        let rows = self.resolve(&index.into(), fill.is_some())?;
        let rewards = &self.rollout.rewards;
        let reward = |row: usize| rewards.get(row).map(|reward| f64::from(*reward));
        Ok(rows.into_iter().filter_map(|row| row.and_then(reward).or(fill)).collect())
    }

    /// Returns one of the extra model outputs, such as `action_logp`, or the states that a stateful
    /// module acted from ([`Columns::STATE_IN`]).
    ///
    /// # Errors
    /// If there is none with this name, and as [`get_observations`](Self::get_observations).
    pub fn get_extra_model_outputs(
        &self,
        key: &str,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let states = self.rollout.states.as_ref().filter(|_| key == Columns::STATE_IN);
        let column = match states {
            Some(states) => Some(&states.state_in),
            None => self.rollout.extras.get(key),
        };
        let unknown = || EpisodeError::UnknownColumn {
            key: key.into(),
            available: self.rollout.extras.keys().cloned().collect(),
        };
        self.get(column.ok_or_else(unknown)?, &index.into(), fill)
    }

    /// Returns a number of the infos that the environment reported; NaN where it did not report it.
    ///
    /// # Errors
    /// If no step of the rollout reported it, and as [`get_observations`](Self::get_observations).
    pub fn get_infos(
        &self,
        key: &str,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let infos = self.rollout.infos.as_ref();
        let Some(column) = infos.and_then(|infos| infos.get(key).ok()) else {
            let available = infos.and_then(|infos| infos.as_dict().ok());
            return Err(EpisodeError::UnknownColumn {
                key: key.into(),
                available: available.into_iter().flat_map(|infos| infos.keys()).cloned().collect(),
            });
        };
        self.get(column, &index.into(), fill)
    }

    /// Returns observations with every `Discrete` and `MultiDiscrete` leaf of `space`, the observation
    /// space, as `float32` one-hot vectors (RLlib's `one_hot_discrete`).
    ///
    /// Every element of a filled item is `fill`. With 0 it is the zero vector, which stands for none of the
    /// choices.
    ///
    /// # Errors
    /// If an observation is not in `space`, and as [`get_observations`](Self::get_observations).
    pub fn get_observations_one_hot(
        &self,
        space: &Space,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let all = self.all_observations()?;
        let items = resolve(&index.into(), self.extent(all.rows()), fill.is_some())?;
        gather_one_hot(&all, space, &items, fill)
    }

    /// Returns actions with every `Discrete` and `MultiDiscrete` leaf of `space`, the action space,
    /// as `float32` one-hot vectors (RLlib's `one_hot_discrete`).
    ///
    /// # Errors
    /// As [`get_observations_one_hot`](Self::get_observations_one_hot).
    pub fn get_actions_one_hot(
        &self,
        space: &Space,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let rows = self.resolve(&index.into(), fill.is_some())?;
        gather_one_hot(&self.rollout.actions, space, &rows, fill)
    }

    fn get(
        &self,
        column: &Buffer,
        index: &Index,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        gather(column, &self.resolve(index, fill.is_some())?, fill)
    }

    /// Returns the rows of steps in the columns of the rollout.
    fn resolve(&self, index: &Index, fill: bool) -> Result<Vec<Option<usize>>, EpisodeError> {
        let steps = self.steps();
        let items = resolve(index, self.extent(steps.len()), fill)?;
        Ok(items.into_iter().map(|item| item.map(|item| self.row(steps.start + item))).collect())
    }

    /// Returns the size of a column of this many items.
    fn extent(&self, rows: usize) -> Extent {
        Extent { rows, lookback: self.len_lookback }
    }
}
