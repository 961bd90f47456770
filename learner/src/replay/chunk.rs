//! Rows of several blocks, which checkpoints save together.

use rekindle_checkpoint::{Array, ArrayData, CheckpointError, SaveRecord, Shard, State};
use rekindle_env::{Buffer, Parts};

use super::storage::Follows;
use crate::error::{LearnerError, Result};

/// Approximate bytes of a chunk. Larger chunks make fewer files; smaller ones need less memory while saving.
const BYTES: usize = 8 * 1024 * 1024;
/// Smallest number of chunks of a full buffer. Saving writes the whole chunk of a new row.
const AT_LEAST: usize = 16;

const FOLLOWS: &str = "follows";
const REWARDS: &str = "rewards";

/// The rows of consecutive blocks. All have memory, stored steps or not.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) follows: Vec<Follows>,
    pub(super) rewards: Vec<f32>,
    /// In order of the names of the columns.
    pub(super) columns: Vec<Buffer>,
    /// For each block, the observations after the last steps of episodes.
    pub(super) finals: Vec<Option<Buffer>>,
    /// For each block, the frames before its first row, where they are not those of the rows before it.
    pub(super) contexts: Vec<Option<Buffer>>,
    pub(super) record: SaveRecord,
}

/// Returns the number of blocks of a chunk of rows with these columns.
pub(super) fn blocks<'a>(
    capacity: usize,
    block_len: usize,
    columns: impl Iterator<Item = &'a Buffer>,
) -> usize {
    let row: usize = size_of::<f32>() + 1 + columns.map(bytes_of_row).sum::<usize>();
    let rows = (BYTES / row).min(capacity / AT_LEAST);
    (rows / block_len).max(1)
}

fn bytes_of_row(column: &Buffer) -> usize {
    let of_leaf = |leaf: &Buffer| {
        let width: usize = leaf.shape().unwrap_or_default().iter().product();
        let bytes = match (leaf.as_u8(), leaf.as_f32()) {
            (Ok(_), _) => 1,
            (_, Ok(_)) => size_of::<f32>(),
            _ => size_of::<i64>(),
        };
        width * bytes
    };
    column.leaves().into_iter().map(|(_, leaf)| of_leaf(leaf)).sum()
}

