//! Steps of one module in blocks of rows: each block belongs to one environment or agent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rekindle_core::Columns;
use rekindle_env::{AgentId, Buffer};
use rekindle_env_runner::{Rollout, Segment, SegmentEnd};

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
}

/// The stream of steps of one environment, or of one agent in it.
pub(super) type StreamKey = (usize, usize, Option<AgentId>);

/// Consecutive steps of one stream, of one or several episodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) len: usize,
    /// The number of the stream's next block.
    pub(super) next: Option<usize>,
    pub(super) stream: Option<StreamKey>,
    /// The observations after the last steps of episodes: the offsets of these steps, ascending.
    pub(super) final_rows: Vec<usize>,
    pub(super) finals: Option<Buffer>,
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
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// Rows of a block.
    pub(super) block_len: usize,
    pub(super) capacity: usize,
    pub(super) rows: usize,
    pub(super) blocks: Vec<Block>,
    /// Numbers of blocks, oldest first, and of those that are not in use.
    pub(super) ages: VecDeque<usize>,
    pub(super) free: Vec<usize>,
    pub(super) streams: BTreeMap<StreamKey, Head>,
    pub(super) follows: Vec<Follows>,
    pub(super) rewards: Vec<f32>,
    pub(super) columns: BTreeMap<String, Buffer>,
}

/// Where the observation after a row is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum After<'a> {
    /// In a row of the storage.
    Row(usize),
    /// In a row of another buffer.
    Other(&'a Buffer, usize),
}

impl Storage {
    pub(super) fn new(capacity: usize, block_len: usize) -> Self {
        Self {
            block_len,
            capacity,
            rows: 0,
            blocks: Vec::new(),
            ages: VecDeque::new(),
            free: Vec::new(),
            streams: BTreeMap::new(),
            follows: Vec::new(),
            rewards: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    /// The number of stored steps.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The number of rows that have memory, stored steps or not.
    pub(super) fn slots(&self) -> usize {
        self.follows.len()
    }

    pub(super) fn follows(&self, row: usize) -> Follows {
        self.follows.get(row).copied().unwrap_or(Follows::Absent)
    }

    pub(super) fn reward(&self, row: usize) -> f32 {
        self.rewards.get(row).copied().unwrap_or_default()
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = (&String, &Buffer)> {
        self.columns.iter()
    }

    /// Whether numbers of blocks and offsets are those of rows that exist, for saved states.
    pub(super) fn is_consistent(&self) -> bool {
        let (rows, count) = (self.follows.len(), self.blocks.len());
        let is_block = |block: &usize| *block < count;
        let stored = |index: usize, block: &Block| {
            let first = index * self.block_len;
            let of_block = self.follows.get(first..first + self.block_len);
            of_block.is_some_and(|follows| {
                let (stored, rest) = follows.split_at(block.len.min(self.block_len));
                !stored.contains(&Follows::Absent)
                    && rest.iter().all(|follows| *follows == Follows::Absent)
            })
        };
        let fits = |(index, block): (usize, &Block)| {
            block.len <= self.block_len
                && stored(index, block)
                && block.next.iter().all(is_block)
                && block.final_rows.iter().all(|offset| *offset < block.len)
                && block.final_rows.windows(2).all(|pair| pair[0] < pair[1])
        };
        let numbers = self.ages.iter().chain(&self.free);
        let distinct: BTreeSet<_> = numbers.clone().collect();
        self.block_len > 0
            && self.block_len.checked_mul(count) == Some(rows)
            && self.rewards.len() == rows
            && distinct.len() == count
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

    /// Appends the steps of a rollout, with those of its columns that are kept. Calls `stored` and
    /// `dropped` with the rows of new steps and of the oldest ones, which make room.
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
            let mut block = self.begin(&key, segment);
            for row in segment.rows() {
                let next = self.next_slot(block, &key, &mut changed);
                let slot = next.0 * self.block_len + next.1;
                block = Some(next.0);
                for (name, column) in &columns {
                    if let Some(stored) = self.columns.get_mut(*name) {
                        stored.copy_row(slot, column, row)?;
                    }
                }
                self.rewards[slot] = rollout.rewards.get(row).copied().unwrap_or_default();
                self.follows[slot] = Follows::Step;
                self.rows += 1;
                changed(slot, true);
            }
            if let Some(block) = block {
                self.end(block, key, segment, rollout.final_observations.slice(index..index + 1)?)?;
            }
        }
        Ok(())
    }

    /// Returns the row of the next step of the episode, if it is stored.
    pub(super) fn successor(&self, row: usize) -> Option<usize> {
        if self.follows(row) != Follows::Step {
            return None;
        }
        let (block, offset) = (row / self.block_len, row % self.block_len);
        let of_block = self.blocks.get(block)?;
        if offset + 1 < of_block.len {
            return Some(row + 1);
        }
        of_block.next.map(|next| next * self.block_len)
    }

    /// Returns where the observation after a row is.
    pub(super) fn after(&self, row: usize) -> Option<After<'_>> {
        if let Some(next) = self.successor(row) {
            return Some(After::Row(next));
        }
        let (block, offset) = (row / self.block_len, row % self.block_len);
        let of_block = self.blocks.get(block)?;
        if self.follows(row) == Follows::Step {
            let head = self.streams.get(of_block.stream.as_ref()?)?;
            return Some(After::Other(&head.next_observation, 0));
        }
        let index = of_block.final_rows.binary_search(&offset).ok()?;
        Some(After::Other(of_block.finals.as_ref()?, index))
    }

    /// Checks the columns of a rollout that are kept, and makes room for their first rows.
    fn kept<'a>(
        &mut self,
        rollout: &'a Rollout,
        keep: &BTreeSet<String>,
    ) -> Result<Vec<(&'a str, &'a Buffer)>> {
        let mut columns =
            vec![(Columns::OBS, &rollout.observations), (Columns::ACTIONS, &rollout.actions)];
        for name in keep {
            let Some((name, column)) = rollout.extras.get_key_value(name) else {
                return Err(LearnerError::ColumnOfSomeRollouts { column: name.clone() });
            };
            columns.push((name, column));
        }
        for (name, column) in &columns {
            let layout = |source| LearnerError::ColumnLayout {
                column: (*name).to_owned(),
                source: Box::new(source),
            };
            match self.columns.get_mut(*name) {
                Some(stored) => stored.extend_from(column, 0..0).map_err(layout)?,
                None => {
                    let mut empty = column.slice(0..0)?;
                    empty.extend_zeros(self.follows.len());
                    self.columns.insert((*name).to_owned(), empty);
                }
            }
        }
        Ok(columns)
    }

