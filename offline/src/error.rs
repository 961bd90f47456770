//! Errors of recorded experience.

use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use rekindle_env::{EnvError, suggestion};
use thiserror::Error;

/// The result of an operation on recorded experience.
pub type Result<T, E = OfflineError> = std::result::Result<T, E>;

/// An error of recorded experience. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum OfflineError {
    /// A column with another number of rows than the steps of its episode.
    #[error(
        "episode {episode} has {steps} steps, and its column `{column}` has {found} rows instead of {expected}; pass one row for each step, and one more of `observations`"
    )]
    Rows {
        /// The number of the episode, counted from 0.
        episode: usize,
        /// The column.
        column: String,
        /// Steps of the episode.
        steps: usize,
        /// Rows that the column should have.
        expected: usize,
        /// Rows that it has.
        found: usize,
    },
    /// An episode without steps.
    #[error("episode {episode} has no steps; leave it out")]
    NoSteps {
        /// The number of the episode, counted from 0.
        episode: usize,
    },
    /// A column whose rows are not elements of its space.
    #[error(
        "column `{column}` of episode {episode} does not hold elements of {space}; convert the column, or declare its space"
    )]
    OtherSpace {
        /// The number of the episode, counted from 0.
        episode: usize,
        /// The column.
        column: &'static str,
        /// The declared space.
        space: String,
    },
    /// A row outside of its space, or with a number that is not finite.
    #[error(
        "row {row} of column `{column}` of episode {episode} {reason}; correct or leave out the episode"
    )]
    InvalidRow {
        /// The number of the episode, counted from 0.
        episode: usize,
        /// The column.
        column: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Experience of a module that has no spaces.
    #[error(
        "the data have no spaces for module `{id}`; they have those of {known}{}",
        suggestion(id, known)
    )]
    UnknownModule {
        /// The id of the module.
        id: String,
        /// The modules with spaces.
        known: String,
    },
    /// A part that does not exist.
    #[error("the data have {parts} parts, and there is no part {part}")]
    UnknownPart {
        /// The requested part, counted from 0.
        part: usize,
        /// The number of parts.
        parts: usize,
    },
    /// Episodes that an estimator cannot read.
    #[error("the estimator `{estimator}` cannot estimate: {reason}")]
    Estimator {
        /// The short name of the estimator.
        estimator: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A column of a file that cannot be read.
    #[error("column `{column}`: {source}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A file that is damaged, or not a recording.
    #[error("{reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// A directory without recordings.
    #[error("{} has no files `*.parquet`; record some with `env_runners(|e| e.output(…))`", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that has recordings already.
    #[error("{} has recordings already; choose another directory, or remove them", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Files of one module with different spaces.
    #[error(
        "{}: module `{module}` has other spaces than in the files before; read the files of one environment at a time",
        path.display()
    )]
    OtherSpaces {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
    },
    /// Episodes of one file with different columns.
    #[error(
        "episodes of one file have the same columns, and `{column}` is missing in one or has another layout; write them to several files"
    )]
    OtherColumns {
        /// The column.
        column: String,
    },
    /// The error of the operating system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file that is not Parquet, or is damaged.
    #[error("it is not a valid Parquet file: {0}")]
    Parquet(#[source] Box<ParquetError>),
    /// Metadata that cannot be read.
    #[error("its metadata cannot be read: {0}")]
    Header(#[from] serde_json::Error),
    /// Columns that do not fit together.
    #[error(transparent)]
    Columns(#[from] EnvError),
}

impl From<ParquetError> for OfflineError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(Box::new(error))
    }
}

impl OfflineError {
    /// Adds the file that the error is about, unless it names one.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::File { .. } => self,
            source => Self::File { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// Adds the column that the error is about.
    pub(crate) fn in_column(self, column: &str) -> Self {
        Self::Column { column: column.to_owned(), source: Box::new(self) }
    }
}
