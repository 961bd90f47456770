//! Saved replay buffers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use rekindle_checkpoint::{Array, CheckpointError, Shard, State};
use rekindle_core::Columns;
use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use super::ReplayBuffer;
use super::chunk::{Chunk, invalid};
use super::config::ReplayConfig;
use super::storage::{Block, Follows, Head, Storage, StreamKey};
use super::sum_tree::SumTree;
use crate::error::Result;
use crate::train_data::state::{buffer, named, numbered, of_buffer};

/// The plain part. Chunks of rows are shards.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    block_len: usize,
    chunk_rows: usize,
    chunks: usize,
    num_frames: usize,
    largest: f64,
    keep: BTreeSet<String>,
    ages: VecDeque<usize>,
    free: Vec<usize>,
    /// The streams of blocks, which refer to them by their numbers.
    streams: Vec<StreamKey>,
    heads: Vec<SavedHead>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedHead {
    stream: StreamKey,
    block: usize,
    episode: u64,
    t: Option<usize>,
}

/// For each block its length, the number of the next block, and that of its stream; −1 for none.
const BLOCKS: &str = "blocks";
/// The layouts of the columns: buffers without rows.
const COLUMNS: &str = "columns";
/// The part with a numbered shard for each chunk.
const ROWS: &str = "rows";
/// The part with numbered shards of [`PRIORITIES_OF_SHARD`] priorities each.
const PRIORITIES: &str = "priorities";
const PRIORITIES_OF_SHARD: usize = 1 << 18;
const NEXT_OBSERVATIONS: &str = "next_observations";

/// The priorities of some rows. They change with every update, so that they are written at
/// every save.
#[derive(Debug)]
struct Priorities {
    tree: Arc<SumTree>,
    rows: Range<usize>,
}

impl Shard for Priorities {
    fn get_state(&self) -> Result<State, CheckpointError> {
        let priorities: Vec<f64> = self.rows.clone().map(|row| self.tree.priority(row)).collect();
        Ok(State::new().with_tensor(PRIORITIES, priorities))
    }
}

impl ReplayBuffer {
    /// Returns the stored steps and priorities. The state shares them with the buffer, which copies what it
    /// changes as long as the state exists.
    ///
    /// # Errors
    /// If a column does not fit into a state.
    pub fn get_state(&self) -> Result<State> {
        let Storage { block_len, chunk_rows, blocks, ages, free, streams, chunks, columns, .. } =
            &self.storage;
        let keys: BTreeSet<&StreamKey> =
            blocks.iter().filter_map(|block| block.stream.as_ref()).collect();
        let number_of: BTreeMap<_, _> =
            keys.iter().enumerate().map(|(number, key)| (*key, number)).collect();
        let numbers = blocks.iter().flat_map(|block| {
            let stream = block.stream.as_ref().and_then(|stream| number_of.get(stream));
            let number = |number: Option<usize>| number.map_or(-1, |number| number as i64);
            [block.len as i64, number(block.next), number(stream.copied())]
        });
        let numbers = Array::new([blocks.len(), 3], numbers.collect::<Vec<i64>>())?;
        let saved = Saved {
            block_len: *block_len,
            chunk_rows: *chunk_rows,
            chunks: chunks.len(),
            num_frames: self.storage.num_frames,
            largest: self.largest,
            keep: self.keep.clone(),
            ages: ages.clone(),
            free: free.clone(),
            streams: keys.into_iter().cloned().collect(),
            heads: streams.iter().map(SavedHead::of).collect(),
        };
        let mut state = State::from_data(&saved)?.with_tensor(BLOCKS, numbers);
        let layouts = columns.iter().map(|(name, layout)| (name.clone(), layout.clone()));
        state.insert_component(COLUMNS, numbered(layouts)?);
        let mut rows = State::new();
        for (index, chunk) in chunks.iter().enumerate() {
            rows.insert_shard(index.to_string(), chunk.clone());
        }
        state.insert_component(ROWS, rows);
        if let Some(tree) = &self.tree {
            let (slots, mut parts) = (self.storage.slots(), State::new());
            for (index, first) in (0..slots).step_by(PRIORITIES_OF_SHARD).enumerate() {
                let rows = first..slots.min(first + PRIORITIES_OF_SHARD);
                let part = Priorities { tree: tree.clone(), rows };
                parts.insert_shard(index.to_string(), Arc::new(part));
            }
            state.insert_component(PRIORITIES, parts);
        }
        if let Some(next) = all(streams.values().map(|head| &head.next_observation))? {
            state.insert_component(NEXT_OBSERVATIONS, of_buffer(next)?);
        }
        Ok(state)
    }