    /// Returns the block that a segment continues in. An earlier episode of the stream that did not end ends
    /// here: its next step was lost.
    fn begin(&mut self, key: &StreamKey, segment: &Segment) -> Option<usize> {
        let head = self.streams.get_mut(key)?;
        let block = head.block;
        let continues = head.episode == segment.episode && head.t == Some(segment.t_started);
        if head.t.is_some() && !continues && segment.len > 0 {
            head.t = None;
            let next = head.next_observation.clone();
            let offset = self.blocks.get(block)?.len - 1;
            self.follows[block * self.block_len + offset] = Follows::Truncated;
            self.add_final(block, offset, &next);
        }
        Some(block)
    }

    /// Returns the block and offset of the stream's next row.
    fn next_slot(
        &mut self,
        block: Option<usize>,
        key: &StreamKey,
        changed: &mut impl FnMut(usize, bool),
    ) -> (usize, usize) {
        while self.rows >= self.capacity && self.ages.len() > 1 {
            self.drop_oldest(block, changed);
        }
        if let Some(block) = block
            && self.blocks[block].len < self.block_len
        {
            let offset = self.blocks[block].len;
            self.blocks[block].len += 1;
            return (block, offset);
        }
        let new = self.free.pop().unwrap_or_else(|| self.grow());
        self.blocks[new] = Block { len: 1, stream: Some(key.clone()), ..Block::default() };
        self.ages.push_back(new);
        if let Some(block) = block {
            self.blocks[block].next = Some(new);
        }
        if let Some(head) = self.streams.get_mut(key) {
            head.block = new;
        }
        (new, 0)
    }

    /// Drops the oldest block that is not `kept`.
    fn drop_oldest(&mut self, kept: Option<usize>, changed: &mut impl FnMut(usize, bool)) {
        let Some(index) = self.ages.iter().position(|block| Some(*block) != kept) else { return };
        let Some(block) = self.ages.remove(index) else { return };
        let Block { len, stream, .. } = std::mem::take(&mut self.blocks[block]);
        for row in block * self.block_len..block * self.block_len + len {
            self.follows[row] = Follows::Absent;
            changed(row, false);
        }
        self.rows -= len;
        self.free.push(block);
        // The stream of an environment or agent that has not acted for long begins anew.
        if let Some(key) = stream
            && self.streams.get(&key).is_some_and(|head| head.block == block)
        {
            self.streams.remove(&key);
        }
    }

    /// Adds memory for a block, and returns its number.
    fn grow(&mut self) -> usize {
        self.blocks.push(Block::default());
        let rows = self.blocks.len() * self.block_len;
        self.follows.resize(rows, Follows::Absent);
        self.rewards.resize(rows, 0.0);
        self.columns.values_mut().for_each(|column| column.extend_zeros(self.block_len));
        self.blocks.len() - 1
    }

    /// Records how a segment ends.
    fn end(&mut self, block: usize, key: StreamKey, segment: &Segment, next: Buffer) -> Result<()> {
        if segment.len == 0 {
            return Ok(());
        }
        let offset = self.blocks[block].len - 1;
        let row = block * self.block_len + offset;
        let t = match segment.end {
            SegmentEnd::Cut => Some(segment.t_started + segment.len),
            end => {
                let terminated = end == SegmentEnd::Terminated;
                self.follows[row] =
                    if terminated { Follows::Terminated } else { Follows::Truncated };
                self.add_final(block, offset, &next);
                None
            }
        };
        let head = Head { block, episode: segment.episode, t, next_observation: next };
        self.streams.insert(key, head);
        Ok(())
    }

    fn add_final(&mut self, block: usize, offset: usize, observation: &Buffer) {
        let Some(block) = self.blocks.get_mut(block) else { return };
        block.final_rows.push(offset);
        match &mut block.finals {
            // The layout is that of the stored observations.
            Some(finals) => drop(finals.extend_from(observation, 0..1)),
            None => block.finals = Some(observation.clone()),
        }
    }
}
