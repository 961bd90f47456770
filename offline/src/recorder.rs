//! Recording in any of the formats.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rekindle_core::lock::try_lock;
use rekindle_core::{Generator, ModuleId};
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
/// A restored recorder changes nothing before the first step is recorded, and does not create the directory: a run that is
/// only evaluated or exported leaves its recordings as they are. It goes on only in the directory of its own recording.
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
    /// The directory goes back to a state of the recording with this id. Those of earlier versions have none.
    Restored(RecorderState, Option<String>),
    /// It happened. The file keeps other recorders out of the directory; the operating system unlocks it at the end of
    /// the process.
    Done { _lock: File, id: String },
}

/// The file that a recorder locks in its directory. It has the id of the recording.
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

    /// Creates the directory if it is missing, checks that it has no recordings, and keeps other recorders out: for a new
    /// run, so that it fails at once where it cannot record.
    ///
    /// # Errors
    /// [`OfflineError::Write`] if the directory cannot be created; [`OfflineError::Exists`] if there are recordings;
    /// [`OfflineError::InUse`] if another run records into it.
    pub fn create(&self) -> Result<()> {
        *self.begin() = self.begin_new()?;
        Ok(())
    }

    fn begin_new(&self) -> Result<Begin> {
        self.create_folder()?;
        let mut lock = self.lock()?;
        self.check_empty()?;
        let id = format!("{:016x}", Generator::from_entropy().next_u64());
        let written = lock.set_len(0).and_then(|()| lock.write_all(id.as_bytes()));
        written.map_err(|source| OfflineError::Write { path: self.folder.join(LOCK), source })?;
        Ok(Begin::Done { _lock: lock, id })
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
            (Begin::New | Begin::Restored(..), _) => Ok(()),
            (Begin::Done { .. }, Writer::Parquet(recorder)) => recorder.flush(),
            (Begin::Done { .. }, Writer::Minari(recorder)) => recorder.flush(),
        }
    }

    /// Returns what was recorded so far, for checkpoints. Flush first.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        match (&*self.begin(), &self.writer) {
            (Begin::Restored(state, _), _) => state.clone(),
            (_, Writer::Parquet(recorder)) => recorder.state(),
            (_, Writer::Minari(recorder)) => recorder.state(),
        }
    }

    /// Returns the id of the recording, for checkpoints; `None` before it begins.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match &*self.begin() {
            Begin::New => None,
            Begin::Restored(_, id) => id.clone(),
            Begin::Done { id, .. } => Some(id.clone()),
        }
    }

    /// Goes on from a state of the recording with this id. What is newer in the directory is removed when the next step
    /// is recorded. That fails if the directory does not have the recording.
    pub fn restore(&self, state: RecorderState, id: Option<String>) {
        *self.begin() = Begin::Restored(state, id);
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
        *begin = match &*begin {
            Begin::Restored(state, id) if self.is_own(state, id.as_deref())? => {
                self.create_folder()?;
                let lock = self.lock()?;
                match &self.writer {
                    Writer::Parquet(recorder) => recorder.rewind(state)?,
                    Writer::Minari(recorder) => recorder.rewind(state)?,
                }
                Begin::Done { _lock: lock, id: id.clone().unwrap_or_default() }
            }
            _ => self.begin_new()?,
        };
        Ok(())
    }

    /// Whether the directory has the recording with this id. If it does not, a recording without steps begins anew.
    ///
    /// # Errors
    /// [`OfflineError::OtherRecording`] if the recording has steps, which the directory lacks.
    fn is_own(&self, state: &RecorderState, id: Option<&str>) -> Result<bool> {
        let found = fs::read_to_string(self.folder.join(LOCK)).ok();
        match id.is_none_or(|id| found.as_deref() == Some(id)) {
            true => Ok(true),
            false if state.is_empty() => Ok(false),
            false => {
                let path = path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
                Err(OfflineError::OtherRecording { path })
            }
        }
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
