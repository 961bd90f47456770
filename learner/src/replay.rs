//! Replay buffers: the latest steps of a module, drawn again and again.

mod chunk;
mod config;
mod frames;
mod sequences;
mod slots;
mod state;
mod storage;
mod sum_tree;
#[cfg(test)]
mod tests;
mod transitions;

use std::collections::BTreeSet;
use std::sync::Arc;

use rekindle_core::{Columns, Generator};
use rekindle_env::Buffer;
use rekindle_env_runner::Rollout;

use self::storage::{Follows, Storage};
use crate::error::{LearnerError, Result};
use crate::train_data::TrainData;

pub use config::{LargestWeight, NStep, PrioritizedConfig, ReplayConfig};
pub use sequences::{BURN_IN_STATE, BURNED_IN, NEXT_ROWS};
pub use sum_tree::SumTree;
pub use transitions::TransitionSpec;

/// Largest number of rows of a block.
const BLOCK: usize = 256;

/// The latest steps of one module.
///
/// Steps are stored once, in the order in which each environment took them; the next observation of a step is
/// the observation of the step after it. Transitions of several steps are put together when they are drawn, and
/// never cross the end of an episode. A step that nothing follows yet is like a truncated one.
///
/// Steps are dropped in blocks of up to 256, the oldest first, so that between `capacity` steps and one block
/// less are kept, and a block more for each environment while the buffer fills.
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    config: ReplayConfig,
    storage: Storage,
    /// Recorded outputs of the module that are kept.
    keep: BTreeSet<String>,
    /// Shared with states.
    tree: Option<Arc<SumTree>>,
    /// The largest priority so far, before the exponent. New steps begin with it.
    largest: f64,
}

impl ReplayBuffer {
    /// Creates an empty buffer that keeps observations, actions, rewards, and those recorded outputs of the
    /// module that are named. `num_envs` is the number of environments whose steps it will hold.
    #[must_use]
    pub fn new(
        config: ReplayConfig,
        keep: impl IntoIterator<Item = impl Into<String>>,
        num_envs: usize,
    ) -> Self {
        let share = config.capacity / (4 * num_envs.max(1));
        let block = share.clamp(1, BLOCK);
        let storage = Storage::new(config.capacity, block);
        let tree = config.prioritized.as_ref().map(|_| Arc::default());
        let keep = keep.into_iter().map(Into::into).collect();
        Self { config, storage, keep, tree, largest: 1.0 }
    }

    /// Sets the number of frames that an observation stacks along its last axis, oldest first, with zeros before
    /// the start of an episode, as the connector `FrameStacking` does. The buffer then stores each frame once.
    /// Defaults to 1.
    ///
    /// Observations other than Boxes of `float32` or `uint8`, or without such an axis, are stored whole.
    #[must_use]
    pub fn num_frames(mut self, num_frames: usize) -> Self {
        self.storage.num_frames = num_frames;
        self
    }

    /// Returns the number of stored steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether no step is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores the steps of a runner, and drops the oldest ones if there is no room. New steps have the largest
    /// priority so far.
    ///
    /// # Errors
    /// [`LearnerError::ColumnOfSomeRollouts`] if a named output is missing, [`LearnerError::ColumnLayout`] if a
    /// column has another layout than the stored ones. Nothing is stored then.
    pub fn push(&mut self, rollout: &Rollout) -> Result<()> {
        let priority = self.priority(self.largest);
        let mut tree = self.tree.as_mut().map(Arc::make_mut);
        self.storage.push(rollout, &self.keep, |row, stored| {
            if let Some(tree) = &mut tree {
                tree.reserve(row + 1);
                tree.set(row, if stored { priority } else { 0.0 });
            }
        })
    }

