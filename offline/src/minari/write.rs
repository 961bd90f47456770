//! Writing the Parquet form: a directory for each episode.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use rekindle_env::{BoxDType, Buffer, Space};
use rekindle_env_runner::{Rollout, SegmentEnd};
use serde_json::{Value, json};

use super::json::to_python;
use super::metadata::{self, OwnColumns};
use super::space::to_json;
use crate::error::{OfflineError, Result};

/// The version of Minari whose files these are.
const MINARI_VERSION: &str = "0.5.4";

/// The file of an episode.
pub(super) const EPISODE_FILE: &str = "part-0.parquet";

/// A column of numbers, one row before the others for what follows a reset, or one after them.
struct Leaf {
    field: TypePtr,
    numbers: Buffer,
    kind: Kind,
}

/// The type of the numbers in the file.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Float,
    Int8,
    Uint8,
    Int32,
    Int64,
}

impl Kind {
    fn of(space: &Space) -> Self {
        match space {
            Space::Box(space) => match space.dtype() {
                BoxDType::Float32 => Self::Float,
                BoxDType::Uint8 => Self::Uint8,
                BoxDType::Int32 => Self::Int32,
                _ => Self::Int64,
            },
            Space::MultiBinary(_) => Self::Int8,
            _ => Self::Int64,
        }
    }

    fn of_buffer(buffer: &Buffer) -> Self {
        match (buffer.as_f32().is_ok(), buffer.as_u8().is_ok()) {
            (true, _) => Self::Float,
            (_, true) => Self::Uint8,
            _ => Self::Int64,
        }
    }

    fn types(self) -> (Physical, ConvertedType) {
        match self {
            Self::Float => (Physical::FLOAT, ConvertedType::NONE),
            Self::Int8 => (Physical::INT32, ConvertedType::INT_8),
            Self::Uint8 => (Physical::INT32, ConvertedType::UINT_8),
            Self::Int32 => (Physical::INT32, ConvertedType::NONE),
            Self::Int64 => (Physical::INT64, ConvertedType::NONE),
        }
    }
}

/// Writes an episode with its actions in the units of the environment. `infos` have a row for each observation.
///
/// # Errors
/// [`OfflineError::Write`] that names the directory.
pub(super) fn write_episode(
    data: &Path,
    number: usize,
    spaces: &(Space, Space),
    episode: &Rollout,
    actions: Buffer,
    infos: &[(String, Buffer)],
) -> Result<()> {
    let folder = data.join(number.to_string());
    write_in(&folder, number, spaces, episode, actions, infos)
        .map_err(|error| error.in_written_file(&folder))
}

fn write_in(
    folder: &Path,
    number: usize,
    spaces: &(Space, Space),
    episode: &Rollout,
    mut actions: Buffer,
    infos: &[(String, Buffer)],
) -> Result<()> {
    let steps = episode.rewards.len();
    let mut observations = episode.observations.clone();
    observations.extend_from(&episode.final_observations, 0..1)?;
    actions.extend_zeros(1);
    let mut leaves = Vec::new();
    let mut fields = vec![
        field("observations", &spaces.0, &observations, &mut leaves)?,
        field("actions", &spaces.1, &actions, &mut leaves)?,
    ];
    for (name, physical) in [
        ("rewards", Physical::DOUBLE),
        ("terminations", Physical::BOOLEAN),
        ("truncations", Physical::BOOLEAN),
    ] {
        fields.push(primitive(name, physical, ConvertedType::NONE)?);
    }
    let mut of_infos = Vec::new();
    if !infos.is_empty() {
        let parts = infos
            .iter()
            .map(|(name, buffer)| leaf(name, Kind::of_buffer(buffer), buffer, &mut of_infos));
        fields.push(group("infos", parts.collect::<Result<_>>()?)?);
    }
    let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join(EPISODE_FILE))?;
    let mut writer = SerializedFileWriter::new(&file, Arc::new(schema), Arc::new(properties))?;
    let mut rows = writer.next_row_group()?;
    leaves.iter().try_for_each(|leaf| leaf.write(&mut rows))?;
    let rewards = episode.rewards.iter().map(|reward| f64::from(*reward));
    write::<DoubleType>(&mut rows, &rewards.chain([0.0]).collect::<Vec<_>>(), None)?;
    for end in [SegmentEnd::Terminated, SegmentEnd::Truncated] {
        let mut flags = vec![false; steps + 1];
        for segment in episode.segments.iter().filter(|segment| segment.len > 0) {
            // Minari has no episodes that were cut off.
            let found = match segment.end {
                SegmentEnd::Terminated => SegmentEnd::Terminated,
                _ => SegmentEnd::Truncated,
            };
            flags[segment.range().end - 1] |= found == end;
        }
        write::<BoolType>(&mut rows, &flags, None)?;
    }
    of_infos.iter().try_for_each(|leaf| leaf.write(&mut rows))?;
    rows.close()?;
    writer.close()?;
    (&file).flush()?;
    let about = json!({"id": number, "total_steps": steps});
    fs::write(folder.join(metadata::FILE), about.to_string())?;
    Ok(())
}

