//! Reading recorded files: each row group is a part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int64Type,
};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use rekindle_core::{Columns, ModuleId};
use rekindle_env::{AgentId, Buffer, Space};
use rekindle_env_runner::{Rollout, RolloutStates, Segment, SegmentEnd};

use super::header::{Header, KEY, columns};
use super::layout::{Kind, Leaf};
use crate::check::check_rollout;
use crate::decode::{CheckedFile, check_compression, check_size, guarded};
use crate::error::{OfflineError, Result};
use crate::fingerprint::Fingerprint;
use crate::minari::{MinariData, hint};
use crate::source::{OfflineSource, Recorded};

/// Recorded experience in Parquet files, as `env_runners.output` writes them. Files are opened when they are read, one
/// row group at a time, so that data may be larger than memory.
///
/// Episodes of a module with memory have its states, and those of a module that was sampled have its
/// log-probabilities: all columns of the recording are read. They are equal bit for bit.
#[derive(Debug, Clone)]
pub struct ParquetData {
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    files: Vec<Arc<Opened>>,
    /// The file and the row group of each part.
    parts: Vec<(usize, usize)>,
    fingerprint: String,
}

/// A file whose header was read.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    header: Header,
    leaves: Vec<Vec<Leaf>>,
    rows: Vec<usize>,
}

/// The ending of recorded files.
pub(crate) const EXTENSION: &str = "parquet";

impl ParquetData {
    /// Reads the headers of recorded files: of a file, or of all files `*.parquet` in a directory and its
    /// subdirectories, in order of their paths.
    ///
    /// # Errors
    /// [`OfflineError::Missing`]; [`OfflineError::NoFiles`]; [`OfflineError::NoEpisodes`]; [`OfflineError::File`] for a
    /// file that is not a recording or is damaged; [`OfflineError::OtherSpaces`] if files of one module have different
    /// spaces; [`OfflineError::HoldsDatasets`] and [`OfflineError::InDataset`] for a path above or inside a dataset of
    /// Minari.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_all([path])
    }

    /// Reads the headers of several files or directories, as [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let (mut found, mut first) = (Vec::new(), None);
        for path in paths {
            let path = path.as_ref();
            first.get_or_insert_with(|| path.to_owned());
            if !path.exists() {
                return Err(OfflineError::Missing { path: path.to_owned() });
            }
            if MinariData::is_dataset(path) {
                let reason = "it is a Minari dataset; open it with `MinariData`";
                return Err(damaged(reason).in_file(path));
            }
            if let Some(error) = hint(path) {
                return Err(error);
            }
            let before = found.len();
            find(path, &mut BTreeSet::new(), &mut found).map_err(|error| error.in_file(path))?;
            if found.len() == before {
                return Err(OfflineError::NoFiles { path: path.to_owned() });
            }
        }
        let (mut spaces, mut files, mut parts) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut fingerprint = Fingerprint::default();
        for path in found {
            let opened = Opened::new(path)?;
            let header = &opened.header;
            let of_file = (header.observation_space.clone(), header.action_space.clone());
            let first = spaces.entry(header.module_id.clone()).or_insert_with(|| of_file.clone());
            if *first != of_file {
                let module = header.module_id.clone();
                return Err(OfflineError::OtherSpaces { path: opened.path.clone(), module });
            }
            let added = fingerprint.add_file(&opened.path);
            added.map_err(|error| OfflineError::from(error).in_file(&opened.path))?;
            parts.extend((0..opened.rows.len()).map(|group| (files.len(), group)));
            files.push(Arc::new(opened));
        }
        if let (true, Some(path)) = (parts.is_empty(), first) {
            return Err(OfflineError::NoEpisodes { path });
        }
        Ok(Self { spaces, files, parts, fingerprint: fingerprint.text() })
    }
}

