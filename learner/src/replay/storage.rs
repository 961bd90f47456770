//! Steps of one module in blocks of rows: each block belongs to one environment or agent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rekindle_core::Columns;
use rekindle_env::{AgentId, Buffer};
use rekindle_env_runner::{Rollout, Segment, SegmentEnd};

use super::chunk::{self, Chunk};
use super::frames::Frames;
use super::slots::Slot;
use crate::error::{LearnerError, Result};

/// What follows a stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// No step is stored in the row.
    Absent = 0,
    /// The next step of the episode, now or when it arrives.
    Step = 1,
    /// Nothing: the environment ended the episode.
    Terminated = 2,
    /// An observation without a step: the episode was cut off.
    Truncated = 3,
}

impl Follows {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Absent, Self::Step, Self::Terminated, Self::Truncated];
        all.into_iter().find(|follows| *follows as u8 == byte)
    }

    /// Whether the row is the last one of an episode.
    pub(super) fn ends(self) -> bool {
        matches!(self, Self::Terminated | Self::Truncated)
    }
}

/// The stream of steps of one environment, or of one agent in it.
pub(super) type StreamKey = (usize, usize, Option<AgentId>);

/// Consecutive steps of one stream, of one or several episodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) len: usize,
    /// The numbers of the stream's next block and of the one before.
    pub(super) next: Option<usize>,
    pub(super) before: Option<usize>,
    pub(super) stream: Option<StreamKey>,
    /// The offsets of the last steps of episodes, ascending. The chunk has the observations after them.
    pub(super) final_rows: Vec<usize>,
}

/// Consecutive slots of one block.
struct Slots {
    block: usize,
    /// The first slot.
    slot: usize,
    count: usize,
}

/// The end of a stream so far.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) block: usize,
    pub(super) episode: u64,
    /// Steps of the episode so far; `None` if it has ended.
    pub(super) t: Option<usize>,
    /// The observation after the last step, one row.
    pub(super) next_observation: Buffer,
}

/// The rows of one module. Those of a block are written once, in order, and dropped together: the oldest
/// block first.
///
/// Chunks hold the rows of consecutive blocks. States share them, so that a chunk is copied if it changes while
/// a state has it.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// Rows of a block.
    pub(super) block_len: usize,
    /// Rows of a chunk.
    pub(super) chunk_rows: usize,
    pub(super) capacity: usize,
    pub(super) rows: usize,
    pub(super) blocks: Vec<Block>,
    /// Numbers of blocks, oldest first, and of those that are not in use.
    pub(super) ages: VecDeque<usize>,
    pub(super) free: Vec<usize>,
    pub(super) streams: BTreeMap<StreamKey, Head>,
    pub(super) chunks: Vec<Arc<Chunk>>,
    /// The layouts of the columns by name: buffers without rows. Chunks have the columns in this order.
    pub(super) columns: BTreeMap<String, Buffer>,
    /// The index of the observations among the columns.
    pub(super) obs: usize,
    /// Frames of an observation, as the runners say.
    pub(super) num_frames: usize,
    /// How observations stack frames, when chunks store only the newest frame; `None` when they store whole
    /// observations.
    pub(super) frames: Option<Frames>,
}

impl Storage {
    pub(super) fn new(capacity: usize, block_len: usize) -> Self {
        Self {
            block_len,
            chunk_rows: block_len,
            capacity,
            rows: 0,
            blocks: Vec::new(),
            ages: VecDeque::new(),
            free: Vec::new(),
            streams: BTreeMap::new(),
            chunks: Vec::new(),
            columns: BTreeMap::new(),
            obs: 0,
            num_frames: 1,
            frames: None,
        }
    }

    /// The number of stored steps.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The number of rows of all blocks, stored steps or not.
    pub(super) fn slots(&self) -> usize {
        self.blocks.len() * self.block_len
    }

    /// Returns the chunk of a row, and the row in it.
    pub(super) fn at(&self, row: usize) -> (usize, usize) {
        (row / self.chunk_rows, row % self.chunk_rows)
    }

