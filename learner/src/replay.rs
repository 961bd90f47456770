//! Replay buffers: the latest steps of a module, drawn again and again.

mod config;
mod state;
mod storage;
mod sum_tree;
#[cfg(test)]
mod tests;
mod transitions;

use std::collections::BTreeSet;

use rekindle_core::{Columns, Generator};
use rekindle_env::Buffer;
use rekindle_env_runner::Rollout;

use self::storage::{Follows, Storage};
use crate::error::{LearnerError, Result};
use crate::train_data::TrainData;

pub use config::{LargestWeight, NStep, PrioritizedConfig, ReplayConfig};
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
    tree: Option<SumTree>,
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
        let tree = config.prioritized.as_ref().map(|_| SumTree::default());
        let keep = keep.into_iter().map(Into::into).collect();
        Self { config, storage, keep, tree, largest: 1.0 }
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
        let tree = &mut self.tree;
        self.storage.push(rollout, &self.keep, |row, stored| {
            if let Some(tree) = tree {
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
        let rows = match &self.tree {
            Some(tree) => strata(tree, count, rng),
            None => self.uniform(count, rng),
        };
        let mut batch = self.storage.gather(&rows, spec, rng)?;
        if let (Some(tree), Some(config)) = (&self.tree, &self.config.prioritized) {
            let weights = self.weights(tree, config, &rows, config.beta.value(env_steps));
            batch.insert_f32(Columns::WEIGHTS, weights)?;
        }
        let rows = rows.into_iter().map(|row| row as i64).collect();
        batch.insert(ROWS, Buffer::from_i64(rows, &[])?)?;
        Ok(TrainData::from(batch))
    }

    /// Sets the priorities of drawn rows to their errors. Errors that are not finite change nothing; returns
    /// their number.
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
                tree.set(row, priority);
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
