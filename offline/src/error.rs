//! Errors of recorded experience.

use std::io;
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
    /// A file or directory that cannot be written, for example on a full disk.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A file that cannot be read or removed.
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
    /// Stored bytes that claim more than any compression makes of experience, and would fill memory.
    #[error(
        "{stored} stored bytes claim to be {claimed} bytes of experience; the file is damaged or was made to fill memory, so record it again"
    )]
    Oversized {
        /// Bytes in the file.
        stored: u64,
        /// Bytes or numbers that they claim to be.
        claimed: u64,
    },
    /// A column of images that are stored as JPEG.
    #[error(
        "its images are stored as JPEG, which changes pixels and is not read; record them with `jpeg_encoding=False`"
    )]
    Jpeg,
    /// A file that is compressed in a way that is not read.
    #[error("it is compressed with {codec}, which is not read; write it {remedy}")]
    Compressed {
        /// The compression.
        codec: String,
        /// What is read instead.
        remedy: &'static str,
    },
    /// A space of another library that has no counterpart here.
    #[error(
        "a space of the type `{kind}` has no counterpart; leave it out of the observations or actions"
    )]
    UnsupportedSpace {
        /// The type of the space.
        kind: String,
    },
    /// An error of an episode.
    #[error("episode {episode}: {source}")]
    Episode {
        /// The number of the episode, counted from 0.
        episode: usize,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A file that cannot be read in its format.
    #[error("it is not a valid {format} file: {reason}")]
    Decode {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file or directory of recordings that does not exist.
    #[error(
        "`{}` does not exist; name a directory of recordings, or record experience with the setting `env_runners.output`",
        path.display()
    )]
    Missing {
        /// The file or directory.
        path: PathBuf,
    },
    /// A directory into which another run records.
    #[error("another run records into `{}`; choose another directory, or wait until it ends", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A directory where a restored run cannot go on recording.
    #[error(
        "`{}` does not have what the run recorded before: it was moved or belongs to another run; go on where the run began, or name a new directory with the setting `env_runners.output`",
        path.display()
    )]
    OtherRecording {
        /// The directory.
        path: PathBuf,
    },
    /// A recording of a restored run that lacks files.
    #[error(
        "{missing} files or episodes that the run recorded are missing in `{}`; put them back, or name a new directory with the setting `env_runners.output`",
        path.display()
    )]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The number of files or episodes.
        missing: u64,
    },
    /// A directory without recordings.
    #[error(
        "`{}` has no files `*.parquet`; record experience with the setting `env_runners.output`",
        path.display()
    )]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A directory without a Minari dataset.
    #[error(
        "`{}` has no Minari dataset: neither `metadata.json` nor `data/metadata.json`; name the directory of the dataset's id, below that of all datasets",
        path.display()
    )]
    NoDataset {
        /// The directory.
        path: PathBuf,
    },
    /// A directory of Minari datasets instead of a dataset.
    #[error(
        "`{}` is a directory of Minari datasets; name one of them: {}",
        path.display(),
        listed(datasets)
    )]
    HoldsDatasets {
        /// The directory.
        path: PathBuf,
        /// Datasets below it.
        datasets: Vec<PathBuf>,
    },
    /// A part of a Minari dataset.
    #[error(
        "`{}` is a part of a Minari dataset, which is read as a whole; name its directory: `{}`",
        path.display(),
        dataset.display()
    )]
    InDataset {
        /// The file or directory.
        path: PathBuf,
        /// The dataset.
        dataset: PathBuf,
    },
    /// Data without episodes.
    #[error(
        "`{}` has no episodes; record some with the setting `env_runners.output`, or name other data",
        path.display()
    )]
    NoEpisodes {
        /// The file or directory.
        path: PathBuf,
    },
    /// Experience of several modules for a Minari dataset.
    #[error(
        "a Minari dataset holds the experience of the module `default_policy` alone, and there is `{module}`; record Parquet files"
    )]
    SeveralModules {
        /// The other module.
        module: String,
    },
    /// A directory that has recordings already.
    #[error("`{}` has recordings already; choose another directory, or remove them", path.display())]
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
    Io(#[from] io::Error),
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
        match error {
            // Checks of this crate, which the reader of the file passes on.
            ParquetError::External(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Parquet(Box::new(ParquetError::External(source))),
            },
            error => Self::Parquet(Box::new(error)),
        }
    }
}

impl From<hdf5_pure::Error> for OfflineError {
    fn from(error: hdf5_pure::Error) -> Self {
        use hdf5_pure::FormatError;
        match error {
            hdf5_pure::Error::Format(FormatError::UnsupportedFilter(id)) => Self::Compressed {
                codec: format!("the HDF5 filter {id}"),
                remedy: "without compression, or with deflate (gzip) or LZF",
            },
            error => Self::Decode { format: "HDF5", reason: error.to_string() },
        }
    }
}

impl From<arrow_schema::ArrowError> for OfflineError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        let reason = error.to_string();
        let codec = ["lz4", "zstd"]
            .into_iter()
            .find(|codec| reason.contains(&format!("{codec} IPC decompression requires")));
        match codec {
            Some(codec) => {
                Self::Compressed { codec: codec.to_uppercase(), remedy: "without compression" }
            }
            None => Self::Decode { format: "Arrow", reason },
        }
    }
}

impl OfflineError {
    /// Adds the file that the error is about, unless it names one.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::File { .. } | Self::Write { .. } => self,
            source => Self::File { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// Adds the file whose writing failed, unless the error names one.
    pub(crate) fn in_written_file(self, path: &Path) -> Self {
        let source = match self {
            Self::Io(error) => error,
            Self::Header(error) => error.into(),
            Self::Parquet(error) => match *error {
                ParquetError::External(source) => match source.downcast() {
                    Ok(error) => *error,
                    Err(source) => io::Error::other(source),
                },
                error => io::Error::other(error.to_string()),
            },
            error => return error.in_file(path),
        };
        Self::Write { path: path.to_owned(), source }
    }

    /// Adds the episode that the error is about, unless it names one.
    pub(crate) fn in_episode(self, episode: usize) -> Self {
        match self {
            Self::Rows { .. }
            | Self::NoSteps { .. }
            | Self::OtherSpace { .. }
            | Self::InvalidRow { .. }
            | Self::Episode { .. }
            | Self::File { .. }
            | Self::Write { .. } => self,
            source => Self::Episode { episode, source: Box::new(source) },
        }
    }

    /// Adds the column that the error is about.
    pub(crate) fn in_column(self, column: &str) -> Self {
        Self::Column { column: column.to_owned(), source: Box::new(self) }
    }
}

/// Returns paths for a message.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}