    pub(super) fn follows(&self, row: usize) -> Follows {
        let (chunk, row) = self.at(row);
        let follows = self.chunks.get(chunk).and_then(|chunk| chunk.follows.get(row));
        follows.copied().unwrap_or(Follows::Absent)
    }

    /// Returns a chunk for changes.
    pub(super) fn chunk_mut(&mut self, chunk: usize) -> &mut Chunk {
        let chunk = Arc::make_mut(&mut self.chunks[chunk]);
        chunk.record.clear();
        chunk
    }

    /// Whether numbers of blocks and offsets are those of rows that exist, for saved states.
    pub(super) fn is_consistent(&self) -> bool {
        let count = self.blocks.len();
        let is_block = |block: &usize| *block < count;
        let stored = |index: usize, block: &Block| {
            let first = index * self.block_len;
            (0..self.block_len).all(|offset| {
                (self.follows(first + offset) == Follows::Absent) == (offset >= block.len)
            })
        };
        let fits = |(index, block): (usize, &Block)| {
            block.len <= self.block_len
                && stored(index, block)
                && block.next.iter().all(is_block)
                && block.final_rows.iter().all(|offset| *offset < block.len)
        };
        let numbers = self.ages.iter().chain(&self.free);
        let distinct: BTreeSet<_> = numbers.clone().collect();
        distinct.len() == count
            && self.ages.len() + self.free.len() == count
            && numbers.clone().all(is_block)
            && self.ages.iter().all(|block| self.blocks[*block].len > 0)
            && self.free.iter().all(|block| self.blocks[*block].len == 0)
            && self.blocks.iter().enumerate().all(fits)
            && self
                .streams
                .values()
                .all(|head| self.blocks.get(head.block).is_some_and(|block| block.len > 0))
    }

    /// Appends the steps of a rollout, with those of its columns that are kept. Calls `changed` with each row that
    /// is stored (`true`), and with each of the oldest rows that are dropped to make room (`false`).
    ///
    /// # Errors
    /// [`LearnerError::ColumnOfSomeRollouts`] if a kept column is missing, [`LearnerError::ColumnLayout`] if
    /// its layout is not that of the stored rows. Nothing is stored then.
    pub(super) fn push(
        &mut self,
        rollout: &Rollout,
        keep: &BTreeSet<String>,
        mut changed: impl FnMut(usize, bool),
    ) -> Result<()> {
        let columns = self.kept(rollout, keep)?;
        for (index, segment) in rollout.segments.iter().enumerate() {
            let key = (rollout.runner, segment.env, segment.agent.clone());
            let mut block = self.begin(&key, segment)?;
            let mut opens = self.opens(block, rollout, segment);
            let mut stored = 0;
            while stored < segment.len {
                let wanted = segment.len - stored;
                let next = self.next_slots(block, opens, wanted, &key, &mut changed)?;
                let rows = segment.rows().skip(stored).take(next.count);
                if let (Some(frames), true, Some(row)) =
                    (self.frames, std::mem::take(&mut opens), rows.clone().next())
                {
                    self.set_context(frames, next.block, (&rollout.observations, row))?;
                }
                self.store(&columns, &rollout.rewards, rows, next.slot)?;
                (next.slot..next.slot + next.count).for_each(|slot| changed(slot, true));
                (block, stored) = (Some(next.block), stored + next.count);
            }
            if let Some(block) = block {
                self.end(block, key, segment, rollout.final_observations.slice(index..index + 1)?)?;
            }
        }
        Ok(())
    }

