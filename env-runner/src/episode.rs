//! Episodes of one agent: RLlib's `SingleAgentEpisode`, stored by column.

mod columns;
mod error;
mod gather;
mod get;
mod id;
mod index;
mod lookback;
mod one_hot;
mod pieces;
mod reward;
mod set;
mod steps;
#[cfg(test)]
mod tests;
mod view;

use rekindle_env::{Buffer, Row, Space};
use serde::{Deserialize, Serialize, Serializer};

pub use columns::EpisodeColumns;
pub use error::EpisodeError;
pub use index::{Index, Slice};
pub use view::ColumnView;

/// The observations, actions and rewards of one agent, from a reset or a cut onwards.
///
/// Each kind of data is one column. The first `len_lookback` steps are the *look-back buffer*: the end
/// of the previous piece, kept for connectors that read past steps (frame stacking, previous
/// actions). They do not count as steps of this episode. With two steps of look-back and three of the
/// episode:
///
/// ```text
///               look-back | episode
/// observations    o0  o1  | o2  o3  o4  o5
/// actions         a0  a1  | a2  a3  a4
/// rewards         r0  r1  | r2  r3  r4
/// extra outputs   x0  x1  | x2  x3  x4
/// time step               | t_started ... t
/// ```
///
/// Action `i` was chosen on observation `i` and led to reward `i` and observation `i + 1`. The
/// last observation has no action yet, or is the final one of a finished episode. An episode may
/// be both terminated and truncated: as in Gymnasium, the two flags are independent.
///
/// ```
/// use rekindle_env::{Buffer, Space};
/// use rekindle_env_runner::episode::SingleAgentEpisode;
///
/// let (observed, chosen) = (Space::boxed(-1.0, 1.0, &[1])?, Space::discrete(2)?);
/// let observations = Buffer::from_f32(vec![0.0, 0.1, 0.2], &[1])?;
/// let actions = Buffer::from_i64(vec![1, 0], &[])?;
///
/// let mut episode = SingleAgentEpisode::new(&observed, &chosen);
/// episode.add_env_reset(observations.row(0))?;
/// episode.add_env_step(observations.row(1), actions.row(0), 1.0, false, false, &[])?;
/// episode.add_env_step(observations.row(2), actions.row(1), 2.0, false, false, &[])?;
/// assert_eq!((episode.len(), episode.t(), episode.get_return()), (2, 2, 3.0));
///
/// // Training takes the first piece, and sampling continues with the second.
/// let successor = episode.cut(1)?;
/// assert_eq!((successor.len(), successor.t_started()), (0, 2));
/// assert_eq!(successor.get_rewards(-1, None)?, [2.0]);
/// # Ok::<(), rekindle_env_runner::episode::EpisodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "EpisodeColumns")]
pub struct SingleAgentEpisode {
    columns: EpisodeColumns,
}

/// Constructors and conversions.
impl SingleAgentEpisode {
    /// Creates an episode before its reset, from t = 0, with a fresh id.
    #[must_use]
    pub fn new(observation_space: &Space, action_space: &Space) -> Self {
        let observations = Buffer::with_capacity(observation_space, 0);
        let actions = Buffer::with_capacity(action_space, 0);
        Self { columns: EpisodeColumns::new(observations, actions, Vec::new()) }
    }

    /// Creates an episode from columns.
    ///
    /// # Errors
    /// If the columns differ in length, or the look-back or the flags do not fit them.
    pub fn from_columns(columns: EpisodeColumns) -> Result<Self, EpisodeError> {
        columns.check()?;
        Ok(Self { columns })
    }

    /// Returns the columns of the episode, including the look-back.
    #[must_use]
    pub fn into_columns(self) -> EpisodeColumns {
        self.columns
    }

