//! The errors of this module.

use std::{io, path::PathBuf};

use crate::Reducer;

/// The result of a metrics operation.
pub type Result<T> = std::result::Result<T, MetricsError>;

/// Why a metric could not be logged, merged, written, read or plotted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A reducer has a setting outside its range.
    #[error("invalid reducer {reducer:?}: {constraint}")]
    InvalidReducer {
        /// The reducer as given.
        reducer: Reducer,
        /// What its settings must satisfy.
        constraint: &'static str,
    },
    /// Statistics of different reducers cannot be merged.
    #[error("cannot merge statistics reduced by {found:?} into statistics reduced by {expected:?}")]
    ReducerMismatch {
        /// The reducer of the receiving statistics.
        expected: Reducer,
        /// The reducer of the statistics to merge.
        found: Reducer,
    },
    /// A series was used with another reducer than the one it was created with.
    #[error("metric `{key}` is reduced by {expected:?}, not by {found:?}; use one reducer per key")]
    ReducerConflict {
        /// The path of the series.
        key: String,
        /// The reducer which the first use fixed.
        expected: Reducer,
        /// The reducer of this use.
        found: Reducer,
    },
    /// A saved series does not hold what its reducer needs.
    #[error("saved statistics do not fit their reducer {reducer:?}")]
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
    /// No series lies at or under a path.
    #[error("no metric at or under `{key}`")]
    UnknownKey {
        /// The path as given.
        key: String,
    },
    /// A file could not be read or written.
    #[error("could not access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a JSONL file is not a flat object of numbers.
    #[error("{}:{line}: not a line of metrics: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The console could not be written.
    #[error("could not write metrics to the console: {source}")]
    Console {
        /// What the system said.
        source: io::Error,
    },
    /// A learning curve cannot be drawn.
    #[error("could not plot `{title}`: {reason}")]
    Plot {
        /// The title of the plot.
        title: String,
        /// What stands in the way.
        reason: String,
    },
}
