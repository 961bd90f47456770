//! The error type of this crate.

use std::{io, path::PathBuf};

use crate::reducer::Reducer;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, MetricsError>;

/// An error of logging, merging, writing, reading or plotting metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A reducer has a setting outside its range.
    #[error("invalid reducer ({reducer}): {constraint}")]
    InvalidReducer {
        /// The reducer as given.
        reducer: Reducer,
        /// The condition that its settings must satisfy.
        constraint: &'static str,
    },
    /// Statistics of different reducers cannot be merged.
    #[error(
        "cannot merge statistics that are {found} into statistics that are {expected}; log a key with the same reducer everywhere"
    )]
    ReducerMismatch {
        /// The reducer of the receiving statistics.
        expected: Reducer,
        /// The reducer of the statistics to merge.
        found: Reducer,
    },
    /// A series was used with another reducer than at its creation.
    #[error("metric `{key}` is {expected}, not {found}; use one reducer per key, or another key")]
    ReducerConflict {
        /// The path of the series.
        key: String,
        /// The reducer of the first use.
        expected: Reducer,
        /// The reducer of this use.
        found: Reducer,
    },
    /// A saved series does not have the data that its reducer needs.
    #[error(
        "saved statistics do not fit their reducer ({reducer}); use another copy of the checkpoint"
    )]
    InvalidState {
        /// The reducer of the saved series.
        reducer: Reducer,
    },
    /// A key is not a path of non-empty segments separated by `/`.
    #[error("invalid metric key `{key}`: expected non-empty segments separated by `/`")]
    InvalidKey {
        /// The key as given.
        key: String,
    },
    /// There is no series at or under a path.
    #[error("no metric at or under `{key}`")]
    UnknownKey {
        /// The path as given.
        key: String,
    },
    /// A file could not be read or written.
    #[error("could not access `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A line of a JSONL file is not a flat object of numbers.
    #[error("{}:{line}: not a line of metrics: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The console could not be written.
    #[error("could not write metrics to the console: {source}")]
    Console {
        /// The error of the operating system.
        source: io::Error,
    },
    /// A learning curve cannot be drawn.
    #[error("could not plot `{title}`: {reason}")]
    Plot {
        /// The title of the plot.
        title: String,
        /// The reason.
        reason: String,
    },
}
