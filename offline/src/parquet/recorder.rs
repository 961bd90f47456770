//! Recording what runners collect.

use std::collections::BTreeMap;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::Space;
use rekindle_env_runner::{CallbackResult, Experience, ExperienceRecorder, Rollout};
use serde::{Deserialize, Serialize};

use super::read::EXTENSION;
use super::write::write_file;
use crate::episodes::{Assembler, bytes_of};
use crate::error::{OfflineError, Result};

/// Writes the episodes of all runners as Parquet files `<folder>/<module>/<runner>-<number>.parquet`, each with all
/// recorded columns.
///
/// Episodes are kept in memory until they fill a file, which then appears at once, complete. A crash loses at most the
/// file that would have been written next. Call [`flush`](Self::flush) at the end, and before a checkpoint.
#[derive(Debug)]
pub struct ParquetRecorder {
    folder: PathBuf,
    max_file_size: usize,
    spaces: RwLock<BTreeMap<ModuleId, (Space, Space)>>,
    runners: Mutex<BTreeMap<usize, Recording>>,
}

/// The episodes of one runner that are not written yet.
#[derive(Debug, Default)]
struct Recording {
    assembler: Assembler,
    pending: BTreeMap<ModuleId, Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    episodes: Vec<Rollout>,
    bytes: usize,
    /// The number of the next file.
    next: u64,
}

/// What was written, for checkpoints: for each runner and module the number of the next file. Episodes of a Minari
/// dataset are those of a single runner and the default module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecorderState(BTreeMap<usize, BTreeMap<ModuleId, u64>>);

impl RecorderState {
    /// Whether nothing was recorded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(|modules| modules.values().all(|next| *next == 0))
    }

    pub(crate) fn of_episodes(next: u64) -> Self {
        let of_module = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), next)]);
        Self(BTreeMap::from([(0, of_module)]))
    }

    pub(crate) fn episodes(&self) -> u64 {
        let next = self.0.get(&0).and_then(|modules| modules.get(DEFAULT_MODULE_ID));
        next.copied().unwrap_or(0)
    }
}

impl ParquetRecorder {
    /// Bytes of a file, about, from which the next one begins.
    pub const DEFAULT_FILE_SIZE: usize = 16 << 20;

    /// Creates a recorder of modules with the given spaces. The directory is created if it is missing, and must have
    /// no recordings.
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if there are recordings; [`OfflineError::Write`] if the directory cannot be created.
    pub fn create(
        folder: impl AsRef<Path>,
        spaces: BTreeMap<ModuleId, (Space, Space)>,
    ) -> Result<Self> {
        let recorder = Self::resume(folder, spaces)?;
        recorder.check_empty()?;
        Ok(recorder)
    }

    /// Checks that the directory has no recordings.
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if there are recordings.
    pub fn check_empty(&self) -> Result<()> {
        match self.files()?.is_empty() {
            true => Ok(()),
            false => Err(OfflineError::Exists { path: self.folder.clone() }),
        }
    }

    /// Creates a recorder that goes on in a directory, for a run that was restored: [`rewind`](Self::rewind) then
    /// removes what was recorded since the checkpoint.
    ///
    /// # Errors
    /// [`OfflineError::Write`] if the directory cannot be created.
    pub fn resume(
        folder: impl AsRef<Path>,
        spaces: BTreeMap<ModuleId, (Space, Space)>,
    ) -> Result<Self> {
        let recorder = Self::in_folder(folder.as_ref(), spaces);
        recorder.create_folder()?;
        Ok(recorder)
    }

    /// Creates a recorder without creating its directory.
    pub(crate) fn in_folder(folder: &Path, spaces: BTreeMap<ModuleId, (Space, Space)>) -> Self {
        Self {
            folder: folder.to_owned(),
            max_file_size: Self::DEFAULT_FILE_SIZE,
            spaces: RwLock::new(spaces),
            runners: Mutex::default(),
        }
    }

    pub(crate) fn create_folder(&self) -> Result<()> {
        let created = fs::create_dir_all(&self.folder);
        created.map_err(|source| OfflineError::Write { path: self.folder.clone(), source })
    }

    /// Sets the number of bytes, about, of a file; RLlib's `output_max_file_size`.
    #[must_use]
    pub fn max_file_size(mut self, bytes: usize) -> Self {
        self.max_file_size = bytes.max(1);
        self
    }

    /// Sets the spaces of the modules, which episodes that are recorded from now on have.
    pub fn set_spaces(&self, spaces: BTreeMap<ModuleId, (Space, Space)>) {
        *self.spaces.write().unwrap_or_else(PoisonError::into_inner) = spaces;
    }

