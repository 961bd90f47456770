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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Slots<'a> {
    /// For each row, the number of its episode.
    pub of_rows: &'a [usize],
    /// The number of running episodes.
    pub count: usize,
}

impl<'a> Slots<'a> {
    /// Creates the numbers of the rows' episodes among `count` running ones.
    #[must_use]
    pub fn new(of_rows: &'a [usize], count: usize) -> Self {
        Self { of_rows, count }
    }
}

impl<'a> LastStep<'a> {
    /// Creates a step in all running episodes that led to observations which actions follow.
    #[must_use]
    pub fn new(actions: &'a Buffer, rewards: &'a [f64], starts: &'a [bool]) -> Self {
        Self { actions, rewards, starts, is_final: false, slots: None }
    }

    /// Sets whether no action follows the observations.
    #[must_use]
    pub fn is_final(mut self, is_final: bool) -> Self {
        self.is_final = is_final;
        self
    }

    /// Sets the episodes that the rows belong to.
    #[must_use]
    pub fn slots(mut self, slots: Slots<'a>) -> Self {
        self.slots = Some(slots);
        self
    }

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
#[non_exhaustive]
pub struct RewardContext<'a> {
    /// Whether running statistics learn from the rewards; `false` in evaluation.
    pub update: bool,
    /// Whether each reward is the first of its episode.
    pub starts: &'a [bool],
    /// The episodes that the rewards belong to; `None` if reward `i` belongs to episode `i`.
    pub slots: Option<Slots<'a>>,
}

impl<'a> RewardContext<'a> {
    /// Creates the context of rewards of all running episodes.
    #[must_use]
    pub fn new(update: bool, starts: &'a [bool]) -> Self {
        Self { update, starts, slots: None }
    }

    /// Sets the episodes that the rewards belong to.
    #[must_use]
    pub fn slots(mut self, slots: Slots<'a>) -> Self {
        self.slots = Some(slots);
        self
    }

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