    /// Creates a buffer with saved steps. Its capacity and priorities are those of `config`: steps beyond the
    /// capacity are dropped when new ones are stored.
    ///
    /// The steps are moved out of a state that was read, so that restoring needs memory for only one copy of them. The
    /// next save links the files of chunks that have not changed.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`](crate::LearnerError::InvalidState) if the parts of the state do not fit
    /// together.
    pub fn from_state(config: ReplayConfig, mut state: State) -> Result<Self> {
        let saved: Saved = state.data_as()?;
        let columns: BTreeMap<String, Buffer> =
            named(state.component(COLUMNS)?)?.into_iter().collect();
        let storage = Self::storage(config.capacity, &saved, columns, &mut state)?;
        let tree = match &config.prioritized {
            None => None,
            Some(_) => Some(Arc::new(priorities(&storage, &mut state)?)),
        };
        if !(saved.largest > 0.0 && saved.largest.is_finite()) {
            return Err(invalid("its largest priority is not a positive number"));
        }
        Ok(Self { config, storage, keep: saved.keep, tree, largest: saved.largest })
    }

    fn storage(
        capacity: usize,
        saved: &Saved,
        columns: BTreeMap<String, Buffer>,
        state: &mut State,
    ) -> Result<Storage> {
        let &Saved { block_len, chunk_rows, chunks: count, .. } = saved;
        let is_there = |name: &str| columns.contains_key(name);
        let kept = is_there(Columns::OBS)
            && is_there(Columns::ACTIONS)
            && saved.keep.iter().all(|name| is_there(name));
        if count > 0 && !kept {
            return Err(invalid("a column is missing"));
        }
        // What has no memory cannot be allocated: every chunk has its own shard.
        let blocks_of_chunk = chunk_rows.checked_div(block_len).unwrap_or_default();
        let slots = count.checked_mul(blocks_of_chunk).filter(|_| blocks_of_chunk > 0);
        let numbers = state.take_tensor(BLOCKS)?;
        let (numbers, _) = numbers.as_slice::<i64>()?.as_chunks::<3>();
        if slots.is_none_or(|slots| numbers.len() > slots)
            || blocks_of_chunk.checked_mul(block_len) != Some(chunk_rows)
        {
            return Err(invalid(BLOCKS_DO_NOT_FIT));
        }
        let mut storage = Storage::new(capacity, block_len);
        storage.num_frames = saved.num_frames;
        storage.set_layouts(columns);
        let layouts = storage.stored_layouts()?;
        let (mut chunks, mut final_rows) = (Vec::new(), Vec::new());
        if let Some(observations) = layouts.get(storage.obs) {
            let (mut rows, _) = state.take_part(ROWS)?;
            for index in 0..count {
                let part = rows.take_part(&index.to_string())?;
                let size = [blocks_of_chunk, block_len];
                let frames = saved.num_frames;
                let (chunk, ends) = Chunk::from_state(part, size, &layouts, observations, frames)?;
                chunks.push(Arc::new(chunk));
                final_rows.extend(ends);
            }
        }
        let mut of_blocks = final_rows.into_iter();
        let blocks = numbers.iter().map(|numbers| {
            let final_rows = of_blocks.next()?;
            block(*numbers, &saved.streams, final_rows)
        });
        let blocks: Option<Vec<Block>> = blocks.collect();
        let mut blocks = blocks.ok_or_else(|| invalid(BLOCKS_DO_NOT_FIT))?;
        for block in 0..blocks.len() {
            if let Some(next) = blocks[block].next.and_then(|next| blocks.get_mut(next)) {
                next.before = Some(block);
            }
        }
        if of_blocks.any(|ends| !ends.is_empty()) {
            return Err(invalid(BLOCKS_DO_NOT_FIT));
        }
        let next = state.components.get(NEXT_OBSERVATIONS).map(buffer).transpose()?;
        let mut streams = BTreeMap::new();
        for (index, head) in saved.heads.iter().enumerate() {
            let Some(next) = &next else { return Err(invalid("next observations are missing")) };
            let &SavedHead { ref stream, block, episode, t } = head;
            let next_observation = next.slice(index..index + 1)?;
            streams.insert(stream.clone(), Head { block, episode, t, next_observation });
        }
        storage.chunk_rows = chunk_rows;
        storage.rows = blocks.iter().map(|block| block.len).sum();
        storage.blocks = blocks;
        storage.ages = saved.ages.clone();
        storage.free = saved.free.clone();
        storage.streams = streams;
        storage.chunks = chunks;
        match storage.is_consistent() {
            true => Ok(storage),
            false => Err(invalid(BLOCKS_DO_NOT_FIT)),
        }
    }
}