    /// Sets the id, which all pieces of an episode share.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.columns.id = id.into();
        self
    }

    /// Sets the time step of the first observation after the look-back.
    #[must_use]
    pub fn with_t_started(mut self, t_started: usize) -> Self {
        self.columns.t_started = t_started;
        self
    }

    /// Sets the agent that acts.
    #[must_use]
    pub fn with_agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.columns.agent_id = Some(agent_id.into());
        self
    }

    /// Sets the module that chooses the actions.
    #[must_use]
    pub fn with_module_id(mut self, module_id: impl Into<String>) -> Self {
        self.columns.module_id = Some(module_id.into());
        self
    }
}

/// Identity and progress.
impl SingleAgentEpisode {
    /// Returns the id, which all pieces of an episode share.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.columns.id
    }

    /// Returns the agent that acts, if set.
    #[must_use]
    pub fn agent_id(&self) -> Option<&str> {
        self.columns.agent_id.as_deref()
    }

    /// Returns the module that chooses the actions, if set.
    #[must_use]
    pub fn module_id(&self) -> Option<&str> {
        self.columns.module_id.as_deref()
    }

    /// Returns the number of steps after the look-back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.steps() - self.columns.len_lookback
    }

    /// Whether there are no steps after the look-back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of steps of the look-back.
    #[must_use]
    pub fn len_lookback(&self) -> usize {
        self.columns.len_lookback
    }

    /// Returns the time step of the first observation after the look-back.
    #[must_use]
    pub fn t_started(&self) -> usize {
        self.columns.t_started
    }

    /// Returns the time step of the last observation: `t_started + len`.
    #[must_use]
    pub fn t(&self) -> usize {
        self.columns.t_started.saturating_add(self.len())
    }

    /// Whether there is a first observation.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        !self.columns.observations.is_empty()
    }

    /// Whether the last step led to a terminal state.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.columns.is_terminated
    }

    /// Whether the episode was truncated after the last step, for example by a time limit.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.columns.is_truncated
    }

    /// Whether the episode is terminated or truncated.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_terminated() || self.is_truncated()
    }

    /// Returns the sum of the rewards after the look-back.
    #[must_use]
    pub fn get_return(&self) -> f64 {
        self.rewards().iter().sum()
    }

    /// Returns the number of environment steps after the look-back: for one agent,
    /// [`len`](Self::len).
    #[must_use]
    pub fn env_steps(&self) -> usize {
        self.len()
    }
}

/// Borrowed columns.
impl SingleAgentEpisode {
    /// Returns the observations after the look-back, `[len + 1, ...]`.
    #[must_use]
    pub fn observations(&self) -> ColumnView<'_> {
        ColumnView::new(&self.columns.observations, self.columns.len_lookback)
    }

    /// Returns the actions after the look-back, `[len, ...]`.
    #[must_use]
    pub fn actions(&self) -> ColumnView<'_> {
        ColumnView::new(&self.columns.actions, self.columns.len_lookback)
    }

    /// Returns the rewards after the look-back, `[len]`.
    #[must_use]
    pub fn rewards(&self) -> &[f64] {
        self.columns.rewards.get(self.columns.len_lookback..).unwrap_or_default()
    }

    /// Returns one of the extra model outputs after the look-back, `[len, ...]`.
    ///
    /// # Errors
    /// If there is none with this name.
    pub fn extra(&self, key: &str) -> Result<ColumnView<'_>, EpisodeError> {
        Ok(ColumnView::new(self.columns.extra(key)?, self.columns.len_lookback))
    }

    /// Returns the last observation, on which the next action is chosen; `None` before the reset.
    #[must_use]
    pub fn last_observation(&self) -> Option<Row<'_>> {
        let observations = &self.columns.observations;
        observations.rows().checked_sub(1).map(|last| observations.row(last))
    }

    /// Returns all columns, including the look-back.
    #[must_use]
    pub fn columns(&self) -> &EpisodeColumns {
        &self.columns
    }
}

impl Serialize for SingleAgentEpisode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.columns.serialize(to)
    }
}

impl TryFrom<EpisodeColumns> for SingleAgentEpisode {
    type Error = EpisodeError;

    fn try_from(columns: EpisodeColumns) -> Result<Self, EpisodeError> {
        Self::from_columns(columns)
    }
}
