//! Reading parts of columns.

use rekindle_env::{Buffer, Space};

use super::gather::gather;
use super::lookback::{Extent, resolve};
use super::one_hot::gather_one_hot;
use super::{EpisodeError, Index, SingleAgentEpisode};

/// Parts of columns, copied.
///
/// An [`Index`] says which items; the look-back is within its reach. Where an index leaves the data,
/// every number of the item is `fill`; without a `fill`, single indices fail and slices are cut.
///
/// ```
/// use rekindle_env::Buffer;
/// use rekindle_env_runner::episode::{EpisodeColumns, Index, SingleAgentEpisode};
///
/// let observations = Buffer::from_i64(vec![0; 6], &[])?;
/// let actions = Buffer::from_i64(vec![0; 5], &[])?;
/// let rewards = vec![0.0, 1.0, 2.0, 3.0, 4.0];
/// let episode = SingleAgentEpisode::from_columns(EpisodeColumns {
///     len_lookback: 2,
///     ..EpisodeColumns::new(observations, actions, rewards)
/// })?;
///
/// assert_eq!(episode.get_rewards(.., None)?, [2.0, 3.0, 4.0]);
/// assert_eq!(episode.get_rewards(-4, None)?, [1.0]);
/// assert_eq!(episode.get_rewards(1..5, Some(-1.0))?, [3.0, 4.0, -1.0, -1.0]);
/// let around = Index::from(-1..1).neg_index_as_lookback();
/// assert_eq!(episode.get_rewards(around, None)?, [1.0, 2.0]);
/// # Ok::<(), rekindle_env_runner::episode::EpisodeError>(())
/// ```
impl SingleAgentEpisode {
    /// Returns observations. There is one more than there are steps.
    ///
    /// # Errors
    /// If an index is out of range and there is no `fill`, or `fill` is not a value of the space's type.
    pub fn get_observations(
        &self,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        self.get(&self.columns.observations, &index.into(), fill)
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
        self.get(&self.columns.actions, &index.into(), fill)
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
        let rewards = &self.columns.rewards;
        let rows = resolve(&index.into(), self.extent(rewards.len()), fill.is_some())?;
        let reward = |row: Option<usize>| row.and_then(|row| rewards.get(row).copied()).or(fill);
        Ok(rows.into_iter().filter_map(reward).collect())
    }

    /// Returns one of the extra model outputs.
    ///
    /// # Errors
    /// If there is none with this name, and as [`get_observations`](Self::get_observations).
    pub fn get_extra_model_outputs(
        &self,
        key: &str,
        index: impl Into<Index>,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        self.get(self.columns.extra(key)?, &index.into(), fill)
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
        self.get_one_hot(&self.columns.observations, space, &index.into(), fill)
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
        self.get_one_hot(&self.columns.actions, space, &index.into(), fill)
    }

    fn get(
        &self,
        column: &Buffer,
        index: &Index,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let rows = resolve(index, self.extent(column.rows()), fill.is_some())?;
        gather(column, &rows, fill)
    }

    fn get_one_hot(
        &self,
        column: &Buffer,
        space: &Space,
        index: &Index,
        fill: Option<f64>,
    ) -> Result<Buffer, EpisodeError> {
        let rows = resolve(index, self.extent(column.rows()), fill.is_some())?;
        gather_one_hot(column, space, &rows, fill)
    }

    /// Returns the size of a column of this many rows.
    pub(super) fn extent(&self, rows: usize) -> Extent {
        Extent { rows, lookback: self.columns.len_lookback }
    }
}
