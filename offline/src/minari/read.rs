//! Reading datasets: each episode is a part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rekindle_core::{Columns, DEFAULT_MODULE_ID, ModuleId};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::connectors::{Connector, NormalizeAndClipActions};
use rekindle_env_runner::{Rollout, Segment, SegmentEnd};

use super::columns::{Column, EpisodeColumns, Part, damaged, read};
use super::find::{find, hint};
use super::hdf5::Hdf5;
use super::metadata::{self, Format, Metadata, OwnColumns, read_json, total_steps};
use super::space::Node;
use super::{arrow, parquet};
use crate::check::check_rollout;
use crate::decode::guarded;
use crate::error::{OfflineError, Result};
use crate::fingerprint::Fingerprint;
use crate::source::{OfflineSource, Recorded};

/// Datasets of [Minari](https://minari.farama.org) in HDF5, Arrow or Parquet files. Each episode is a part, read when
/// it is needed.
///
/// Actions of bounded Boxes are those of the environment in the files. They are scaled to [−1, 1], the units of modules,
/// unless [`normalize_actions`](Self::normalize_actions) says otherwise.
///
/// Infos that are single numbers are read. Columns that were recorded here, such as `action_logp` and
/// `action_dist_inputs`, become columns of the recording again, of any shape. Other infos, seeds and options are not
/// read; a warning names the infos.
#[derive(Debug, Clone)]
pub struct MinariData {
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    datasets: Vec<Arc<Dataset>>,
    /// The dataset and the episode of each part.
    parts: Vec<(usize, usize)>,
    normalize_actions: bool,
    fingerprint: String,
}

/// A dataset whose metadata were read.
#[derive(Debug)]
struct Dataset {
    folder: PathBuf,
    observations: Node,
    actions: Node,
    files: Files,
    /// Columns of a recording among the infos, with the shapes of their rows.
    own: OwnColumns,
    /// Steps of each episode.
    steps: Vec<usize>,
    /// Whether a warning has named the infos that are left out.
    has_warned: AtomicBool,
}

#[derive(Debug)]
enum Files {
    Hdf5(Hdf5),
    Arrow,
    Parquet,
}

impl MinariData {
    /// Opens a dataset: the directory of its id, the directory `data` in it, or its file `main_data.hdf5`. The first
    /// episode is read, so that data that cannot be learned from are an error here.
    ///
    /// # Errors
    /// [`OfflineError::NoDataset`]; [`OfflineError::HoldsDatasets`] and [`OfflineError::InDataset`] for the directory
    /// above a dataset and for an episode of one; [`OfflineError::NoEpisodes`]; [`OfflineError::File`] for a file that is
    /// damaged or holds something else;
    /// [`OfflineError::UnsupportedSpace`] and [`OfflineError::Jpeg`] in such an error for what is not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_all([path])
    }

    /// Opens several datasets with equal spaces, as [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`OfflineError::OtherSpaces`].
    pub fn open_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let (mut spaces, mut datasets, mut parts) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut fingerprint = Fingerprint::default();
        for path in paths {
            let path = path.as_ref();
            let missing = || match path.exists() {
                true => OfflineError::NoDataset { path: path.to_owned() },
                false => OfflineError::Missing { path: path.to_owned() },
            };
            let folder = find(path).ok_or_else(|| hint(path).unwrap_or_else(missing))?;
            let metadata = Metadata::read(&folder)?;
            if metadata.episodes == 0 {
                return Err(OfflineError::NoEpisodes { path: path.to_owned() });
            }
            let of_dataset = (metadata.observations.space.clone(), metadata.actions.space.clone());
            let module = DEFAULT_MODULE_ID.to_owned();
            let first = spaces.entry(module.clone()).or_insert_with(|| of_dataset.clone());
            if *first != of_dataset {
                return Err(OfflineError::OtherSpaces { path: folder, module });
            }
            fingerprint.add(metadata.id.as_bytes());
            let dataset = Dataset::open(folder, metadata)?;
            for path in dataset.paths()? {
                let added = fingerprint.add_file(&path);
                added.map_err(|error| OfflineError::from(error).in_file(&path))?;
            }
            parts.extend((0..dataset.steps.len()).map(|episode| (datasets.len(), episode)));
            datasets.push(Arc::new(dataset));
        }
        let fingerprint = fingerprint.text();
        let data = Self { spaces, datasets, parts, normalize_actions: true, fingerprint };
        for dataset in 0..data.datasets.len() {
            if let Some(part) = data.parts.iter().position(|(of, _)| *of == dataset) {
                data.read(part)?;
            }
        }
        Ok(data)
    }

    /// Returns whether there is a dataset that [`open`](Self::open) accepts: whether the directory, or `data` in it, has
    /// a file `metadata.json`, or whether the path is a file that holds a whole dataset.
    #[must_use]
    pub fn is_dataset(path: impl AsRef<Path>) -> bool {
        find(path.as_ref()).is_some()
    }

    /// Sets whether actions of bounded Boxes are scaled to [−1, 1]. It is the setting `normalize_actions` of the
    /// algorithm, which defaults to `true`.
    #[must_use]
    pub fn normalize_actions(mut self, normalize_actions: bool) -> Self {
        self.normalize_actions = normalize_actions;
        self
    }

    /// Returns the number of episodes.
    #[must_use]
    pub fn num_episodes(&self) -> usize {
        self.parts.len()
    }
}

