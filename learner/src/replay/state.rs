//! Saved replay buffers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rekindle_checkpoint::{Array, State};
use rekindle_core::Columns;
use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use super::ReplayBuffer;
use super::config::ReplayConfig;
use super::storage::{Block, Follows, Head, Storage, StreamKey};
use super::sum_tree::SumTree;
use crate::error::{LearnerError, Result};
use crate::train_data::state::{buffer, named, numbered, of_buffer};

/// The plain part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    block_len: usize,
    largest: f64,
    keep: BTreeSet<String>,
    ages: VecDeque<usize>,
    free: Vec<usize>,
    blocks: Vec<SavedBlock>,
    heads: Vec<SavedHead>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedBlock {
    len: usize,
    next: Option<usize>,
    stream: Option<StreamKey>,
    final_rows: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedHead {
    stream: StreamKey,
    block: usize,
    episode: u64,
    t: Option<usize>,
}

const FOLLOWS: &str = "follows";
const REWARDS: &str = "rewards";
const PRIORITIES: &str = "priorities";
const COLUMNS: &str = "columns";
const FINALS: &str = "finals";
const NEXT_OBSERVATIONS: &str = "next_observations";

impl ReplayBuffer {
    /// Returns the stored steps and priorities.
    ///
    /// # Errors
    /// If a column does not fit into a state.
    pub fn get_state(&self) -> Result<State> {
        let Storage { block_len, blocks, ages, free, streams, follows, rewards, columns, .. } =
            &self.storage;
        let saved = Saved {
            block_len: *block_len,
            largest: self.largest,
            keep: self.keep.clone(),
            ages: ages.clone(),
            free: free.clone(),
            blocks: blocks.iter().map(SavedBlock::of).collect(),
            heads: streams.iter().map(SavedHead::of).collect(),
        };
        let rows = follows.len();
        let follows: Vec<u8> = follows.iter().map(|follows| *follows as u8).collect();
        let mut state = State::from_data(&saved)?
            .with_tensor(FOLLOWS, Array::new(vec![rows], follows)?)
            .with_tensor(REWARDS, Array::new(vec![rows], rewards.clone())?);
        if let Some(tree) = &self.tree {
            let priorities: Vec<f64> = (0..rows).map(|row| tree.priority(row)).collect();
            state.insert_tensor(PRIORITIES, Array::new(vec![rows], priorities)?);
        }
        let parts = columns.iter().map(|(name, column)| (name.clone(), column.clone()));
        state.insert_component(COLUMNS, numbered(parts)?);
        let finals = blocks.iter().filter_map(|block| block.finals.as_ref());
        let next = streams.values().map(|head| &head.next_observation);
        for (name, rows) in [(FINALS, all(finals)?), (NEXT_OBSERVATIONS, all(next)?)] {
            if let Some(rows) = rows {
                state.insert_component(name, of_buffer(rows)?);
            }
        }
        Ok(state)
    }

    /// Creates a buffer with saved steps. Its capacity and priorities are those of `config`: steps beyond the
    /// capacity are dropped when new ones are stored.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`] if the parts of the state do not fit together.
    pub fn from_state(config: ReplayConfig, state: &State) -> Result<Self> {
        let saved: Saved = state.data_as()?;
        let invalid = |reason: &str| LearnerError::InvalidState {
            component: "replay buffer".into(),
            reason: reason.into(),
        };
        let follows = state.tensor(FOLLOWS)?.as_slice::<u8>()?;
        let rewards = state.tensor(REWARDS)?.as_slice::<f32>()?.to_vec();
        let rows = follows.len();
        let follows = follows.iter().map(|byte| Follows::from_byte(*byte));
        let follows: Vec<Follows> =
            follows.collect::<Option<_>>().ok_or_else(|| invalid("a row has no known end"))?;
        let mut columns = BTreeMap::new();
        for (name, column) in named(state.component(COLUMNS)?)? {
            if column.rows() != rows {
                return Err(invalid("its columns differ in length"));
            }
            columns.insert(name, column);
        }
        let is_there = |name: &str| columns.contains_key(name);
        let kept = saved.keep.iter().all(|name| is_there(name));
        if rows > 0 && !(kept && is_there(Columns::OBS) && is_there(Columns::ACTIONS)) {
            return Err(invalid("a column is missing"));
        }
        let part = |name| state.components.get(name).map(buffer).transpose();
        let (finals, next) = (part(FINALS)?, part(NEXT_OBSERVATIONS)?);
        let mut taken = 0;
        let mut blocks = Vec::with_capacity(saved.blocks.len());
        for block in saved.blocks {
            let count = block.final_rows.len();
            let of_block = match (&finals, count) {
                (_, 0) => None,
                (Some(finals), _) => Some(finals.slice(taken..taken + count)?),
                (None, _) => return Err(invalid("final observations are missing")),
            };
            taken += count;
            blocks.push(block.with_finals(of_block));
        }
        let mut streams = BTreeMap::new();
        for (index, head) in saved.heads.into_iter().enumerate() {
            let Some(next) = &next else { return Err(invalid("next observations are missing")) };
            let SavedHead { stream, block, episode, t } = head;
            let next_observation = next.slice(index..index + 1)?;
            streams.insert(stream, Head { block, episode, t, next_observation });
        }
        let tree = match (&config.prioritized, state.tensor(PRIORITIES)) {
            (None, _) => None,
            (Some(_), Ok(priorities)) => {
                let priorities = priorities.as_slice::<f64>()?;
                let fits = |(priority, follows): (&f64, &Follows)| {
                    priority.is_finite() && (*priority > 0.0) == (*follows != Follows::Absent)
                };
                if priorities.len() != rows || !priorities.iter().zip(&follows).all(fits) {
                    return Err(invalid(
                        "its priorities are not one positive number per stored row",
                    ));
                }
                Some(SumTree::from_priorities(priorities))
            }
            // Saved without priorities: all alike.
            (Some(_), Err(_)) => {
                let stored = follows.iter().map(|follows| match follows {
                    Follows::Absent => 0.0,
                    _ => 1.0,
                });
                Some(SumTree::from_priorities(&stored.collect::<Vec<_>>()))
            }
        };
        let storage = Storage {
            block_len: saved.block_len,
            capacity: config.capacity,
            rows: follows.iter().filter(|follows| **follows != Follows::Absent).count(),
            blocks,
            ages: saved.ages,
            free: saved.free,
            streams,
            follows,
            rewards,
            columns,
        };
        if !(saved.largest > 0.0 && saved.largest.is_finite()) {
            return Err(invalid("its largest priority is not a positive number"));
        }
        if !storage.is_consistent() {
            return Err(invalid("its blocks do not fit its rows"));
        }
        Ok(Self { config, storage, keep: saved.keep, tree, largest: saved.largest })
    }
}

impl SavedBlock {
    fn of(block: &Block) -> Self {
        let Block { len, next, stream, final_rows, .. } = block.clone();
        Self { len, next, stream, final_rows }
    }

    fn with_finals(self, finals: Option<Buffer>) -> Block {
        let Self { len, next, stream, final_rows } = self;
        Block { len, next, stream, final_rows, finals }
    }
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
