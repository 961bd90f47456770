//! Recording what runners collect as a dataset.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::columns::{EpisodeColumns, Part};
use super::metadata::{self, OwnColumns, read_json, total_steps};
use super::parquet::Episode;
use super::units::without_density_where_clipped;
use super::write::{EPISODE_FILE, dataset_id, sync_episode, write_episode, write_metadata};
use crate::data::OfflineData;
use crate::decode::guarded;
use crate::episodes::{Assembler, bytes_of, episode_of};
use crate::error::{OfflineError, Result};
use crate::parquet::{ParquetRecorder, RecorderState};
use crate::source::OfflineSource;
use rekindle_core::{DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{Buffer, Parts, Space};
use rekindle_env_runner::connectors::{Connector, ConnectorContext, NormalizeAndClipActions};
use rekindle_env_runner::{CallbackResult, Experience, ExperienceRecorder, Rollout};

/// Writes the episodes of all runners as a dataset of [Minari](https://minari.farama.org): in Parquet files
/// `<folder>/data/<episode>/part-0.parquet`. `minari.load_dataset` finds it below the directory in
/// `MINARI_DATASETS_PATH`.
///
/// Observations are those that the module sees, and actions those of the environment: scaled to its bounds and clipped
/// as the connectors of the runners do. Infos and other recorded columns, such as `action_logp`, are infos of the
/// dataset. Minari needs the same infos in all episodes. They are those of the first one: missing ones are NaN, and
/// others are left out with a warning. The log-probability of an action that was clipped is NaN, because the dataset has the
/// clipped action. An episode that was cut off is truncated there.
///
/// Episodes are kept in memory until there are enough to write. The metadata of the dataset name the episodes that are
/// complete, so that a crash loses at most those that would have been written next. Call [`flush`](Self::flush) at the
/// end, and before a checkpoint.
#[derive(Debug)]
pub struct MinariRecorder {
    folder: PathBuf,
    max_file_size: usize,
    normalize_actions: bool,
    clip_actions: bool,
    recording: Mutex<Recording>,
}

/// Episodes that are not written yet, and the number of those that are.
#[derive(Debug, Default)]
struct Recording {
    spaces: Option<(Space, Space)>,
    assemblers: BTreeMap<usize, Assembler>,
    pending: Vec<Rollout>,
    bytes: usize,
    episodes: usize,
    /// Episodes whose files are on the disk.
    synced: usize,
    steps: u64,
    /// Columns of the recording among the infos, with the shapes of their rows.
    own: OwnColumns,
    /// Names and layouts of the infos of the first episode: buffers without rows.
    infos: Option<Vec<(String, Buffer)>>,
    has_warned: bool,
}

impl MinariRecorder {
    /// Creates a recorder of the default module with its spaces of observations and actions. The directory is created
    /// if it is missing, and must have no dataset.
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if there is a dataset; [`OfflineError::Write`] if the directory cannot be created.
    pub fn create(folder: impl AsRef<Path>, spaces: (Space, Space)) -> Result<Self> {
        let recorder = Self::resume(folder)?;
        recorder.check_empty()?;
        recorder.lock().spaces = Some(spaces);
        Ok(recorder)
    }

    /// Creates a recorder that goes on in a directory, for a run that was restored: [`rewind`](Self::rewind) then
    /// removes what was recorded since the checkpoint. Set the spaces before anything is recorded.
    ///
    /// # Errors
    /// [`OfflineError::Write`] if the directory cannot be created.
    pub fn resume(folder: impl AsRef<Path>) -> Result<Self> {
        let recorder = Self::in_folder(folder.as_ref());
        recorder.create_folder()?;
        Ok(recorder)
    }

    /// Creates a recorder without creating its directory.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            max_file_size: ParquetRecorder::DEFAULT_FILE_SIZE,
            normalize_actions: true,
            clip_actions: false,
            recording: Mutex::default(),
        }
    }

    pub(crate) fn create_folder(&self) -> Result<()> {
        let data = self.data();
        let created = fs::create_dir_all(&data);
        created.map_err(|source| OfflineError::Write { path: data, source })
    }

    /// Sets the number of bytes, about, of the episodes that are written together.
    #[must_use]
    pub fn max_file_size(mut self, bytes: usize) -> Self {
        self.max_file_size = bytes.max(1);
        self
    }

    /// Sets whether actions of bounded Boxes are in [−1, 1] where they are recorded, and those of the environment in
    /// the dataset. It is the setting `normalize_actions` of the algorithm, which defaults to `true`.
    #[must_use]
    pub fn normalize_actions(mut self, normalize_actions: bool) -> Self {
        self.normalize_actions = normalize_actions;
        self
    }

    /// Sets whether actions are clipped to the bounds of Boxes without being scaled: the setting `clip_actions` of the
    /// algorithm, which defaults to `false`.
    #[must_use]
    pub fn clip_actions(mut self, clip_actions: bool) -> Self {
        self.clip_actions = clip_actions;
        self
    }

    /// Sets the spaces of the modules.
    ///
    /// # Errors
    /// [`OfflineError::SeveralModules`] if there is another module than the default one.
    pub fn set_spaces(&self, mut spaces: BTreeMap<ModuleId, (Space, Space)>) -> Result<()> {
        let of_default = spaces.remove(DEFAULT_MODULE_ID);
        match (of_default, spaces.into_keys().next()) {
            (_, Some(module)) => Err(OfflineError::SeveralModules { module }),
            (of_default, None) => {
                self.lock().spaces = of_default;
                Ok(())
            }
        }
    }

    /// Checks that the directory has no dataset.
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if there is one.
    pub fn check_empty(&self) -> Result<()> {
        match self.data().join(metadata::FILE).exists() || !self.numbers()?.is_empty() {
            true => Err(OfflineError::Exists { path: self.folder.clone() }),
            false => Ok(()),
        }
    }

    /// Appends the segments of a rollout of the default module, each as an episode.
    ///
    /// # Errors
    /// [`OfflineError::Write`] for a file that cannot be written.
    pub fn push(&self, rollout: &Rollout) -> Result<()> {
        let mut recording = self.lock();
        for index in (0..rollout.segments.len()).filter(|index| rollout.segments[*index].len > 0) {
            let episode = episode_of(rollout, index)?;
            self.add(&mut recording, episode)?;
        }
        Ok(())
    }

    /// Writes everything that is in memory. Episodes that go on are written as truncated ones; their continuations are
    /// episodes of their own.
    ///
    /// # Errors
    /// [`OfflineError::Write`] for a file that cannot be written.
    pub fn flush(&self) -> Result<()> {
        let mut recording = self.lock();
        let open = recording.assemblers.values_mut().flat_map(Assembler::flush);
        let open: Vec<_> = open.map(|(_, part)| part).collect();
        recording.pending.extend(open);
        self.write(&mut recording)
    }

    /// Returns the number of episodes so far. Flush first.
    #[must_use]
    pub fn state(&self) -> RecorderState {
        RecorderState::of_episodes(self.lock().episodes as u64)
    }

    /// Removes the episodes that are newer than a state, and goes on from there.
    ///
    /// # Errors
    /// [`OfflineError::File`] for a file that cannot be read or removed, or that claims more steps than can be counted.
    pub fn rewind(&self, state: &RecorderState) -> Result<()> {
        let mut recording = self.lock();
        let spaces = recording.spaces.take();
        *recording = Recording { spaces, ..Recording::default() };
        recording.episodes = usize::try_from(state.episodes()).unwrap_or(usize::MAX);
        recording.synced = recording.episodes;
        let data = self.data();
        let of_dataset = data.join(metadata::FILE);
        if of_dataset.exists() {
            let about = read_json(&of_dataset).map_err(|error| error.in_file(&of_dataset))?;
            recording.own = metadata::own_columns(&about);
        }
        let mut found = 0;
        for number in self.numbers()? {
            let folder = data.join(number.to_string());
            if number >= recording.episodes {
                let removed = fs::remove_dir_all(&folder);
                removed.map_err(|error| OfflineError::from(error).in_file(&folder))?;
                continue;
            }
            found += 1;
            let path = folder.join(metadata::FILE);
            let steps = read_json(&path)
                .and_then(|about| total_steps(&about))
                .and_then(|steps| metadata::sum(recording.steps, steps));
            recording.steps = steps.map_err(|error| error.in_file(&path))?;
        }
        if found < recording.episodes {
            let missing = (recording.episodes - found) as u64;
            return Err(OfflineError::Incomplete { path: self.folder.clone(), missing });
        }
        if found > 0 {
            recording.infos = Some(layouts_of_infos(&data, &recording.own)?);
        }
        self.write_metadata(&mut recording)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the numbers of the episodes in the directory. A directory that is missing has none.
    fn numbers(&self) -> Result<Vec<usize>> {
        let data = self.data();
        if !data.exists() {
            return Ok(Vec::new());
        }
        let in_folder = |error: std::io::Error| OfflineError::from(error).in_file(&data);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&data).map_err(in_folder)? {
            let name = entry.map_err(in_folder)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<usize>().ok()));
        }
        Ok(numbers)
    }

    fn add(&self, recording: &mut Recording, episode: Rollout) -> Result<()> {
        recording.bytes += bytes_of(&episode);
        recording.pending.push(episode);
        match recording.bytes >= self.max_file_size {
            true => self.write(recording),
            false => Ok(()),
        }
    }

    /// Writes the episodes in memory, and then what the dataset holds.
    fn write(&self, recording: &mut Recording) -> Result<()> {
        if recording.pending.is_empty() && recording.synced == recording.episodes {
            return Ok(());
        }
        let Some(spaces) = recording.spaces.clone() else {
            let (id, known) = (DEFAULT_MODULE_ID.to_owned(), "no module".to_owned());
            return Err(OfflineError::UnknownModule { id, known });
        };
        let data = self.data();
        let mut units =
            NormalizeAndClipActions::new(&spaces.1, self.normalize_actions, self.clip_actions);
        let pending = std::mem::take(&mut recording.pending);
        let mut write = |recording: &mut Recording, episode: &Rollout| {
            let mut actions = Buffer::zeros(&spaces.1, episode.rewards.len());
            units
                .transform(&episode.actions, &mut actions, ConnectorContext::rows(true))
                .map_err(|error| OfflineError::Damaged { reason: error.to_string() })?;
            let episode = without_density_where_clipped(&units, episode, &actions)?;
            let infos = recording.infos(&episode)?;
            write_episode(&data, recording.episodes, &spaces, &episode, actions, &infos)
        };
        for (index, episode) in pending.iter().enumerate() {
            if let Err(error) = write(recording, episode) {
                // The rest stays for the next attempt.
                recording.pending = pending[index..].to_vec();
                return Err(error);
            }
            recording.episodes += 1;
            recording.steps += episode.rewards.len() as u64;
        }
        recording.bytes = 0;
        self.write_metadata(recording)
    }

    /// Waits until the episodes are on the disk, and then writes what the dataset holds.
    fn write_metadata(&self, recording: &mut Recording) -> Result<()> {
        let (data, id) = (self.data(), dataset_id(&self.folder));
        let mut not_synced = recording.synced..recording.episodes;
        not_synced.try_for_each(|episode| sync_episode(&data, episode))?;
        recording.synced = recording.episodes;
        let Some(spaces) = &recording.spaces else { return Ok(()) };
        let counts = (recording.episodes, recording.steps);
        write_metadata(&data, spaces, &id, counts, &recording.own)
    }
}