    /// Draws transitions. With priorities, one is drawn from each of `count` strata of equal priority.
    ///
    /// # Shapes
    /// Columns of `count` rows: `obs`, `actions`, and the outputs that are kept, all of the first step;
    /// `rewards`, the discounted sum; `new_obs`, the observation after the last step; `discounts`, the weight of
    /// the value of `new_obs`: 0 if the episode was terminated. `rows` has the stored rows, for
    /// [`set_errors`](Self::set_errors); with priorities, `weights` are the importance weights.
    ///
    /// # Errors
    /// [`LearnerError::EmptyReplay`] if nothing is stored.
    pub fn sample(
        &self,
        count: usize,
        spec: &TransitionSpec,
        env_steps: u64,
        rng: &mut Generator,
    ) -> Result<TrainData> {
        if self.is_empty() {
            return Err(LearnerError::EmptyReplay);
        }
        let rows = self.draw(count, rng);
        let mut batch = self.storage.gather(&rows, spec, rng)?;
        if let (Some(tree), Some(config)) = (&self.tree, &self.config.prioritized) {
            let weights = self.weights(tree, config, &rows, config.beta.value(env_steps));
            batch.insert_f32(Columns::WEIGHTS, weights)?;
        }
        let rows = rows.into_iter().map(|row| row as i64).collect();
        batch.insert(ROWS, Buffer::from_i64(rows, &[])?)?;
        Ok(TrainData::from(batch))
    }

    /// Draws sequences of `len` steps, for modules with memory (Kapturowski et al., 2019). The first rows are drawn
    /// as in [`sample`](Self::sample). A sequence begins with the recurrent state that was stored in its first
    /// row, so the buffer must keep [`Columns::STATE_IN`].
    ///
    /// # Shapes
    /// [`Sequences`](crate::Sequences) of `P = spec.burn_in + len + n` rows, where `n` is the largest number of
    /// steps of a transition. Columns `[count · P, …]`:
    ///
    /// - `obs`, `actions` and the outputs that are kept. The observation after the last step of an episode is in
    ///   the row after that step. Padding repeats the first step.
    /// - `rewards` and `discounts` of transitions, and [`NEXT_ROWS`], the rows of the values that follow them.
    /// - `loss_mask`: 1 for the steps to learn from, and 0 for burn-in, bootstrap rows and padding.
    /// - `rows`, and with priorities `weights`: the same for all rows of a sequence.
    ///
    /// Columns `[count, …]`: [`Columns::STATE_IN`], and with burn-in [`BURN_IN_STATE`] and [`BURNED_IN`].
    ///
    /// # Errors
    /// [`LearnerError::EmptyReplay`] if nothing is stored.
    pub fn sample_sequences(
        &self,
        count: usize,
        len: usize,
        spec: &TransitionSpec,
        env_steps: u64,
        rng: &mut Generator,
    ) -> Result<TrainData> {
        if self.is_empty() {
            return Err(LearnerError::EmptyReplay);
        }
        let rows = self.draw(count, rng);
        let mut data = self.storage.gather_sequences(&rows, len, spec, rng)?;
        if let (Some(tree), Some(config)) = (&self.tree, &self.config.prioritized) {
            let weights = self.weights(tree, config, &rows, config.beta.value(env_steps));
            let padded = data.rows() / count.max(1);
            let repeated =
                weights.into_iter().flat_map(|weight| std::iter::repeat_n(weight, padded));
            data.insert_f32(Columns::WEIGHTS, repeated.collect())?;
        }
        Ok(data)
    }

