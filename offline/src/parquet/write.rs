//! Writing episodes of one module as a Parquet file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int64Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use rekindle_core::Columns;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Rollout, SegmentEnd};

use super::header::{Header, KEY, columns};
use super::layout::{Kind, Layout, Leaf, leaves_of};
use crate::episodes::{bytes_of, joined_infos};
use crate::error::{OfflineError, Result};

/// Bytes of a row group from which the next one begins. A row group holds whole episodes, and is what readers read at
/// once.
const ROW_GROUP: usize = 1 << 20;

/// Writes episodes of one module, with equal columns. Nothing is left of a file that cannot be written.
///
/// # Errors
/// [`OfflineError::Write`] that names the file.
pub(crate) fn write_file(
    path: &Path,
    module_id: &str,
    spaces: &(Space, Space),
    episodes: &[Rollout],
) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.tmp"));
    let written = write_to(&temporary, module_id, spaces, episodes)
        .and_then(|()| Ok(fs::rename(&temporary, path)?))
        .and_then(|()| Ok(File::open(folder)?.sync_all()?));
    written.map_err(|error| {
        // The error of the write is the one to report.
        drop(fs::remove_file(&temporary));
        error.in_written_file(path)
    })
}

fn write_to(
    path: &Path,
    module_id: &str,
    spaces: &(Space, Space),
    episodes: &[Rollout],
) -> Result<()> {
    let Some(first) = episodes.first() else { return Ok(()) };
    let groups = groups(episodes);
    let mut layouts = vec![
        (Columns::OBS.to_owned(), Layout::of(&first.observations)?),
        (Columns::ACTIONS.to_owned(), Layout::of(&first.actions)?),
    ];
    for (name, column) in &first.extras {
        layouts.push((name.clone(), Layout::of(column)?));
    }
    if let Some(states) = &first.states {
        layouts.push((Columns::STATE_IN.to_owned(), Layout::of(&states.state_in)?));
    }
    let infos = info_names(episodes)?;
    if !infos.is_empty() {
        let parts = infos.iter().map(|name| (name.clone(), Layout::Float(Vec::new())));
        layouts.push((Columns::INFOS.to_owned(), Layout::Dict(parts.collect())));
    }
    let steps = groups.iter().map(|group| {
        episodes[group.clone()].iter().map(|episode| episode.rewards.len() as u64).sum()
    });
    let header = Header {
        version: Header::VERSION,
        module_id: module_id.to_owned(),
        observation_space: spaces.0.clone(),
        action_space: spaces.1.clone(),
        columns: layouts,
        steps: steps.collect(),
    };
    let leaves = header.leaves()?;
    let json = serde_json::to_string(&header)?;
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), json)]))
        .build();
    let file = File::create(path)?;
    let mut writer = SerializedFileWriter::new(&file, schema(&leaves)?, Arc::new(properties))?;
    for group in groups {
        let mut rows = writer.next_row_group()?;
        write_group(&mut rows, &header, &leaves, &infos, &episodes[group])?;
        rows.close()?;
    }
    writer.close()?;
    (&file).flush()?;
    Ok(file.sync_all()?)
}

/// Returns the names of all numbers that the environments reported.
fn info_names(episodes: &[Rollout]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for infos in episodes.iter().filter_map(|episode| episode.infos.as_ref()) {
        names.extend(infos.as_dict()?.keys().cloned());
    }
    Ok(names)
}

/// Divides episodes into row groups.
fn groups(episodes: &[Rollout]) -> Vec<Range<usize>> {
    let (mut groups, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, episode) in episodes.iter().enumerate() {
        bytes += bytes_of(episode);
        if bytes >= ROW_GROUP || index + 1 == episodes.len() {
            groups.push(start..index + 1);
            (start, bytes) = (index + 1, 0);
        }
    }
    groups
}

