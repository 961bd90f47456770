//! From rollouts to one batch of rows to learn from.

use std::ops::Range;

use burn::prelude::Device;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, HostBatch, host_batch};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, SegmentEnd};
use rekindle_rl_module::AnyRLModule;

use crate::{LearnerError, Result};

/// The rows of one segment of an episode inside a [`TrainBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its rows, in time order.
    pub rows: Range<usize>,
    /// How it ends.
    pub end: SegmentEnd,
}

/// All steps of some rollouts, one segment after the other.
///
/// There are no filler rows: the observation after the last step of a segment, from which
/// truncated and cut segments bootstrap, is kept apart.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// `obs`, `actions`, `rewards` and the recorded outputs of the module, a row per step.
    pub columns: HostBatch,
    /// The segments, in order of their rows.
    pub pieces: Vec<Piece>,
    /// For each segment, the observation after its last step.
    pub final_observations: Buffer,
}

impl TrainBatch {
    /// Gathers the steps that count.
    ///
    /// # Errors
    /// [`LearnerError::NoRollouts`], or if the columns of the rollouts do not fit together.
    pub fn from_rollouts(rollouts: &[Rollout]) -> Result<Self> {
        let Some(first) = rollouts.first() else { return Err(LearnerError::NoRollouts) };
        let mut columns = HostBatch::new();
        let rows: Vec<Vec<usize>> = rollouts
            .iter()
            .map(|rollout| rollout.segments.iter().flat_map(|s| s.rows()).collect())
            .collect();
        let gather = |column: &dyn Fn(&Rollout) -> Option<&Buffer>| -> Result<Option<Buffer>> {
            let mut all: Option<Buffer> = None;
            for (rollout, rows) in rollouts.iter().zip(&rows) {
                let Some(column) = column(rollout) else { return Ok(None) };
                let part = column.gather(rows)?;
                match &mut all {
                    Some(all) => all.extend_from(&part, 0..part.rows())?,
                    None => all = Some(part),
                }
            }
            Ok(all)
        };
        if let Some(column) = gather(&|r| Some(&r.observations))? {
            columns.insert(Columns::OBS, column)?;
        }
        if let Some(column) = gather(&|r| Some(&r.actions))? {
            columns.insert(Columns::ACTIONS, column)?;
        }
        for name in first.extras.keys() {
            if let Some(column) = gather(&|r| r.extras.get(name))? {
                columns.insert(*name, column)?;
            }
        }
        let rewards = rollouts.iter().zip(&rows).flat_map(|(rollout, rows)| {
            rows.iter().filter_map(|&row| rollout.rewards.get(row).copied())
        });
        columns.insert_f32(Columns::REWARDS, rewards.collect())?;

        let mut final_observations = first.final_observations.slice(0..0)?;
        let mut pieces = Vec::new();
        let mut start = 0;
        for rollout in rollouts {
            for segment in &rollout.segments {
                pieces.push(Piece { rows: start..start + segment.len, end: segment.end });
                start += segment.len;
            }
            let finals = &rollout.final_observations;
            final_observations.extend_from(finals, 0..finals.rows())?;
        }
        Ok(Self { columns, pieces, final_observations })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// Values of all rows, and of the observation after each segment: 0 where the environment
    /// terminated the episode. One forward pass each, without gradients.
    ///
    /// # Shapes
    /// `[rows]` and `[segments]`.
    ///
    /// # Errors
    /// If the module has no value function or its pass fails.
    pub fn values(&self, module: &AnyRLModule, device: &Device) -> Result<(Vec<f32>, Vec<f32>)> {
        let values = |observations: &Buffer| -> Result<Vec<f32>> {
            let column = host_batch::upload(observations, device)?;
            let batch = Batch::new().with(Columns::OBS, column);
            Ok(to_f32(module.compute_values(&batch, None)?)?)
        };
        let steps = values(self.columns.column(Columns::OBS)?)?;
        let mut after = vec![0.0; self.pieces.len()];
        let open: Vec<usize> = (0..self.pieces.len())
            .filter(|&i| self.pieces[i].end != SegmentEnd::Terminated)
            .collect();
        if !open.is_empty() {
            let found = values(&self.final_observations.gather(&open)?)?;
            open.into_iter().zip(found).for_each(|(i, value)| after[i] = value);
        }
        Ok((steps, after))
    }
}
