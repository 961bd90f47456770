//! Recording in any of the formats.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rekindle_core::ModuleId;
use rekindle_core::lock::try_lock;
use rekindle_env::Space;
use rekindle_env_runner::{CallbackResult, Experience, ExperienceRecorder};
use serde::{Deserialize, Serialize};

use crate::error::{OfflineError, Result};
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
///
/// Nothing in the directory changes before the first step is recorded, and the directory is not created: a restored run
/// that is only evaluated or exported leaves its recordings as they are.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    folder: PathBuf,
    begin: Mutex<Begin>,
}

#[derive(Debug)]
enum Writer {
    Parquet(ParquetRecorder),
    Minari(Box<MinariRecorder>),
}

/// What happens before the first step is recorded.
#[derive(Debug)]
enum Begin {
    /// The directory must be empty.
    New,
    /// The directory goes back to a state.
    Restored(RecorderState),
    /// It happened. The file keeps other recorders out of the directory; the operating system unlocks it at the end of
    /// the process.
    Done { _lock: File },
}

/// The file that a recorder locks in its directory.
const LOCK: &str = ".recording.lock";

impl Recorder {
    /// Creates a recorder for a directory, which must have no recordings when the first step is recorded, unless the
    /// recorder is [restored](Self::restore).
    #[must_use]
    pub fn new(folder: impl AsRef<Path>, format: OutputFormat) -> Self {
        let folder = folder.as_ref().to_owned();
        let writer = match format {
            OutputFormat::Parquet => {
                Writer::Parquet(ParquetRecorder::in_folder(&folder, BTreeMap::new()))
            }
            OutputFormat::Minari => Writer::Minari(Box::new(MinariRecorder::in_folder(&folder))),
        };
        Self { writer, folder, begin: Mutex::new(Begin::New) }
    }

    /// Creates the directory if it is missing, and checks that it has no recordings: for a new run, so that it fails at
    /// once where it cannot record.
    ///
    /// # Errors
    /// [`OfflineError::Write`] if the directory cannot be created; [`OfflineError::Exists`] if there are recordings.
    pub fn create(&self) -> Result<()> {
        self.create_folder()?;
        self.check_empty()
    }

    fn create_folder(&self) -> Result<()> {
        match &self.writer {
            Writer::Parquet(recorder) => recorder.create_folder(),
            Writer::Minari(recorder) => recorder.create_folder(),
        }
    }

    /// Sets the number of bytes, about, that are written together.
    #[must_use]
    pub fn max_file_size(self, bytes: usize) -> Self {
        let writer = match self.writer {
            Writer::Parquet(recorder) => Writer::Parquet(recorder.max_file_size(bytes)),
            Writer::Minari(recorder) => Writer::Minari(Box::new(recorder.max_file_size(bytes))),
        };
        Self { writer, ..self }
    }

    /// Sets how actions of modules become those of the environment, which Minari's datasets hold: the settings
    /// `normalize_actions` and `clip_actions` of the algorithm.
    #[must_use]
    pub fn actions(self, normalize: bool, clip: bool) -> Self {
        let writer = match self.writer {
            Writer::Minari(recorder) => {
                Writer::Minari(Box::new(recorder.normalize_actions(normalize).clip_actions(clip)))
            }
            parquet @ Writer::Parquet(_) => parquet,
        };
        Self { writer, ..self }
    }

    /// Sets the spaces of the modules, which episodes that are recorded from now on have.
    ///
    /// # Errors
    /// [`OfflineError::SeveralModules`](OfflineError::SeveralModules) in a dataset of Minari.
    pub fn set_spaces(&self, spaces: BTreeMap<ModuleId, (Space, Space)>) -> Result<()> {
        match &self.writer {
            Writer::Parquet(recorder) => {
                recorder.set_spaces(spaces);
                Ok(())
            }
            Writer::Minari(recorder) => recorder.set_spaces(spaces),
        }
    }

    /// Checks that the directory has no recordings.
    ///
    /// # Errors
    /// [`OfflineError::Exists`](OfflineError::Exists) if there are some.
    pub fn check_empty(&self) -> Result<()> {
        match &self.writer {
            Writer::Parquet(recorder) => recorder.check_empty(),
            Writer::Minari(recorder) => recorder.check_empty(),
        }
    }

    /// Writes everything that is in memory.
    ///
    /// # Errors
    /// [`OfflineError::Write`] for a file that cannot be written.
    pub fn flush(&self) -> Result<()> {
        match (&*self.begin(), &self.writer) {
            (Begin::New | Begin::Restored(_), _) => Ok(()),
            (Begin::Done { .. }, Writer::Parquet(recorder)) => recorder.flush(),
            (Begin::Done { .. }, Writer::Minari(recorder)) => recorder.flush(),
        }
    }

    /// Returns what was recorded so far, for checkpoints. Flush first.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        match (&*self.begin(), &self.writer) {
            (Begin::Restored(state), _) => state.clone(),
            (_, Writer::Parquet(recorder)) => recorder.state(),
            (_, Writer::Minari(recorder)) => recorder.state(),
        }
    }

    /// Goes on from a state. What is newer in the directory is removed when the next step is recorded.
    pub fn restore(&self, state: RecorderState) {
        *self.begin() = Begin::Restored(state);
    }

    fn begin(&self) -> MutexGuard<'_, Begin> {
        self.begin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares the directory before the first step.
    fn prepare(&self) -> Result<()> {
        let mut begin = self.begin();
        if matches!(*begin, Begin::Done { .. }) {
            return Ok(());
        }
        self.create_folder()?;
        let lock = self.lock()?;
        match (&*begin, &self.writer) {
            (Begin::Restored(state), Writer::Parquet(recorder)) => recorder.rewind(state)?,
            (Begin::Restored(state), Writer::Minari(recorder)) => recorder.rewind(state)?,
            _ => self.check_empty()?,
        }
        *begin = Begin::Done { _lock: lock };
        Ok(())
    }

    /// Keeps other recorders out of the directory.
    fn lock(&self) -> Result<File> {
        let path = self.folder.join(LOCK);
        let failed = |source: io::Error| OfflineError::Write { path: path.clone(), source };
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match try_lock(&file, &path).map_err(failed)? {
            true => Ok(file),
            false => Err(OfflineError::InUse { path: self.folder.clone() }),
        }
    }
}

impl ExperienceRecorder for Recorder {
    fn record(&self, runner: usize, experience: &Experience) -> CallbackResult {
        self.prepare()?;
        match &self.writer {
            Writer::Parquet(recorder) => recorder.record(runner, experience),
            Writer::Minari(recorder) => recorder.record(runner, experience),
        }
    }
}