fn schema(leaves: &[Vec<Leaf>]) -> Result<TypePtr> {
    let field = |name: &str, physical, length, converted| {
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_length(length)
            .with_converted_type(converted);
        Ok::<_, OfflineError>(Arc::new(field.build()?))
    };
    let mut fields = Vec::new();
    for name in [columns::EPISODE, columns::RUNNER, columns::ENV, columns::T, columns::WEIGHTS] {
        fields.push(field(name, Physical::INT64, -1, ConvertedType::NONE)?);
    }
    fields.push(field(columns::AGENT, Physical::BYTE_ARRAY, -1, ConvertedType::UTF8)?);
    for name in [columns::IS_LAST, Columns::TERMINATEDS, Columns::TRUNCATEDS] {
        fields.push(field(name, Physical::BOOLEAN, -1, ConvertedType::NONE)?);
    }
    fields.push(field(Columns::REWARDS, Physical::FLOAT, -1, ConvertedType::NONE)?);
    for leaf in leaves.iter().flatten() {
        let (physical, length) = match (leaf.is_scalar, leaf.kind) {
            (true, Kind::Float) => (Physical::FLOAT, -1),
            (true, Kind::Int) => (Physical::INT64, -1),
            _ => (Physical::FIXED_LEN_BYTE_ARRAY, (leaf.width * leaf.kind.size()) as i32),
        };
        fields.push(field(&leaf.name, physical, length, ConvertedType::NONE)?);
    }
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

/// Writes the columns of some episodes: the rows of their steps, each followed by that of its last observation.
fn write_group(
    rows: &mut SerializedRowGroupWriter<'_, &File>,
    header: &Header,
    leaves: &[Vec<Leaf>],
    infos: &BTreeSet<String>,
    episodes: &[Rollout],
) -> Result<()> {
    let ints = |of: &dyn Fn(&Rollout, usize) -> usize| {
        let all = episodes
            .iter()
            .flat_map(|episode| (0..=episode.rewards.len()).map(move |t| of(episode, t) as i64));
        all.collect::<Vec<_>>()
    };
    write::<Int64Type>(rows, &ints(&|episode, _| episode.segments[0].episode as usize))?;
    write::<Int64Type>(rows, &ints(&|episode, _| episode.runner))?;
    write::<Int64Type>(rows, &ints(&|episode, _| episode.segments[0].env))?;
    write::<Int64Type>(rows, &ints(&|episode, t| episode.segments[0].t_started + t))?;
    write::<Int64Type>(rows, &ints(&|episode, _| episode.weights_seq_no as usize))?;
    let agents = episodes.iter().flat_map(|episode| {
        let agent = episode.segments[0].agent.as_ref().map(ToString::to_string);
        let agent = ByteArray::from(agent.unwrap_or_default().as_str());
        std::iter::repeat_n(agent, episode.rewards.len() + 1)
    });
    write::<ByteArrayType>(rows, &agents.collect::<Vec<_>>())?;
    let flags = |of: &dyn Fn(&Rollout, usize) -> bool| {
        let all = episodes
            .iter()
            .flat_map(|episode| (0..=episode.rewards.len()).map(move |t| of(episode, t)));
        all.collect::<Vec<_>>()
    };
    write::<BoolType>(rows, &flags(&|episode, t| t == episode.rewards.len()))?;
    for end in [SegmentEnd::Terminated, SegmentEnd::Truncated] {
        let ends =
            flags(&|episode, t| t + 1 == episode.rewards.len() && episode.segments[0].end == end);
        write::<BoolType>(rows, &ends)?;
    }
    let rewards = episodes
        .iter()
        .flat_map(|episode| episode.rewards.iter().copied().chain(std::iter::once(0.0)));
    write::<FloatType>(rows, &rewards.collect::<Vec<_>>())?;
    for ((name, layout), leaves) in header.columns.iter().zip(leaves) {
        let mut column: Option<Buffer> = None;
        for episode in episodes {
            let [of_steps, last] = parts(episode, name, infos)?;
            let of_steps =
                of_steps.ok_or_else(|| OfflineError::OtherColumns { column: name.clone() })?;
            let mut all = match column.take() {
                Some(all) => all,
                None => of_steps.slice(0..0)?,
            };
            all.extend_from(&of_steps, 0..of_steps.rows())?;
            match last {
                Some(last) => all.extend_from(&last, 0..1)?,
                None => all.extend_zeros(1),
            }
            column = Some(all);
        }
        let Some(column) = column else { continue };
        if Layout::of(&column)? != *layout {
            return Err(OfflineError::OtherColumns { column: name.clone() });
        }
        for (leaf, buffer) in leaves.iter().zip(leaves_of(&column)) {
            write_leaf(rows, leaf, buffer)?;
        }
    }
    Ok(())
}

/// Returns the rows of the steps of a column, and that of the last observation if the column has one.
fn parts(episode: &Rollout, name: &str, infos: &BTreeSet<String>) -> Result<[Option<Buffer>; 2]> {
    Ok(match (name, &episode.states) {
        (Columns::OBS, _) => {
            [Some(episode.observations.clone()), Some(episode.final_observations.clone())]
        }
        (Columns::ACTIONS, _) => [Some(episode.actions.clone()), None],
        (Columns::STATE_IN, Some(states)) => {
            [Some(states.state_in.clone()), Some(states.final_states.clone())]
        }
        (Columns::INFOS, _) => {
            let part = (episode.infos.clone(), episode.rewards.len());
            [Some(joined_infos(&[part], infos)?), None]
        }
        _ => [episode.extras.get(name).cloned(), None],
    })
}

fn write_leaf(
    rows: &mut SerializedRowGroupWriter<'_, &File>,
    leaf: &Leaf,
    buffer: &Buffer,
) -> Result<()> {
    match (leaf.is_scalar, leaf.kind) {
        (true, Kind::Float) => write::<FloatType>(rows, buffer.as_f32()?),
        (true, Kind::Int) => write::<Int64Type>(rows, buffer.as_i64()?),
        (_, kind) => {
            let bytes: Vec<u8> = match kind {
                Kind::Float => buffer.as_f32()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Kind::Int => buffer.as_i64()?.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Kind::Byte => buffer.as_u8()?.to_vec(),
            };
            let (all, width) = (ByteArray::from(bytes), leaf.width * kind.size());
            let values = (0..buffer.rows())
                .map(|row| FixedLenByteArray::from(all.slice(row * width, width)));
            write::<FixedLenByteArrayType>(rows, &values.collect::<Vec<_>>())
        }
    }
}

fn write<T: DataType>(
    rows: &mut SerializedRowGroupWriter<'_, &File>,
    values: &[T::T],
) -> Result<()> {
    if let Some(mut column) = rows.next_column()? {
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}