/// Finds recorded files, in order of their paths.
fn find(path: &Path, visited: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    if !fs::metadata(path)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    // Links may lead back.
    if !visited.insert(fs::canonicalize(path)?) {
        return Ok(());
    }
    let entries: Vec<_> = fs::read_dir(path)?.collect::<std::io::Result<_>>()?;
    let paths: BTreeSet<_> = entries.into_iter().map(|entry| entry.path()).collect();
    for path in paths {
        if path.is_dir() {
            find(&path, visited, found)?;
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION)
        {
            found.push(path);
        }
    }
    Ok(())
}

fn damaged(reason: impl Into<String>) -> OfflineError {
    OfflineError::Damaged { reason: reason.into() }
}

impl Opened {
    fn new(path: PathBuf) -> Result<Self> {
        let (header, leaves, rows) = guarded(&path, || {
            let reader = SerializedFileReader::new(CheckedFile::open(&path)?)?;
            let metadata = reader.metadata();
            let values = metadata.file_metadata().key_value_metadata();
            let value = values.and_then(|values| values.iter().find(|pair| pair.key == KEY));
            let Some(json) = value.and_then(|pair| pair.value.as_ref()) else {
                return Err(damaged(
                    "it is not a recording: the metadata have no key `rekindle`; read it with your own code, and pass its columns to `OfflineData`",
                ));
            };
            let header: Header = serde_json::from_str(json)?;
            if header.version != Header::VERSION {
                return Err(damaged(format!(
                    "it has version {} of the format, and this program reads version {}; read it with the version of rekindle that wrote it",
                    header.version,
                    Header::VERSION
                )));
            }
            check_compression(metadata)?;
            let leaves = header.leaves()?;
            let columns = metadata.file_metadata().schema_descr().num_columns();
            let expected = columns::COUNT + leaves.iter().map(Vec::len).sum::<usize>();
            if columns != expected {
                return Err(damaged(format!("it has {columns} columns instead of {expected}")));
            }
            let bytes_of_row = leaves.iter().flatten().map(|leaf| leaf.width * leaf.kind.size());
            let bytes_of_row = bytes_of_row.fold(64, usize::saturating_add);
            let mut rows = Vec::new();
            for group in metadata.row_groups() {
                let count = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
                // A row group that claims more than its file holds would only fill memory.
                let stored = group.columns().iter().map(|column| column.compressed_size());
                let stored = u64::try_from(stored.sum::<i64>()).unwrap_or(0);
                check_size((count as u64).checked_mul(bytes_of_row as u64), stored)?;
                rows.push(count);
            }
            if rows.len() != header.steps.len() {
                let (found, expected) = (rows.len(), header.steps.len());
                return Err(damaged(format!("it has {found} row groups instead of {expected}")));
            }
            for (rows, steps) in rows.iter().zip(&header.steps) {
                if *steps > *rows as u64 {
                    return Err(damaged(format!("{rows} rows claim to be {steps} steps")));
                }
            }
            Ok((header, leaves, rows))
        })?;
        Ok(Self { path, header, leaves, rows })
    }

    /// Reads a row group.
    fn read(&self, group: usize) -> Result<Vec<Rollout>> {
        guarded(&self.path, || {
            let reader = SerializedFileReader::new(CheckedFile::open(&self.path)?)?;
            let (rows, reader) = (self.rows[group], reader.get_row_group(group)?);
            let fixed = Fixed::read(&*reader, rows)?;
            let mut next = columns::COUNT;
            let mut all = BTreeMap::new();
            for ((name, layout), leaves) in self.header.columns.iter().zip(&self.leaves) {
                let shapes = layout.shapes();
                let mut buffers = Vec::with_capacity(leaves.len());
                for (leaf, shape) in leaves.iter().zip(shapes) {
                    let leaf = read_leaf(&*reader, next, rows, leaf, shape);
                    buffers.push(leaf.map_err(|error| error.in_column(name))?);
                    next += 1;
                }
                let column = layout.build(&mut buffers.into_iter())?;
                if column.rows() != rows {
                    return Err(damaged(format!("its column `{name}` has {} rows", column.rows())));
                }
                all.insert(name.as_str(), column);
            }
            let spaces = (self.header.observation_space.clone(), self.header.action_space.clone());
            let ends = fixed.is_last.iter().enumerate().filter(|(_, is_last)| **is_last);
            let (mut start, mut episodes) = (0, Vec::new());
            for (last, _) in ends {
                let episode = fixed.episode(&all, start, last)?;
                check_rollout(fixed.episode[last] as usize, &episode, &spaces)?;
                episodes.push(episode);
                start = last + 1;
            }
            if start != rows {
                return Err(damaged("an episode has no last observation"));
            }
            Ok(episodes)
        })
    }
}