impl Dataset {
    fn open(folder: PathBuf, metadata: Metadata) -> Result<Self> {
        let Metadata { episodes, format, observations, actions, own, .. } = metadata;
        let files = match format {
            Format::Hdf5 => Files::Hdf5(Hdf5::open(&folder, episodes)?),
            Format::Arrow => Files::Arrow,
            Format::Parquet => Files::Parquet,
        };
        let mut dataset = Self {
            folder,
            observations: observations.node,
            actions: actions.node,
            files,
            own,
            steps: Vec::new(),
            has_warned: AtomicBool::new(false),
        };
        let mut all = 0;
        for episode in 0..episodes {
            let steps = dataset.count_steps(episode)?;
            all = metadata::sum(all, steps as u64)
                .map_err(|error| error.in_file(&dataset.path(episode)))?;
            dataset.steps.push(steps);
        }
        Ok(dataset)
    }

    /// Returns the file or directory of an episode.
    fn path(&self, episode: usize) -> PathBuf {
        match &self.files {
            Files::Hdf5(file) => file.path.clone(),
            Files::Arrow | Files::Parquet => self.folder.join(episode.to_string()),
        }
    }

    /// Returns the files that hold the episodes.
    fn paths(&self) -> Result<Vec<PathBuf>> {
        if let Files::Hdf5(file) = &self.files {
            return Ok(vec![file.path.clone()]);
        }
        let mut paths = Vec::new();
        for episode in 0..self.steps.len() {
            let folder = self.path(episode);
            paths.extend(parts_of(&folder).map_err(|error| error.in_file(&folder))?);
        }
        Ok(paths)
    }

    /// Reads the number of steps of an episode.
    fn count_steps(&self, episode: usize) -> Result<usize> {
        let path = self.path(episode);
        guarded(&path, || {
            let steps = match &self.files {
                Files::Hdf5(file) => match file.episode(episode) {
                    Some(episode) => episode.steps(),
                    None => Err(damaged("it is missing")),
                },
                Files::Arrow | Files::Parquet => {
                    read_json(&path.join(metadata::FILE)).and_then(|about| total_steps(&about))
                }
            };
            let counted = |steps| usize::try_from(steps).map_err(|_| damaged("it is too long"));
            steps.and_then(counted).map_err(|error| error.in_episode(episode))
        })
    }

    /// Reads an episode in the units of the environment.
    fn read(&self, episode: usize) -> Result<Rollout> {
        let path = self.path(episode);
        guarded(&path, || {
            let steps = self.steps[episode];
            let rollout = match &self.files {
                Files::Hdf5(file) => match file.episode(episode) {
                    Some(of_file) => self.rollout(&of_file, episode, steps),
                    None => Err(damaged("it is missing")),
                },
                Files::Arrow => arrow::Episode::open(&parts_of(&path)?)
                    .and_then(|of_file| self.rollout(&of_file, episode, steps)),
                Files::Parquet => parquet::Episode::open(&parts_of(&path)?)
                    .and_then(|of_file| self.rollout(&of_file, episode, steps)),
            };
            rollout.map_err(|error| error.in_episode(episode))
        })
    }

    fn rollout(&self, file: &dyn EpisodeColumns, episode: usize, steps: usize) -> Result<Rollout> {
        if steps == 0 {
            return Err(OfflineError::NoSteps { episode });
        }
        // Rows that the columns of the steps have.
        let rows = steps + usize::from(file.is_padded());
        let of_steps = |name: &str| {
            let column = file.column(&[Part::key(name)]).and_then(|mut column| {
                if column.rows != rows || column.numbers.len() != rows {
                    let found = column.rows;
                    return Err(damaged(format!("it has {found} rows instead of {rows}")));
                }
                column.slice(0..steps);
                Ok(column)
            });
            column.map_err(|error| error.in_column(name))
        };
        let mut path = vec![Part::key("observations")];
        let observations = read(file, &mut path, &self.observations, steps + 1)?;
        let mut path = vec![Part::key("actions")];
        let actions = read(file, &mut path, &self.actions, rows)?.slice(0..steps)?;
        let rewards = of_steps("rewards")?.numbers.into_f32();
        let flags = |name: &str| {
            let flags = of_steps(name)?.numbers.into_u8();
            flags.map_err(|error| error.in_column(name))
        };
        let (terminations, truncations) = (flags("terminations")?, flags("truncations")?);
        let segments = segments(episode, &terminations, &truncations)?;
        let lasts: Vec<_> = segments.iter().map(|segment| segment.range().end).collect();
        let finals = observations.gather(&lasts)?;
        let observations = observations.slice(0..steps)?;
        let mut rollout = Rollout::new(observations, actions, rewards, segments, finals);
        self.add_infos(file, &mut rollout)?;
        Ok(rollout)
    }