/// Returns the saved priorities. In a state without priorities, all stored rows are alike.
fn priorities(storage: &Storage, state: &mut State) -> Result<SumTree> {
    let rows = storage.slots();
    let is_stored = |row: usize| storage.follows(row) != Follows::Absent;
    let Some(mut parts) = state.components.remove(PRIORITIES) else {
        let alike = (0..rows).map(|row| if is_stored(row) { 1.0 } else { 0.0 });
        return Ok(SumTree::from_priorities(&alike.collect::<Vec<_>>()));
    };
    let mut saved = Vec::with_capacity(rows);
    for index in 0..rows.div_ceil(PRIORITIES_OF_SHARD) {
        let (part, _) = parts.take_part(&index.to_string())?;
        saved.extend_from_slice(part.tensor(PRIORITIES)?.as_slice::<f64>()?);
    }
    let fits = |(row, priority): (usize, &f64)| {
        priority.is_finite() && *priority >= 0.0 && (*priority > 0.0) == is_stored(row)
    };
    match saved.len() == rows && saved.iter().enumerate().all(fits) {
        true => Ok(SumTree::from_priorities(&saved)),
        false => Err(invalid("its priorities are not one positive number per stored row")),
    }
}

const BLOCKS_DO_NOT_FIT: &str = "its blocks do not fit its rows";

/// Returns a block from its saved numbers; `None` if one is out of range.
fn block(
    [len, next, stream]: [i64; 3],
    streams: &[StreamKey],
    final_rows: Vec<usize>,
) -> Option<Block> {
    let optional = |number: i64| match number {
        -1 => Some(None),
        number => usize::try_from(number).ok().map(Some),
    };
    let stream = match optional(stream)? {
        Some(number) => Some(streams.get(number)?.clone()),
        None => None,
    };
    let (len, next) = (usize::try_from(len).ok()?, optional(next)?);
    Some(Block { len, next, before: None, stream, final_rows })
}

impl SavedHead {
    fn of((stream, head): (&StreamKey, &Head)) -> Self {
        let stream = stream.clone();
        Self { stream, block: head.block, episode: head.episode, t: head.t }
    }
}

/// The rows of several buffers, one after the other.
fn all<'a>(buffers: impl Iterator<Item = &'a Buffer>) -> Result<Option<Buffer>> {
    let mut all: Option<Buffer> = None;
    for buffer in buffers {
        match &mut all {
            Some(all) => all.extend_from(buffer, 0..buffer.rows())?,
            None => all = Some(buffer.clone()),
        }
    }
    Ok(all)
}
