//! Errors of episodes.

use rekindle_env::EnvError;

/// An error of an episode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodeError {
    // ---- appending ----
    /// The first observation was added a second time.
    #[error("episode `{id}` already has its first observation; continue with `add_env_step`")]
    AlreadyReset {
        /// The episode.
        id: String,
    },
    /// An operation that needs the first observation, on an episode without one.
    #[error("episode `{id}` has no observation yet; call `add_env_reset` first")]
    NotReset {
        /// The episode.
        id: String,
    },
    /// An operation that would continue a finished episode.
    #[error(
        "episode `{id}` ended at t = {t} (terminated: {terminated}, truncated: {truncated}) \
         and cannot continue; begin a new episode"
    )]
    Done {
        /// The episode.
        id: String,
        /// The time step of its last observation.
        t: usize,
        /// Whether it ended in a terminal state.
        terminated: bool,
        /// Whether it was truncated.
        truncated: bool,
    },
    /// Other extra model outputs than in the steps before.
    #[error(
        "every step of an episode has the same extra model outputs: {expected:?}, not {found:?}"
    )]
    ExtraKeys {
        /// The outputs of the steps before.
        expected: Vec<String>,
        /// The outputs given.
        found: Vec<String>,
    },

    // ---- joining ----
    /// Pieces of two episodes.
    #[error("episode `{other}` does not continue episode `{id}`; the ids must be equal")]
    IdMismatch {
        /// The episode to be continued.
        id: String,
        /// The episode that was to continue it.
        other: String,
    },
    /// Pieces with a gap or an overlap between them.
    #[error("a piece that starts at t = {t_started} does not continue one that ends at t = {t}")]
    TimeMismatch {
        /// Where the first piece ends.
        t: usize,
        /// Where the second piece starts.
        t_started: usize,
    },
    /// Pieces that disagree about the observation that they share.
    #[error(
        "the pieces of episode `{id}` have different observations at t = {t}; the last \
         observation of a piece is the first of the next"
    )]
    ObservationMismatch {
        /// The episode.
        id: String,
        /// The time step at which the pieces meet.
        t: usize,
    },

    // ---- reading and overwriting ----
    /// An index outside the episode and its look-back.
    #[error(
        "index {index} is out of range for {len} items after a look-back of {lookback}; \
         give a `fill` to read beyond the ends"
    )]
    IndexOutOfRange {
        /// The index as it was given.
        index: isize,
        /// The items after the look-back.
        len: usize,
        /// The items of the look-back.
        lookback: usize,
    },
    /// A slice that does not move.
    #[error("the step of a slice must not be 0")]
    ZeroStep,
    /// A piece of an episode that would leave out steps.
    #[error("an episode is sliced into consecutive steps: the step must be 1, not {step}")]
    SliceStep {
        /// The step given.
        step: isize,
    },
    /// A fill that is not a number of the column's type.
    #[error("cannot fill {kind} numbers with {fill}")]
    Fill {
        /// The fill given.
        fill: f64,
        /// The element type of the column.
        kind: &'static str,
    },
    /// No extra model output of this name.
    #[error("no extra model output `{key}`; there are {available:?}")]
    UnknownExtra {
        /// The output asked for.
        key: String,
        /// The outputs there are.
        available: Vec<String>,
    },
    /// More or fewer new items than places for them.
    #[error("{found} new items for {expected} places")]
    SizeMismatch {
        /// The places addressed.
        expected: usize,
        /// The items given.
        found: usize,
    },

    // ---- building ----
    /// A column with more or fewer rows than the episode has.
    #[error("column `{column}` has {found} rows where the episode needs {expected}")]
    RowCount {
        /// The column.
        column: String,
        /// The rows it should have.
        expected: usize,
        /// The rows it has.
        found: usize,
    },
    /// A look-back longer than the data.
    #[error("a look-back of {len_lookback} steps needs as many steps; there are {steps}")]
    LookbackTooLong {
        /// The look-back asked for.
        len_lookback: usize,
        /// The steps there are.
        steps: usize,
    },
    /// An episode that ended before it began.
    #[error("an episode without observations cannot be terminated or truncated")]
    DoneWithoutData,

    /// Data that does not fit the spaces.
    #[error(transparent)]
    Env(#[from] EnvError),
}