    /// Reads the infos that are single numbers, and those that are columns of a recording.
    fn add_infos(&self, file: &dyn EpisodeColumns, rollout: &mut Rollout) -> Result<()> {
        let steps = rollout.rewards.len();
        let (mut infos, mut left_out) = (Vec::new(), Vec::new());
        for name in file.infos()? {
            let column = file.column(&[Part::key("infos"), Part::key(&name)]).ok();
            let Some(column) = column.and_then(|column| of_steps(column, steps)) else {
                left_out.push(name);
                continue;
            };
            let width = column.shape.iter().product::<usize>();
            let shape = match (self.own.get(&name), name.as_str()) {
                (Some(shape), _) => Some(shape.clone()),
                // Recordings of earlier versions, and those of other programs.
                (None, Columns::ACTION_LOGP | Columns::ACTION_PROB) => Some(Vec::new()),
                (None, Columns::ACTION_DIST_INPUTS) => Some(vec![width]),
                _ => None,
            };
            match shape {
                Some(shape) if shape.iter().product::<usize>() == width => {
                    drop(rollout.extras.insert(name, column.numbers.into_buffer(&shape)?));
                }
                // Arrow's files have a list of one number for a number.
                None if width == 1 => {
                    infos.push((name, Buffer::from_f32(column.numbers.into_f32(), &[])?));
                }
                _ => left_out.push(name),
            }
        }
        if !left_out.is_empty() && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                dataset = %self.folder.display(),
                infos = left_out.join(", "),
                "infos are left out, because only those that are single numbers are read"
            );
        }
        if !infos.is_empty() {
            rollout.infos = Some(Buffer::from_dict(infos)?);
        }
        Ok(())
    }
}

/// Returns the rows of an info that follow the steps.
fn of_steps(mut column: Column, steps: usize) -> Option<Column> {
    match column.rows {
        // The first row is that of the reset.
        rows if rows == steps + 1 => column.slice(1..steps + 1),
        rows if rows == steps => {}
        _ => return None,
    }
    Some(column)
}

/// Returns the files of an episode in order of their numbers.
fn parts_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(['_', '.']) && name != metadata::FILE {
            paths.push((name.len(), entry.path()));
        }
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(damaged("the directory of the episode has no file with its columns")),
        false => Ok(paths.into_iter().map(|(_, path)| path).collect()),
    }
}

/// Divides the steps where the environment or a time limit ended an episode. Continuing tasks do so several times in
/// what Minari counts as an episode.
fn segments(episode: usize, terminations: &[u8], truncations: &[u8]) -> Result<Vec<Segment>> {
    let (mut segments, mut start) = (Vec::new(), 0);
    for (row, flags) in terminations.iter().zip(truncations).enumerate() {
        let end = match flags {
            (0, 0) => continue,
            (0, _) => SegmentEnd::Truncated,
            _ => SegmentEnd::Terminated,
        };
        segments.push(Segment::new(start..row + 1, end).with_episode(0, episode as u64));
        start = row + 1;
    }
    match start == terminations.len() {
        true => Ok(segments),
        false => Err(OfflineError::InvalidRow {
            episode,
            column: "truncations",
            row: terminations.len() - 1,
            reason: "is the last step, and neither terminated nor truncated".into(),
        }),
    }
}

impl OfflineSource for MinariData {
    fn module_spaces(&self) -> &BTreeMap<ModuleId, (Space, Space)> {
        &self.spaces
    }

    fn num_parts(&self) -> usize {
        self.parts.len()
    }

    fn steps_of(&self, part: usize) -> usize {
        self.parts.get(part).map_or(0, |(dataset, episode)| self.datasets[*dataset].steps[*episode])
    }

    fn read(&self, part: usize) -> Result<Recorded> {
        let parts = self.parts.len();
        let (dataset, episode) =
            self.parts.get(part).ok_or(OfflineError::UnknownPart { part, parts })?;
        let dataset = &self.datasets[*dataset];
        let mut rollout = dataset.read(*episode)?;
        let spaces = &self.spaces[DEFAULT_MODULE_ID];
        let actions = &spaces.1;
        let path = dataset.path(*episode);
        let units = NormalizeAndClipActions::new(actions, self.normalize_actions, false);
        let mut of_module = Buffer::zeros(&units.module_space(), rollout.rewards.len());
        units
            .invert(&rollout.actions, &mut of_module)
            .map_err(|error| damaged(error.to_string()).in_file(&path))?;
        rollout.actions = of_module;
        check_rollout(*episode, &rollout, spaces).map_err(|error| error.in_file(&path))?;
        Ok(Recorded::from([(DEFAULT_MODULE_ID.to_owned(), vec![rollout])]))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