/// The columns that every file has.
struct Fixed {
    episode: Vec<i64>,
    runner: Vec<i64>,
    env: Vec<i64>,
    t: Vec<i64>,
    weights: Vec<i64>,
    agent: Vec<ByteArray>,
    is_last: Vec<bool>,
    terminateds: Vec<bool>,
    truncateds: Vec<bool>,
    rewards: Vec<f32>,
}

impl Fixed {
    fn read(reader: &dyn RowGroupReader, rows: usize) -> Result<Self> {
        let ints = |index, name| {
            read::<Int64Type>(reader, index, rows).map_err(|error| error.in_column(name))
        };
        let flags = |index, name| {
            read::<BoolType>(reader, index, rows).map_err(|error| error.in_column(name))
        };
        Ok(Self {
            episode: ints(0, columns::EPISODE)?,
            runner: ints(1, columns::RUNNER)?,
            env: ints(2, columns::ENV)?,
            t: ints(3, columns::T)?,
            weights: ints(4, columns::WEIGHTS)?,
            agent: read::<ByteArrayType>(reader, 5, rows)
                .map_err(|error| error.in_column(columns::AGENT))?,
            is_last: flags(6, columns::IS_LAST)?,
            terminateds: flags(7, Columns::TERMINATEDS)?,
            truncateds: flags(8, Columns::TRUNCATEDS)?,
            rewards: read::<FloatType>(reader, 9, rows)
                .map_err(|error| error.in_column(Columns::REWARDS))?,
        })
    }

    /// Returns the episode in the rows from `start` to that of its last observation.
    fn episode(
        &self,
        columns: &BTreeMap<&str, Buffer>,
        start: usize,
        last: usize,
    ) -> Result<Rollout> {
        let missing = |name: &str| damaged(format!("it has no column `{name}`"));
        let of = |name| columns.get(name).ok_or_else(|| missing(name));
        let number = |column: &[i64], name: &str| {
            usize::try_from(column[last]).map_err(|_| damaged(format!("`{name}` is negative")))
        };
        if start == last {
            return Err(damaged(format!("episode {} has no steps", self.episode[last])));
        }
        let (steps, end) = (start..last, last - 1);
        let segment_end = match (self.terminateds[end], self.truncateds[end]) {
            (true, _) => SegmentEnd::Terminated,
            (_, true) => SegmentEnd::Truncated,
            _ => SegmentEnd::Cut,
        };
        let t = number(&self.t, columns::T)?;
        let t_started = t.checked_sub(steps.len());
        let t_started = t_started.ok_or_else(|| damaged("an episode is longer than its time"))?;
        let agent = match self.agent[last].data() {
            [] => None,
            text => Some(AgentId::from(String::from_utf8_lossy(text).into_owned())),
        };
        let segment = Segment::new(0..steps.len(), segment_end)
            .with_episode(
                number(&self.env, columns::ENV)?,
                number(&self.episode, columns::EPISODE)? as u64,
            )
            .with_agent(agent)
            .with_t_started(t_started);
        let observations = of(Columns::OBS)?;
        let mut episode = Rollout::new(
            observations.slice(steps.clone())?,
            of(Columns::ACTIONS)?.slice(steps.clone())?,
            self.rewards[steps.clone()].to_vec(),
            vec![segment],
            observations.slice(last..last + 1)?,
        );
        for (name, column) in columns {
            match *name {
                Columns::OBS | Columns::ACTIONS => {}
                Columns::INFOS => episode.infos = Some(column.slice(steps.clone())?),
                Columns::STATE_IN => {
                    let (states, finals) =
                        (column.slice(steps.clone())?, column.slice(last..last + 1)?);
                    episode.states = Some(Arc::new(RolloutStates::new(states, finals)));
                }
                _ => {
                    let column = column.slice(steps.clone())?;
                    episode.extras.insert((*name).to_owned(), column);
                }
            }
        }
        episode.runner = number(&self.runner, columns::RUNNER)?;
        episode.weights_seq_no = number(&self.weights, columns::WEIGHTS)? as u64;
        Ok(episode)
    }
}