    /// Writes everything that is in memory. Episodes that go on are written as parts, which bootstrap from their last
    /// observation; their continuations are parts of their own.
    ///
    /// # Errors
    /// [`OfflineError::Write`] for a file that cannot be written.
    pub fn flush(&self) -> Result<()> {
        for (runner, recording) in self.lock().iter_mut() {
            for (id, part) in recording.assembler.flush() {
                recording.pending.entry(id).or_default().push(part);
            }
            for (id, pending) in &mut recording.pending {
                self.write(*runner, id, pending)?;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the files so far. Flush first.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        let of_runner = |recording: &Recording| {
            recording.pending.iter().map(|(id, pending)| (id.clone(), pending.next)).collect()
        };
        let runners = self.lock();
        RecorderState(runners.iter().map(|(runner, of)| (*runner, of_runner(of))).collect())
    }

    /// Removes the files that are newer than a state, and goes on from there.
    ///
    /// # Errors
    /// [`OfflineError::File`] for a file that cannot be removed.
    pub fn rewind(&self, state: &RecorderState) -> Result<()> {
        let mut runners = self.lock();
        runners.clear();
        for (runner, modules) in &state.0 {
            let recording = runners.entry(*runner).or_default();
            for (id, next) in modules {
                recording.pending.entry(id.clone()).or_default().next = *next;
            }
        }
        let mut found = BTreeMap::<_, u64>::new();
        for (path, id, runner, number) in self.files()? {
            let next = state.0.get(&runner).and_then(|modules| modules.get(&id));
            if number >= next.copied().unwrap_or(0) {
                fs::remove_file(&path).map_err(|error| OfflineError::from(error).in_file(&path))?;
            } else {
                *found.entry((runner, id)).or_default() += 1;
            }
        }
        for (runner, modules) in &state.0 {
            for (id, next) in modules {
                let found = found.get(&(*runner, id.clone())).copied().unwrap_or(0);
                if found < *next {
                    let (path, missing) = (self.folder.join(id), next - found);
                    return Err(OfflineError::Incomplete { path, missing });
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Recording>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, runner: usize, id: &str, number: u64) -> PathBuf {
        self.folder.join(id).join(format!("{runner:04}-{number:06}.{EXTENSION}"))
    }

    /// Returns the files in the directory, with module, runner and number. A directory that is missing has none.
    fn files(&self) -> Result<Vec<(PathBuf, ModuleId, usize, u64)>> {
        let mut files = Vec::new();
        let in_folder = |error: std::io::Error| OfflineError::from(error).in_file(&self.folder);
        if !self.folder.exists() {
            return Ok(files);
        }
        for module in fs::read_dir(&self.folder).map_err(in_folder)? {
            let module = module.map_err(in_folder)?;
            let id = module.file_name().to_string_lossy().into_owned();
            let Ok(entries) = fs::read_dir(module.path()) else { continue };
            for entry in entries {
                let path = entry.map_err(in_folder)?.path();
                if path.extension().is_none_or(|extension| extension != EXTENSION) {
                    continue;
                }
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let Some((runner, number)) = stem.split_once('-') else { continue };
                let (Ok(runner), Ok(number)) = (runner.parse(), number.parse()) else { continue };
                files.push((path.clone(), id.clone(), runner, number));
            }
        }
        Ok(files)
    }

    fn write(&self, runner: usize, id: &str, pending: &mut Pending) -> Result<()> {
        let all = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let Some(spaces) = all.get(id) else {
            let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(OfflineError::UnknownModule { id: id.into(), known });
        };
        let episodes = mem::take(&mut pending.episodes);
        let bytes = mem::take(&mut pending.bytes);
        let folder = self.folder.join(id);
        if !episodes.is_empty() {
            fs::create_dir_all(&folder)
                .map_err(|source| OfflineError::Write { path: folder.clone(), source })?;
        }
        // Episodes in one file have equal columns.
        let mut rest = episodes.as_slice();
        while let Some(first) = rest.first() {
            let equal = rest.iter().take_while(|episode| {
                episode.extras.keys().eq(first.extras.keys())
                    && episode.states.is_some() == first.states.is_some()
            });
            let (file, others) = rest.split_at(equal.count());
            if let Err(error) = write_file(&self.file(runner, id, pending.next), id, spaces, file) {
                // They stay for the next attempt.
                (pending.episodes, pending.bytes) = (rest.to_vec(), bytes);
                return Err(error);
            }
            pending.next += 1;
            rest = others;
        }
        Ok(())
    }

    fn add(&self, runner: usize, experience: &Experience) -> Result<()> {
        let mut runners = self.lock();
        let recording = runners.entry(runner).or_default();
        for (id, rollouts) in &experience.rollouts {
            for rollout in rollouts {
                let done = recording.assembler.add(id, rollout)?;
                let pending = recording.pending.entry(id.clone()).or_default();
                for episode in done {
                    pending.push(episode);
                    if pending.bytes >= self.max_file_size {
                        self.write(runner, id, pending)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Pending {
    fn push(&mut self, episode: Rollout) {
        self.bytes += bytes_of(&episode);
        self.episodes.push(episode);
    }
}

impl ExperienceRecorder for ParquetRecorder {
    fn record(&self, runner: usize, experience: &Experience) -> CallbackResult {
        Ok(self.add(runner, experience)?)
    }
}

impl Drop for ParquetRecorder {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the last recorded episodes are lost");
        }
    }
}