/// Waits until the files of an episode are on the disk.
pub(super) fn sync_episode(data: &Path, number: usize) -> Result<()> {
    let folder = data.join(number.to_string());
    for name in [EPISODE_FILE, metadata::FILE] {
        let path = folder.join(name);
        let file = File::open(&path).and_then(|file| file.sync_all());
        file.map_err(|source| OfflineError::Write { path, source })?;
    }
    Ok(())
}

/// Writes what the dataset holds, in one step: readers find the episodes before or after it.
pub(super) fn write_metadata(
    data: &Path,
    spaces: &(Space, Space),
    id: &str,
    (episodes, steps): (usize, u64),
    own: &OwnColumns,
) -> Result<()> {
    let path = data.join(metadata::FILE);
    let space = |space: &Space| Value::String(to_python(&to_json(space)));
    let about = json!({
        "total_episodes": episodes,
        "total_steps": steps,
        "data_format": "parquet",
        "jpeg_encoding": false,
        "observation_space": space(&spaces.0),
        "action_space": space(&spaces.1),
        "dataset_id": id,
        "minari_version": MINARI_VERSION,
        metadata::OWN_COLUMNS: own,
    });
    let temporary = data.join(format!(".{}.tmp", metadata::FILE));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(about.to_string().as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, &path))
        .and_then(|()| File::open(data)?.sync_all());
    written.map_err(|source| OfflineError::Write { path, source })
}

/// Returns the id of a dataset in a directory: its name with a version, after the directories between it and
/// `MINARI_DATASETS_PATH`, by default `~/.minari/datasets`.
pub(super) fn dataset_id(folder: &Path) -> String {
    let root = match env::var_os("MINARI_DATASETS_PATH") {
        Some(root) if !root.is_empty() => Some(PathBuf::from(root)),
        _ => env::home_dir().map(|home| home.join(".minari/datasets")),
    };
    id_below(folder, root.as_deref())
}

fn id_below(folder: &Path, root: Option<&Path>) -> String {
    let folder = path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let root = root.and_then(|root| path::absolute(root).ok());
    let below = root.and_then(|root| folder.strip_prefix(root).ok());
    let parent = below.and_then(Path::parent).unwrap_or(Path::new(""));
    let namespace = parent.components().map(|part| valid(&part.as_os_str().to_string_lossy()));
    let id = name_with_version(&folder);
    namespace.chain([id]).collect::<Vec<_>>().join("/")
}

/// Replaces the letters that names of Minari do not have.
fn valid(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_alphanumeric() || "-_".contains(letter) { letter } else { '_' })
        .collect()
}

fn name_with_version(folder: &Path) -> String {
    let name = valid(&folder.file_name().unwrap_or_default().to_string_lossy());
    match name.rsplit_once("-v") {
        Some((_, version)) if version.parse::<u32>().is_ok() => name,
        _ if name.is_empty() => "dataset-v0".into(),
        _ => format!("{name}-v0"),
    }
}

