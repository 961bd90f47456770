//! The context of the rows that connectors transform.

use rekindle_env::Buffer;

/// The context of the rows that a connector transforms.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ConnectorContext<'a> {
    /// Whether running statistics learn from the rows. `false` in evaluation, and for observations
    /// that are transformed a second time or lead to no action.
    pub update: bool,
    /// The step that led to the rows; `None` if every row starts an episode.
    pub step: Option<LastStep<'a>>,
}

impl<'a> ConnectorContext<'a> {
    /// Returns the context of rows that all start an episode.
    #[must_use]
    pub fn rows(update: bool) -> Self {
        Self { update, step: None }
    }

    /// Returns the context of rows that follow a step.
    #[must_use]
    pub fn after(step: LastStep<'a>, update: bool) -> Self {
        Self { update, step: Some(step) }
    }
}

/// The step that led to some observations, with one entry per row.
#[derive(Debug, Clone, Copy)]
pub struct LastStep<'a> {
    /// The actions as the module sampled them.
    pub actions: &'a Buffer,
    /// The rewards as the pipeline's reward connectors left them.
    pub rewards: &'a [f64],
    /// Whether each observation is the first of its episode.
    pub starts: &'a [bool],
    /// Whether no action follows the observations, as for the final observations of episodes. The
    /// connector's episode state then stays unchanged.
    pub is_final: bool,
    /// The episodes that the rows belong to; `None` if row `i` belongs to episode `i`.
    pub slots: Option<Slots<'a>>,
}

/// The episodes that some rows belong to, among all running episodes.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// For each row, the number of its episode.
    pub of_rows: &'a [usize],
    /// The number of running episodes.
    pub count: usize,
}

impl LastStep<'_> {
    /// Returns the slot in which a connector remembers the episode of a row.
    #[must_use]
    pub fn slot(&self, row: usize) -> usize {
        slot(self.slots, row)
    }

    /// Returns the number of episodes to remember when there are `rows` rows.
    #[must_use]
    pub fn num_slots(&self, rows: usize) -> usize {
        num_slots(self.slots, rows)
    }
}

/// The context of the rewards that a connector transforms.
#[derive(Debug, Clone, Copy)]
pub struct RewardContext<'a> {
    /// Whether running statistics learn from the rewards; `false` in evaluation.
    pub update: bool,
    /// Whether each reward is the first of its episode.
    pub starts: &'a [bool],
    /// The episodes that the rewards belong to; `None` if reward `i` belongs to episode `i`.
    pub slots: Option<Slots<'a>>,
}

impl RewardContext<'_> {
    /// Returns the slot in which a connector remembers the episode of a reward.
    #[must_use]
    pub fn slot(&self, row: usize) -> usize {
        slot(self.slots, row)
    }

    /// Returns the number of episodes to remember when there are `rows` rewards.
    #[must_use]
    pub fn num_slots(&self, rows: usize) -> usize {
        num_slots(self.slots, rows)
    }
}

fn slot(slots: Option<Slots<'_>>, row: usize) -> usize {
    slots.map_or(row, |slots| slots.of_rows.get(row).copied().unwrap_or(row))
}

fn num_slots(slots: Option<Slots<'_>>, rows: usize) -> usize {
    slots.map_or(rows, |slots| slots.count)
}
