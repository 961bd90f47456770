//! The steps that transitions are drawn from: all of the data, or a part that moves over it.

use std::collections::BTreeMap;

use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Columns, Generator, ModuleId};
use rekindle_learner::ModuleData;
use rekindle_learner::replay::{ReplayBuffer, ReplayConfig};
use rekindle_offline::{OfflineSource, Prefetch};
use serde::{Deserialize, Serialize};

use super::super::TrainingContext;
use super::super::replay::{sequence_len, sequences};
use super::order::Order;
use super::rollouts::Completion;
use crate::Result;

/// Rows of a block of a replay buffer, at most.
const BLOCK: usize = 256;

/// The steps in memory, from which transitions are drawn. If the data does not fit, the next steps are loaded once the
/// number of drawn transitions equals the number of steps in memory.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Window {
    saved: SavedWindow,
    /// Where the next window begins.
    next: Order,
    /// Empty until the steps are read.
    buffers: BTreeMap<ModuleId, ReplayBuffer>,
    /// Steps of the module with the most.
    steps: usize,
    is_whole: bool,
}

/// The part of a window that checkpoints hold. Its steps follow from it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SavedWindow {
    /// Where the window begins.
    first: Order,
    /// Steps drawn from it so far.
    drawn: usize,
    rng: Option<Generator>,
}

impl From<SavedWindow> for Window {
    fn from(saved: SavedWindow) -> Self {
        Self { saved, ..Self::default() }
    }
}

/// Moves over the parts of a window, and returns them.
fn move_on(
    order: &mut Order,
    source: &dyn OfflineSource,
    seed: u64,
    limit: usize,
) -> Result<Vec<usize>> {
    let (mut parts, mut steps, pass) = (Vec::new(), 0, order.pass());
    // The end of a pass ends a window, so that none has a part twice.
    while steps < limit {
        let after = order.clone();
        let part = order.next(source, seed)?;
        if steps > 0 && order.pass() > pass {
            *order = after;
            break;
        }
        steps += source.steps_of(part);
        parts.push(part);
    }
    Ok(parts)
}

impl Window {
    pub(in super::super) fn saved(self) -> SavedWindow {
        self.saved
    }

    pub(in super::super) fn forget(&mut self, id: &str) {
        self.buffers.remove(id);
    }

    /// Reads the steps of the window unless they are in memory.
    pub(in super::super) fn load(
        &mut self,
        data: &mut Prefetch,
        seed: u64,
        limit: usize,
        completion: &Completion,
    ) -> Result<()> {
        let source = data.source().clone();
        let source = &*source;
        if !self.buffers.is_empty() && !self.is_whole && self.saved.drawn >= self.steps {
            self.saved.first = std::mem::take(&mut self.next);
            self.saved.drawn = 0;
            self.buffers.clear();
        }
        if !self.buffers.is_empty() {
            return Ok(());
        }
        self.is_whole = source.num_steps() <= limit;
        self.next = self.saved.first.clone();
        let mut read = BTreeMap::<ModuleId, Vec<_>>::new();
        let parts: Vec<usize> = match self.is_whole {
            true => (0..source.num_parts()).collect(),
            false => move_on(&mut self.next, source, seed, limit)?,
        };
        for part in parts {
            for (id, rollouts) in completion.complete(data.read(part)?)? {
                read.entry(id).or_default().extend(rollouts);
            }
        }
        if !self.is_whole {
            data.ask(&move_on(&mut self.next.clone(), source, seed, limit)?);
        }
        self.steps = 0;
        for (id, rollouts) in read {
            let Some(reads) = completion.reads(&id) else { continue };
            let states = reads.initial_state.as_ref().map(|_| Columns::STATE_IN);
            let keep = reads.columns.iter().copied().chain(states);
            let steps: usize = rollouts.iter().map(|rollout| rollout.env_steps()).sum();
            // Room for blocks that are not full, so that nothing is dropped.
            let config = ReplayConfig::default().capacity(steps + 4 * BLOCK);
            let mut buffer = ReplayBuffer::new(config, keep, 1);
            for (number, mut rollout) in rollouts.into_iter().enumerate() {
                for segment in &mut rollout.segments {
                    segment.episode = number as u64;
                    segment.agent = None;
                }
                buffer.push(&rollout)?;
            }
            self.steps = self.steps.max(steps);
            if !buffer.is_empty() {
                self.buffers.insert(id, buffer);
            }
        }
        if self.buffers.is_empty() {
            return Err(super::invalid_state(
                "none of the modules that learn has steps in the data; name these modules in the data",
            )
            .into());
        }
        Ok(())
    }

    /// Returns the number of minibatches before the window moves.
    pub(in super::super) fn minibatches_left(&self, batch_size: usize) -> usize {
        match self.is_whole {
            true => usize::MAX,
            false => self.steps.saturating_sub(self.saved.drawn).div_ceil(batch_size).max(1),
        }
    }

    /// Draws minibatches of every module, one after the other.
    pub(in super::super) fn draw(
        &mut self,
        cx: &TrainingContext<'_>,
        seed: u64,
        minibatches: usize,
        batch_size: usize,
    ) -> Result<ModuleData> {
        let rng = self.saved.rng.get_or_insert_with(|| stream(seed, 0, 0, Purpose::Replay));
        let mut data = ModuleData::new();
        for (id, buffer) in &self.buffers {
            let spec = cx.learner.loss(id).and_then(|loss| loss.transitions());
            let Some(spec) = spec else { continue };
            let drawn = match sequence_len(cx.learner, id) {
                None => buffer.sample(minibatches * batch_size, &spec, cx.env_steps(), rng)?,
                Some(len) => {
                    let sequences = minibatches * sequences(batch_size, len);
                    buffer.sample_sequences(sequences, len, &spec, cx.env_steps(), rng)?
                }
            };
            data.insert(id.clone(), drawn);
        }
        if !self.is_whole {
            self.saved.drawn += minibatches * batch_size;
        }
        Ok(data)
    }
}
