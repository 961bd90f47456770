//! Recording in any of the formats.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_core::ModuleId;
use rekindle_env::Space;
use rekindle_env_runner::{CallbackResult, Experience, ExperienceRecorder};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::minari::MinariRecorder;
use crate::parquet::{ParquetRecorder, RecorderState};

/// The format of recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputFormat {
    /// Parquet files with all recorded columns ([`ParquetRecorder`]).
    #[default]
    Parquet,
    /// A dataset of Minari ([`MinariRecorder`]), for single-agent environments.
    Minari,
}

/// A recorder of what runners collect.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recorder {
    /// Writes Parquet files.
    Parquet(ParquetRecorder),
    /// Writes a dataset of Minari.
    Minari(Box<MinariRecorder>),
}

impl Recorder {
    /// Creates a recorder that goes on in a directory. Call [`check_empty`](Self::check_empty) for a new recording, or
    /// [`rewind`](Self::rewind) for a run that was restored.
    ///
    /// # Errors
    /// [`OfflineError::File`](crate::OfflineError::File) if the directory cannot be created.
    pub fn resume(folder: impl AsRef<Path>, format: OutputFormat) -> Result<Self> {
        Ok(match format {
            OutputFormat::Parquet => {
                Self::Parquet(ParquetRecorder::resume(folder, BTreeMap::new())?)
            }
            OutputFormat::Minari => Self::Minari(Box::new(MinariRecorder::resume(folder)?)),
        })
    }

    /// Sets the number of bytes, about, that are written together.
    #[must_use]
    pub fn max_file_size(self, bytes: usize) -> Self {
        match self {
            Self::Parquet(recorder) => Self::Parquet(recorder.max_file_size(bytes)),
            Self::Minari(recorder) => Self::Minari(Box::new(recorder.max_file_size(bytes))),
        }
    }

    /// Sets how actions of modules become those of the environment, which Minari's datasets hold: the settings
    /// `normalize_actions` and `clip_actions` of the algorithm.
    #[must_use]
    pub fn actions(self, normalize: bool, clip: bool) -> Self {
        match self {
            Self::Minari(recorder) => {
                Self::Minari(Box::new(recorder.normalize_actions(normalize).clip_actions(clip)))
            }
            parquet => parquet,
        }
    }

    /// Sets the spaces of the modules, which episodes that are recorded from now on have.
    ///
    /// # Errors
    /// [`OfflineError::SeveralModules`](crate::OfflineError::SeveralModules) in a dataset of Minari.
    pub fn set_spaces(&self, spaces: BTreeMap<ModuleId, (Space, Space)>) -> Result<()> {
        match self {
            Self::Parquet(recorder) => {
                recorder.set_spaces(spaces);
                Ok(())
            }
            Self::Minari(recorder) => recorder.set_spaces(spaces),
        }
    }

    /// Checks that the directory has no recordings.
    ///
    /// # Errors
    /// [`OfflineError::Exists`](crate::OfflineError::Exists) if there are some.
    pub fn check_empty(&self) -> Result<()> {
        match self {
            Self::Parquet(recorder) => recorder.check_empty(),
            Self::Minari(recorder) => recorder.check_empty(),
        }
    }

    /// Writes everything that is in memory.
    ///
    /// # Errors
    /// [`OfflineError::File`](crate::OfflineError::File) for a file that cannot be written.
    pub fn flush(&self) -> Result<()> {
        match self {
            Self::Parquet(recorder) => recorder.flush(),
            Self::Minari(recorder) => recorder.flush(),
        }
    }

    /// Returns what was recorded so far, for checkpoints. Flush first.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        match self {
            Self::Parquet(recorder) => recorder.state(),
            Self::Minari(recorder) => recorder.state(),
        }
    }

    /// Removes what is newer than a state, and goes on from there.
    ///
    /// # Errors
    /// [`OfflineError::File`](crate::OfflineError::File) for a file that cannot be removed.
    pub fn rewind(&self, state: &RecorderState) -> Result<()> {
        match self {
            Self::Parquet(recorder) => recorder.rewind(state),
            Self::Minari(recorder) => recorder.rewind(state),
        }
    }
}

impl ExperienceRecorder for Recorder {
    fn record(&self, runner: usize, experience: &Experience) -> CallbackResult {
        match self {
            Self::Parquet(recorder) => recorder.record(runner, experience),
            Self::Minari(recorder) => recorder.record(runner, experience),
        }
    }
}