impl Chunk {
    /// Creates a chunk without stored steps.
    pub(super) fn new<'a>(
        blocks: usize,
        block_len: usize,
        layouts: impl Iterator<Item = &'a Buffer>,
    ) -> Self {
        let rows = blocks * block_len;
        let zeros = |layout: &Buffer| {
            let mut column = layout.clone();
            column.extend_zeros(rows);
            column
        };
        Self {
            follows: vec![Follows::Absent; rows],
            rewards: vec![0.0; rows],
            columns: layouts.map(zeros).collect(),
            finals: vec![None; blocks],
            contexts: vec![None; blocks],
            record: SaveRecord::default(),
        }
    }

    /// Returns the chunk that a state describes, and for each block the offsets at which episodes end. The columns are
    /// moved out of the state.
    ///
    /// # Errors
    /// If the parts of the state do not fit together.
    pub(super) fn from_state(
        (mut state, record): (State, SaveRecord),
        [blocks, block_len]: [usize; 2],
        layouts: &[Buffer],
        observations: &Buffer,
        num_frames: usize,
    ) -> Result<(Self, Vec<Vec<usize>>)> {
        let (rows, state) = (blocks * block_len, &mut state);
        let follows = state.tensor(FOLLOWS)?.as_slice::<u8>()?;
        let follows = follows.iter().map(|byte| Follows::from_byte(*byte));
        let follows: Vec<Follows> =
            follows.collect::<Option<_>>().ok_or_else(|| invalid("a row has no known end"))?;
        let rewards = match state.take_tensor(REWARDS)?.into_parts() {
            (_, ArrayData::F32(rewards)) => rewards,
            (_, other) => return Err(invalid(&format!("its rewards are {}", other.dtype()))),
        };
        if follows.len() != rows || rewards.len() != rows {
            return Err(invalid("its columns differ in length"));
        }
        let columns = layouts.iter().enumerate().map(|(index, layout)| {
            let column = column(state, &name_of_column(index), layout)?;
            match column.rows() == rows || layout.leaves().is_empty() {
                true => Ok(column),
                false => Err(invalid("its columns differ in length")),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let all = column(state, FINALS, observations)?;
        let (mut taken, mut finals, mut final_rows) = (0, Vec::new(), Vec::new());
        for block in follows.chunks(block_len.max(1)) {
            let ends = |(offset, follows): (usize, &Follows)| follows.ends().then_some(offset);
            let offsets: Vec<usize> = block.iter().enumerate().filter_map(ends).collect();
            let of_block = taken..taken + offsets.len();
            taken = of_block.end;
            if taken > all.rows() {
                return Err(invalid(FINALS_DO_NOT_FIT));
            }
            let of_block = (!offsets.is_empty()).then(|| all.slice(of_block));
            finals.push(of_block.transpose()?);
            final_rows.push(offsets);
        }
        if taken != all.rows() {
            return Err(invalid(FINALS_DO_NOT_FIT));
        }
        let contexts = contexts(state, blocks, observations, num_frames)?;
        Ok((Self { follows, rewards, columns, finals, contexts, record }, final_rows))
    }
}

/// Returns the frames before the first rows of blocks.
fn contexts(
    state: &mut State,
    blocks: usize,
    observations: &Buffer,
    num_frames: usize,
) -> Result<Vec<Option<Buffer>>> {
    let mut contexts = vec![None; blocks];
    let Some(of_blocks) = state.tensors.remove(CONTEXT_BLOCKS) else { return Ok(contexts) };
    let of_blocks = of_blocks.as_slice::<i64>()?;
    let all = column(state, CONTEXTS, observations)?;
    let frames = num_frames.saturating_sub(1);
    if of_blocks.len().checked_mul(frames) != Some(all.rows()) {
        return Err(invalid("its blocks do not have a frame before each of their first rows"));
    }
    for (index, block) in of_blocks.iter().enumerate() {
        let context = usize::try_from(*block).ok().and_then(|block| contexts.get_mut(block));
        let Some(context) = context else { return Err(invalid("a frame belongs to no block")) };
        *context = Some(all.slice(index * frames..(index + 1) * frames)?);
    }
    Ok(contexts)
}

/// The start of the names of final observations.
const FINALS: &str = "final";
const FINALS_DO_NOT_FIT: &str = "its final observations are not one for each episode that ended";
/// The start of the names of frames before blocks, and the numbers of these blocks.
const CONTEXTS: &str = "context";
const CONTEXT_BLOCKS: &str = "context_blocks";

fn name_of_column(index: usize) -> String {
    format!("column.{index}")
}

impl Shard for Chunk {
    fn get_state(&self) -> Result<State, CheckpointError> {
        let rows = self.follows.len();
        let follows: Vec<u8> = self.follows.iter().map(|follows| *follows as u8).collect();
        let mut state = State::new()
            .with_tensor(FOLLOWS, Array::new([rows], follows)?)
            .with_tensor(REWARDS, Array::new([rows], self.rewards.clone())?);
        for (index, column) in self.columns.iter().enumerate() {
            insert(&mut state, &name_of_column(index), column)?;
        }
        if let Some(finals) = joined(&self.finals) {
            insert(&mut state, FINALS, &finals)?;
        }
        if let Some(contexts) = joined(&self.contexts) {
            let blocks = self.contexts.iter().enumerate().filter(|(_, context)| context.is_some());
            let blocks: Vec<i64> = blocks.map(|(block, _)| block as i64).collect();
            state.insert_tensor(CONTEXT_BLOCKS, blocks);
            insert(&mut state, CONTEXTS, &contexts)?;
        }
        Ok(state)
    }

    fn save_record(&self) -> Option<&SaveRecord> {
        Some(&self.record)
    }
}

/// Returns the rows of all buffers, which have one layout; `None` if there is none.
fn joined(buffers: &[Option<Buffer>]) -> Option<Buffer> {
    let mut buffers = buffers.iter().flatten();
    let mut all = buffers.next()?.clone();
    for buffer in buffers {
        // The layouts are the same.
        drop(all.extend_from(buffer, 0..buffer.rows()));
    }
    Some(all)
}

/// Adds the leaves of a column, numbered.
fn insert(state: &mut State, name: &str, column: &Buffer) -> Result<(), CheckpointError> {
    for (index, (_, leaf)) in column.leaves().into_iter().enumerate() {
        let rows = leaf.rows();
        let shaped = |shape: Vec<usize>| [vec![rows], shape].concat();
        let array = match leaf.clone().into_parts() {
            Parts::Float(data, shape) => Array::new(shaped(shape), data)?,
            Parts::Byte(data, shape) => Array::new(shaped(shape), data)?,
            Parts::Int(data, shape) => Array::new(shaped(shape), data)?,
            // They are not leaves.
            Parts::Dict(_) | Parts::Tuple(_) => continue,
        };
        state.insert_tensor(format!("{name}.{index}"), array);
    }
    Ok(())
}

/// Takes a column of a layout from its numbered leaves, or returns an empty column if the state has no such leaf.
fn column(state: &mut State, name: &str, layout: &Buffer) -> Result<Buffer> {
    if !state.tensors.contains_key(&format!("{name}.0")) {
        return Ok(layout.slice(0..0)?);
    }
    let column = part(state, name, layout, &mut 0)?;
    let mut fits = layout.slice(0..0)?;
    match fits.extend_from(&column, 0..0) {
        Ok(()) => Ok(column),
        Err(_) => Err(invalid("a column has another layout than the column names say")),
    }
}

fn part(state: &mut State, name: &str, layout: &Buffer, next: &mut usize) -> Result<Buffer> {
    if let Ok(parts) = layout.as_dict() {
        let parts = parts.iter().map(|(key, layout)| Ok((key, part(state, name, layout, next)?)));
        return Ok(Buffer::from_dict(parts.collect::<Result<Vec<_>>>()?)?);
    }
    if let Ok(parts) = layout.as_tuple() {
        let parts = parts.iter().map(|layout| part(state, name, layout, next));
        return Ok(Buffer::from_tuple(parts.collect::<Result<Vec<_>>>()?)?);
    }
    let (shape, data) = state.take_tensor(&format!("{name}.{next}"))?.into_parts();
    *next += 1;
    let shape = shape.get(1..).unwrap_or_default();
    Ok(match data {
        ArrayData::F32(data) => Buffer::from_f32(data, shape)?,
        ArrayData::U8(data) => Buffer::from_u8(data, shape)?,
        ArrayData::I64(data) => Buffer::from_i64(data, shape)?,
        other => return Err(invalid(&format!("a column holds {}", other.dtype()))),
    })
}

pub(super) fn invalid(reason: &str) -> LearnerError {
    LearnerError::InvalidState { component: "replay buffer".into(), reason: reason.into() }
}
