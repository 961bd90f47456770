//! Errors of episodes.

use rekindle_env::{EnvError, did_you_mean};

/// An error of a view of an episode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodeError {
    // ---- continuing ----
    /// An episode that has ended and cannot continue.
    #[error(
        "episode {id} ended at t = {t} (terminated: {terminated}, truncated: {truncated}) and has no \
         other part after it"
    )]
    Done {
        /// The episode.
        id: u64,
        /// The time step of its last observation.
        t: usize,
        /// Whether it ended in a terminal state.
        terminated: bool,
        /// Whether it was truncated.
        truncated: bool,
    },
    /// Parts of two episodes.
    #[error(
        "episode {other} does not continue episode {id}; both must be of one agent and episode"
    )]
    IdMismatch {
        /// The episode to be continued.
        id: String,
        /// The episode that was to continue it.
        other: String,
    },
    /// Parts with a gap or an overlap between them.
    #[error("a part that starts at t = {t_started} does not continue one that ends at t = {t}")]
    TimeMismatch {
        /// Where the first part ends.
        t: usize,
        /// Where the second part starts.
        t_started: usize,
    },
    /// Parts that disagree about the observation that they share.
    #[error(
        "the parts of episode {id} have different observations at t = {t}; the last observation of a \
         part is the first of the next"
    )]
    ObservationMismatch {
        /// The episode.
        id: u64,
        /// The time step at which the parts meet.
        t: usize,
    },

    // ---- reading ----
    /// An index outside the view and its look-back.
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
    /// A part of an episode that would leave out steps.
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
    /// No column of this name.
    #[error("the rollout has no `{key}`; {}", did_you_mean(key, available))]
    UnknownColumn {
        /// The column asked for.
        key: String,
        /// The columns there are.
        available: Vec<String>,
    },

    /// Columns and segments that do not fit together, or data that does not fit its space.
    #[error(transparent)]
    Env(#[from] EnvError),
}