/// Returns the names and layouts of the infos of the first episode of a dataset.
fn layouts_of_infos(data: &Path, own: &OwnColumns) -> Result<Vec<(String, Buffer)>> {
    let path = data.join("0").join(EPISODE_FILE);
    guarded(&path, || {
        let file = Episode::open(&[&path])?;
        let layout = |name: String| {
            let column = file.column(&[Part::key("infos"), Part::key(&name)])?;
            let shape = own.get(&name).unwrap_or(&column.shape).clone();
            Ok((name, column.numbers.into_buffer(&shape)?.slice(0..0)?))
        };
        file.infos()?.into_iter().map(layout).collect()
    })
}

impl Recording {
    /// Returns the infos of an episode with a row for each observation. The first one follows a reset, which reports
    /// nothing.
    fn infos(&mut self, episode: &Rollout) -> Result<Vec<(String, Buffer)>> {
        let mut found: BTreeMap<&str, &Buffer> = BTreeMap::new();
        if let Some(infos) = &episode.infos {
            found.extend(infos.as_dict()?.iter().map(|(name, column)| (name.as_str(), column)));
        }
        // Columns of several parts have no place among infos.
        let extras = episode.extras.iter().filter(|(_, column)| column.shape().is_ok());
        found.extend(extras.map(|(name, column)| (name.as_str(), column)));
        let layouts = match &self.infos {
            Some(layouts) => layouts,
            None => {
                let layouts = found
                    .iter()
                    .map(|(name, column)| Ok(((*name).to_owned(), column.slice(0..0)?)));
                let layouts = layouts.collect::<Result<Vec<_>>>()?;
                for (name, column) in &layouts {
                    if episode.extras.contains_key(name) {
                        self.own.insert(name.clone(), column.shape()?.to_vec());
                    }
                }
                &*self.infos.insert(layouts)
            }
        };
        let other = found.keys().find(|name| !layouts.iter().any(|(known, _)| known == *name));
        if let Some(name) = other
            && !self.has_warned
        {
            tracing::warn!(
                info = name,
                "left out of the dataset, because Minari needs the same infos in all episodes; record Parquet files to keep it"
            );
            self.has_warned = true;
        }
        let rows = episode.rewards.len();
        let column = |(name, layout): &(String, Buffer)| {
            let mut column = layout.clone();
            let found = found.get(name.as_str());
            let missing = if found.is_some() { 1 } else { rows + 1 };
            column.extend_zeros(missing);
            if let Parts::Float(mut numbers, shape) = column.clone().into_parts() {
                numbers.fill(f32::NAN);
                column = Buffer::from_f32(numbers, &shape)?;
            }
            if let Some(found) = found {
                column.extend_from(found, 0..rows)?;
            }
            Ok((name.clone(), column))
        };
        layouts.iter().map(column).collect()
    }
}

impl OfflineData {
    /// Writes the episodes as a dataset of Minari, as [`MinariRecorder`] does. Actions of bounded Boxes are those of
    /// the environment in the files, scaled from [−1, 1].
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if there is a dataset; [`OfflineError::SeveralModules`]; [`OfflineError::Write`] if a file
    /// cannot be written.
    pub fn save_minari(&self, folder: impl AsRef<Path>) -> Result<()> {
        let recorder = MinariRecorder::resume(folder)?;
        recorder.check_empty()?;
        recorder.set_spaces(self.module_spaces().clone())?;
        self.episodes().try_for_each(|(_, rollout)| recorder.push(rollout))?;
        recorder.flush()
    }
}

impl ExperienceRecorder for MinariRecorder {
    fn record(&self, runner: usize, experience: &Experience) -> CallbackResult {
        let mut recording = self.lock();
        for (id, rollouts) in &experience.rollouts {
            for rollout in rollouts {
                let done = recording.assemblers.entry(runner).or_default().add(id, rollout)?;
                done.into_iter().try_for_each(|episode| self.add(&mut recording, episode))?;
            }
        }
        Ok(())
    }
}

impl Drop for MinariRecorder {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the last recorded episodes are lost");
        }
    }
}