fn field(name: &str, space: &Space, buffer: &Buffer, leaves: &mut Vec<Leaf>) -> Result<TypePtr> {
    match space {
        Space::Dict(dict) => {
            let parts = dict.iter().map(|(key, part)| field(key, part, buffer.get(key)?, leaves));
            group(name, parts.collect::<Result<_>>()?)
        }
        Space::Tuple(tuple) => {
            let parts = tuple.spaces().iter().enumerate().map(|(position, part)| {
                field(&position.to_string(), part, buffer.index(position)?, leaves)
            });
            group(name, parts.collect::<Result<_>>()?)
        }
        _ => leaf(name, Kind::of(space), buffer, leaves),
    }
}

fn leaf(name: &str, kind: Kind, buffer: &Buffer, leaves: &mut Vec<Leaf>) -> Result<TypePtr> {
    let (physical, converted) = kind.types();
    let field = match buffer.shape()?.is_empty() {
        true => primitive(name, physical, converted)?,
        false => {
            let element = primitive("element", physical, converted)?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![element])
                .build()?;
            let list = Type::group_type_builder(name)
                .with_repetition(Repetition::REQUIRED)
                .with_converted_type(ConvertedType::LIST)
                .with_fields(vec![Arc::new(list)])
                .build()?;
            Arc::new(list)
        }
    };
    leaves.push(Leaf { field: field.clone(), numbers: buffer.clone(), kind });
    Ok(field)
}

fn group(name: &str, fields: Vec<TypePtr>) -> Result<TypePtr> {
    let group = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_fields(fields)
        .build()?;
    Ok(Arc::new(group))
}

fn primitive(name: &str, physical: Physical, converted: ConvertedType) -> Result<TypePtr> {
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(converted)
        .build()?;
    Ok(Arc::new(field))
}

impl Leaf {
    fn write(&self, rows: &mut SerializedRowGroupWriter<'_, &File>) -> Result<()> {
        let width = match self.field.is_group() {
            true => Some(self.numbers.shape()?.iter().product()),
            false => None,
        };
        match self.kind {
            Kind::Float => write::<FloatType>(rows, self.numbers.as_f32()?, width),
            Kind::Int64 => write::<Int64Type>(rows, self.numbers.as_i64()?, width),
            Kind::Int32 => {
                let numbers = self.numbers.as_i64()?.iter().map(|number| *number as i32);
                write::<Int32Type>(rows, &numbers.collect::<Vec<_>>(), width)
            }
            Kind::Int8 | Kind::Uint8 => {
                let numbers = self.numbers.as_u8()?.iter().map(|number| i32::from(*number));
                write::<Int32Type>(rows, &numbers.collect::<Vec<_>>(), width)
            }
        }
    }
}

/// Writes a column of single numbers, or of lists of `width` numbers.
fn write<T: DataType>(
    rows: &mut SerializedRowGroupWriter<'_, &File>,
    values: &[T::T],
    width: Option<usize>,
) -> Result<()> {
    if let Some(mut column) = rows.next_column()? {
        match width {
            Some(width) => {
                let starts: Vec<_> =
                    (0..values.len()).map(|at| i16::from(at % width.max(1) != 0)).collect();
                let defined = vec![1; values.len()];
                column.typed::<T>().write_batch(values, Some(&defined), Some(&starts))?;
            }
            None => {
                column.typed::<T>().write_batch(values, None, None)?;
            }
        }
        column.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_directories_below_that_of_all_datasets() {
        let id =
            |folder: &str, root: Option<&str>| id_below(Path::new(folder), root.map(Path::new));
        assert_eq!(id("/all/cartpole/expert-v0", Some("/all")), "cartpole/expert-v0");
        assert_eq!(id("/all/a/b c/expert", Some("/all/")), "a/b_c/expert-v0");
        assert_eq!(id("/all/expert-v3", Some("/all")), "expert-v3");
        assert_eq!(id("/data/cartpole/expert-v0", Some("/all")), "expert-v0");
        assert_eq!(id("data/expert-vx", None), "expert-vx-v0");
        assert_eq!(id("/", None), "dataset-v0");
    }
}