    /// Writes rows of the columns of a rollout to consecutive slots of one block.
    fn store(
        &mut self,
        columns: &[&Buffer],
        rewards: &[f32],
        rows: impl ExactSizeIterator<Item = usize> + Clone,
        slot: usize,
    ) -> Result<()> {
        let (chunk, at) = self.at(slot);
        let (frames, obs, count) = (self.frames, self.obs, rows.len());
        let chunk = self.chunk_mut(chunk);
        for (index, (stored, column)) in chunk.columns.iter_mut().zip(columns).enumerate() {
            match frames.filter(|_| index == obs) {
                Some(frames) => {
                    for (offset, row) in rows.clone().enumerate() {
                        frames.take(column, row, frames.count - 1, (stored, at + offset));
                    }
                }
                None => stored.copy_rows(at, column, rows.clone())?,
            }
        }
        for (stored, row) in chunk.rewards[at..at + count].iter_mut().zip(rows) {
            *stored = rewards.get(row).copied().unwrap_or_default();
        }
        chunk.follows[at..at + count].fill(Follows::Step);
        self.rows += count;
        Ok(())
    }

    /// Returns the row of the next step of the episode, if it is stored.
    pub(super) fn successor(&self, row: usize) -> Option<usize> {
        let (chunk, at) = self.at(row);
        let follows = &self.chunks.get(chunk)?.follows;
        if *follows.get(at)? != Follows::Step {
            return None;
        }
        // A chunk begins with a block, and the rows of a block are stored in order.
        let in_block = !(at + 1).is_multiple_of(self.block_len);
        if in_block && follows.get(at + 1).is_some_and(|next| *next != Follows::Absent) {
            return Some(row + 1);
        }
        self.blocks.get(row / self.block_len)?.next.map(|next| next * self.block_len)
    }

    /// Returns the row of the step before in the same episode, if it is stored.
    pub(super) fn predecessor(&self, row: usize) -> Option<usize> {
        let (block, offset) = (row / self.block_len, row % self.block_len);
        let before = match offset {
            0 => {
                let before = self.blocks.get(block)?.before?;
                before * self.block_len + self.blocks.get(before)?.len.checked_sub(1)?
            }
            _ => row - 1,
        };
        (!self.follows(before).ends()).then_some(before)
    }