fn read_leaf(
    reader: &dyn RowGroupReader,
    index: usize,
    rows: usize,
    leaf: &Leaf,
    shape: &[usize],
) -> Result<Buffer> {
    let buffer = match (leaf.is_scalar, leaf.kind) {
        (true, Kind::Float) => Buffer::from_f32(read::<FloatType>(reader, index, rows)?, shape),
        (true, Kind::Int) => Buffer::from_i64(read::<Int64Type>(reader, index, rows)?, shape),
        (_, kind) => {
            let (values, width) =
                (read::<FixedLenByteArrayType>(reader, index, rows)?, leaf.width * kind.size());
            let mut bytes = Vec::with_capacity(rows * width);
            for value in &values {
                let value: &FixedLenByteArray = value;
                if value.len() != width {
                    return Err(damaged(format!("a row has {} bytes", value.len())));
                }
                bytes.extend_from_slice(value.data());
            }
            match kind {
                Kind::Byte => Buffer::from_u8(bytes, shape),
                Kind::Float => {
                    let numbers = bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
                    Buffer::from_f32(numbers.collect(), shape)
                }
                Kind::Int => {
                    let numbers = bytes.as_chunks::<8>().0.iter().map(|x| i64::from_le_bytes(*x));
                    Buffer::from_i64(numbers.collect(), shape)
                }
            }
        }
    };
    Ok(buffer?)
}

/// Reads a column of a row group.
fn read<T: DataType>(reader: &dyn RowGroupReader, index: usize, rows: usize) -> Result<Vec<T::T>> {
    let found = reader.metadata().column(index).column_type();
    if found != T::get_physical_type() {
        return Err(damaged(format!("it has the type {found}")));
    }
    if reader.metadata().column(index).column_descr().max_def_level() > 0 {
        return Err(damaged("it has rows without a value"));
    }
    let mut column = get_typed_column_reader::<T>(reader.get_column_reader(index)?);
    let mut values = Vec::with_capacity(rows);
    while values.len() < rows {
        let (read, _, _) = column.read_records(rows - values.len(), None, None, &mut values)?;
        if read == 0 {
            return Err(damaged(format!("it has {} rows instead of {rows}", values.len())));
        }
    }
    Ok(values)
}

impl OfflineSource for ParquetData {
    fn module_spaces(&self) -> &BTreeMap<ModuleId, (Space, Space)> {
        &self.spaces
    }

    fn num_parts(&self) -> usize {
        self.parts.len()
    }

    fn steps_of(&self, part: usize) -> usize {
        let steps =
            self.parts.get(part).map(|(file, group)| self.files[*file].header.steps[*group]);
        steps.unwrap_or(0) as usize
    }

    fn read(&self, part: usize) -> Result<Recorded> {
        let parts = self.parts.len();
        let (file, group) =
            self.parts.get(part).ok_or(OfflineError::UnknownPart { part, parts })?;
        let file = &self.files[*file];
        let episodes = file.read(*group)?;
        let steps: usize = episodes.iter().map(|episode| episode.rewards.len()).sum();
        if steps as u64 != file.header.steps[*group] {
            let reason =
                format!("a row group has {steps} steps instead of {}", file.header.steps[*group]);
            return Err(damaged(reason).in_file(&file.path));
        }
        Ok(Recorded::from([(file.header.module_id.clone(), episodes)]))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