    /// Sets the priorities of the rows where drawn sequences begin. The error of a sequence is
    /// `η·max + (1 − η)·mean` over its rows with `mask` 1. A sequence with an error that is not finite keeps its
    /// priority. Returns the number of such sequences.
    ///
    /// # Shapes
    /// `rows`, `errors` and `mask`: one for each row of the sequences, as
    /// [`sample_sequences`](Self::sample_sequences) returns them; `padded` is the number of rows of a sequence.
    pub fn set_sequence_errors(
        &mut self,
        rows: &[usize],
        errors: &[f32],
        mask: &[f32],
        padded: usize,
    ) -> usize {
        let eta = self.config.prioritized.as_ref().map_or(0.0, |config| config.eta);
        let padded = padded.max(1);
        let mut ignored = 0;
        let sequences = rows.chunks(padded).zip(errors.chunks(padded)).zip(mask.chunks(padded));
        for ((rows, errors), mask) in sequences {
            let counted = errors.iter().zip(mask).filter(|(_, mask)| **mask > 0.0);
            let (mut largest, mut sum, mut count) = (0.0_f64, 0.0, 0.0);
            for error in counted.map(|(error, _)| f64::from(error.abs())) {
                // A sum with a NaN stays one; a maximum does not.
                (largest, sum, count) = (largest.max(error), sum + error, count + 1.0);
            }
            let mean = if count > 0.0 { sum / count } else { 0.0 };
            let error = (eta * largest + (1.0 - eta) * mean + 0.0 * sum) as f32;
            if let Some(&row) = rows.first() {
                ignored += self.set_errors(&[row], &[error]);
            }
        }
        ignored
    }

    fn draw(&self, count: usize, rng: &mut Generator) -> Vec<usize> {
        match &self.tree {
            Some(tree) => strata(tree, count, rng),
            None => self.uniform(count, rng),
        }
    }

    /// Sets the priorities of drawn rows to their errors. A row with an error that is not finite keeps its
    /// priority. Returns the number of such rows.
    pub fn set_errors(&mut self, rows: &[usize], errors: &[f32]) -> usize {
        let mut ignored = 0;
        for (&row, &error) in rows.iter().zip(errors) {
            if !error.is_finite() {
                ignored += 1;
                continue;
            }
            let epsilon = self.config.prioritized.as_ref().map_or(0.0, |config| config.epsilon);
            let raw = f64::from(error.abs()) + epsilon;
            self.largest = self.largest.max(raw);
            let priority = self.priority(raw);
            if let Some(tree) = &mut self.tree
                && self.storage.follows(row) != Follows::Absent
            {
                Arc::make_mut(tree).set(row, priority);
            }
        }
        ignored
    }

    fn priority(&self, raw: f64) -> f64 {
        self.config.prioritized.as_ref().map_or(1.0, |config| raw.powf(config.alpha))
    }

    fn uniform(&self, count: usize, rng: &mut Generator) -> Vec<usize> {
        let slots = self.storage.slots() as i64;
        let mut rows = Vec::with_capacity(count);
        while rows.len() < count {
            let row = rng.integers(0, slots) as usize;
            if self.storage.follows(row) != Follows::Absent {
                rows.push(row);
            }
        }
        rows
    }

    /// `(N·P)^−β`, divided by the largest.
    fn weights(
        &self,
        tree: &SumTree,
        config: &PrioritizedConfig,
        rows: &[usize],
        beta: f64,
    ) -> Vec<f32> {
        let priorities = rows.iter().map(|row| tree.priority(*row));
        let smallest = match config.weights_by {
            LargestWeight::Buffer => tree.smallest(),
            LargestWeight::Batch => priorities.clone().fold(f64::INFINITY, f64::min),
        };
        // `N` and the sum of the priorities cancel.
        priorities.map(|priority| (priority / smallest).powf(-beta) as f32).collect()
    }
}

/// The column of stored rows.
pub const ROWS: &str = "rows";
/// The values of rows that a loss returns ([`Losses::row_values`](crate::Losses::row_values)) and a replay
/// buffer turns into priorities: absolute TD errors.
pub const TD_ERROR: &str = "td_error";

/// Draws a row from each of `count` parts of equal priority.
fn strata(tree: &SumTree, count: usize, rng: &mut Generator) -> Vec<usize> {
    let part = tree.total() / count as f64;
    (0..count).map(|index| tree.find((index as f64 + rng.random()) * part)).collect()
}