    /// Returns where the observation after a row is, given the row of the next step; the row itself if there is
    /// none.
    pub(super) fn after(&self, row: usize, successor: Option<usize>) -> Slot<'_> {
        let unstored = || self.unstored_after(row).unwrap_or(Slot::Row(row));
        successor.map_or_else(unstored, Slot::Row)
    }

    /// Returns the observation after the last stored step of an episode.
    fn unstored_after(&self, row: usize) -> Option<Slot<'_>> {
        let (block, offset) = (row / self.block_len, row % self.block_len);
        let of_block = self.blocks.get(block)?;
        if self.follows(row) == Follows::Step {
            let head = self.streams.get(of_block.stream.as_ref()?)?;
            return Some(Slot::Open(row, &head.next_observation));
        }
        let index = of_block.final_rows.binary_search(&offset).ok()?;
        let (chunk, first) = self.at(block * self.block_len);
        let finals = self.chunks.get(chunk)?.finals.get(first / self.block_len)?.as_ref()?;
        Some(Slot::Final(row, finals, index))
    }

    /// Returns the layout of a column: a buffer without rows.
    ///
    /// # Errors
    /// [`LearnerError::EmptyReplay`] if nothing was stored.
    pub(super) fn layout(&self, index: usize) -> Result<&Buffer> {
        self.columns.values().nth(index).ok_or(LearnerError::EmptyReplay)
    }

    /// Returns the columns of a rollout that are kept, in order of their names. Those of the first rollout
    /// decide on the layouts, and on the size of chunks.
    fn kept<'a>(
        &mut self,
        rollout: &'a Rollout,
        keep: &BTreeSet<String>,
    ) -> Result<Vec<&'a Buffer>> {
        let mut columns = BTreeMap::from([
            (Columns::OBS, &rollout.observations),
            (Columns::ACTIONS, &rollout.actions),
        ]);
        for name in keep {
            let column = match (name.as_str(), &rollout.states) {
                (Columns::STATE_IN, Some(states)) => Some(&states.state_in),
                _ => rollout.extras.get(name),
            };
            let Some(column) = column else {
                return Err(LearnerError::ColumnOfSomeRollouts { column: name.clone() });
            };
            columns.insert(name, column);
        }
        if self.columns.is_empty() {
            let layouts =
                columns.iter().map(|(name, column)| Ok(((*name).to_owned(), column.slice(0..0)?)));
            self.set_layouts(layouts.collect::<Result<_>>()?);
            let layouts = self.stored_layouts()?;
            let blocks = chunk::blocks(self.capacity, self.block_len, layouts.iter());
            self.chunk_rows = blocks * self.block_len;
        }
        for (name, column) in &columns {
            let layout = |source| LearnerError::ColumnLayout {
                column: (*name).to_owned(),
                source: Box::new(source),
            };
            if let Some(stored) = self.columns.get_mut(*name) {
                stored.extend_from(column, 0..0).map_err(layout)?;
            }
        }
        Ok(columns.into_values().collect())
    }

    /// Sets the layouts of the columns.
    pub(super) fn set_layouts(&mut self, columns: BTreeMap<String, Buffer>) {
        self.obs = columns.keys().position(|name| name == Columns::OBS).unwrap_or_default();
        let layout = columns.get(Columns::OBS);
        self.frames = layout.and_then(|layout| Frames::of(layout, self.num_frames));
        self.columns = columns;
    }

    /// Returns the layouts of the columns of chunks.
    pub(super) fn stored_layouts(&self) -> Result<Vec<Buffer>> {
        let layouts = self.columns.values().enumerate().map(|(index, layout)| {
            match self.frames.filter(|_| index == self.obs) {
                Some(frames) => frames.layout(layout),
                None => Ok(layout.clone()),
            }
        });
        layouts.collect()
    }

    /// Whether a segment needs a new block: its first observation has other frames than those of the rows
    /// before it.
    fn opens(&self, block: Option<usize>, rollout: &Rollout, segment: &Segment) -> bool {
        match (self.frames, block, segment.rows().next()) {
            (Some(frames), Some(block), Some(row)) => {
                !self.continues(frames, block, &rollout.observations, row)
            }
            (Some(_), None, Some(_)) => true,
            _ => false,
        }
    }

    /// Returns the block that a segment continues in. An earlier episode of the stream that did not end ends
    /// here: its next step was lost.
    fn begin(&mut self, key: &StreamKey, segment: &Segment) -> Result<Option<usize>> {
        let Some(head) = self.streams.get_mut(key) else { return Ok(None) };
        let block = head.block;
        let continues = head.episode == segment.episode && head.t == Some(segment.t_started);
        if head.t.is_some() && !continues && segment.len > 0 {
            head.t = None;
            let next = head.next_observation.clone();
            let offset = self.blocks[block].len - 1;
            self.add_final(block, offset, Follows::Truncated, &next)?;
        }
        Ok(Some(block))
    }

    /// Makes room for rows of a stream, at least one and at most `wanted`, in a new block if the segment opens one.
    fn next_slots(
        &mut self,
        block: Option<usize>,
        opens: bool,
        wanted: usize,
        key: &StreamKey,
        changed: &mut impl FnMut(usize, bool),
    ) -> Result<Slots> {
        while self.rows >= self.capacity && self.ages.len() > 1 {
            self.drop_oldest(block, changed)?;
        }
        let room = wanted.min(self.capacity.saturating_sub(self.rows)).max(1);
        let current = block.filter(|block| !opens && self.blocks[*block].len < self.block_len);
        let block = match current {
            Some(block) => block,
            None => self.open_block(block, key)?,
        };
        let offset = self.blocks[block].len;
        let count = room.min(self.block_len - offset);
        self.blocks[block].len += count;
        Ok(Slots { block, slot: block * self.block_len + offset, count })
    }

    /// Adds an empty block to a stream, whose last block was `before`, and returns its number.
    fn open_block(&mut self, before: Option<usize>, key: &StreamKey) -> Result<usize> {
        let new = match self.free.pop() {
            Some(free) => free,
            None => self.grow()?,
        };
        self.blocks[new] = Block { before, stream: Some(key.clone()), ..Block::default() };
        self.ages.push_back(new);
        if let Some(before) = before {
            self.blocks[before].next = Some(new);
        }
        if let Some(head) = self.streams.get_mut(key) {
            head.block = new;
        }
        Ok(new)
    }

    /// Drops the oldest block that is not `kept`.
    fn drop_oldest(
        &mut self,
        kept: Option<usize>,
        changed: &mut impl FnMut(usize, bool),
    ) -> Result<()> {
        let index = self.ages.iter().position(|block| Some(*block) != kept);
        let Some(block) = index.and_then(|index| self.ages.remove(index)) else { return Ok(()) };
        if let Some(next) = self.blocks[block].next {
            self.keep_context(next)?;
            self.blocks[next].before = None;
        }
        let Block { len, stream, .. } = std::mem::take(&mut self.blocks[block]);
        let row = block * self.block_len;
        let ((chunk, first), of_block) = (self.at(row), row..row + len);
        let in_chunk = first / self.block_len;
        let chunk = self.chunk_mut(chunk);
        chunk.follows[first..first + len].fill(Follows::Absent);
        chunk.finals[in_chunk] = None;
        chunk.contexts[in_chunk] = None;
        of_block.for_each(|row| changed(row, false));
        self.rows -= len;
        self.free.push(block);
        // The stream of an environment or agent that has not acted for long begins anew.
        if let Some(key) = stream
            && self.streams.get(&key).is_some_and(|head| head.block == block)
        {
            self.streams.remove(&key);
        }
        Ok(())
    }

    /// Adds a block, in a new chunk if the last one is full, and returns its number.
    fn grow(&mut self) -> Result<usize> {
        if self.slots() >= self.chunks.len() * self.chunk_rows {
            let blocks = self.chunk_rows / self.block_len;
            let chunk = Chunk::new(blocks, self.block_len, self.stored_layouts()?.iter());
            self.chunks.push(Arc::new(chunk));
        }
        self.blocks.push(Block::default());
        Ok(self.blocks.len() - 1)
    }

    /// Records how a segment ends.
    fn end(&mut self, block: usize, key: StreamKey, segment: &Segment, next: Buffer) -> Result<()> {
        if segment.len == 0 {
            return Ok(());
        }
        let offset = self.blocks[block].len - 1;
        let t = match segment.end {
            SegmentEnd::Cut => Some(segment.t_started + segment.len),
            end => {
                let terminated = end == SegmentEnd::Terminated;
                let follows = if terminated { Follows::Terminated } else { Follows::Truncated };
                self.add_final(block, offset, follows, &next)?;
                None
            }
        };
        let head = Head { block, episode: segment.episode, t, next_observation: next };
        self.streams.insert(key, head);
        Ok(())
    }

    /// Ends the episode in a row of a block, and stores the observation after it, or its newest frame.
    fn add_final(
        &mut self,
        block: usize,
        offset: usize,
        follows: Follows,
        observation: &Buffer,
    ) -> Result<()> {
        let observation = match self.frames {
            None => observation.clone(),
            Some(frames) => {
                let mut frame = frames.layout(observation)?;
                frame.extend_zeros(1);
                frames.take(observation, 0, frames.count - 1, (&mut frame, 0));
                frame
            }
        };
        let (chunk, row) = self.at(block * self.block_len + offset);
        let in_chunk = row / self.block_len;
        self.blocks[block].final_rows.push(offset);
        let chunk = self.chunk_mut(chunk);
        chunk.follows[row] = follows;
        match &mut chunk.finals[in_chunk] {
            Some(finals) => finals.extend_from(&observation, 0..1)?,
            none => *none = Some(observation),
        }
        Ok(())
    }
}
