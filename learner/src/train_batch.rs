//! From rollouts to one batch of rows to learn from.

use std::ops::Range;

use burn::prelude::Device;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, HostBatch, host_batch};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, SegmentEnd};
use rekindle_rl_module::AnyRLModule;

use crate::{LearnerError, Result, Sequences};

/// The rows of one segment of an episode inside a [`TrainBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRows {
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
    pub segments: Vec<SegmentRows>,
    /// For each segment, the observation after its last step.
    pub final_observations: Buffer,
    /// The states of a stateful module.
    pub states: Option<TrainStates>,
}

/// What a stateful module needs to be trained.
#[derive(Debug, Clone)]
pub struct TrainStates {
    /// The segments cut into sequences, and the state each starts from.
    pub sequences: Sequences,
    /// For each segment, the state after its last step.
    pub final_states: Buffer,
}

impl TrainBatch {
    /// Gathers the steps that count. Those of a stateful module form sequences of at most
    /// `max_seq_len` steps ([`RLModule::max_seq_len`](rekindle_rl_module::RLModule::max_seq_len)).
    ///
    /// # Errors
    /// [`LearnerError::NoRollouts`], or if the columns of the rollouts do not fit together.
    pub fn from_rollouts(rollouts: &[Rollout], max_seq_len: usize) -> Result<Self> {
        let Some(first) = rollouts.first() else { return Err(LearnerError::NoRollouts) };
        let mut columns = HostBatch::new();
        let rows: Vec<Vec<usize>> = rollouts
            .iter()
            .map(|rollout| rollout.segments.iter().flat_map(|s| s.rows()).collect())
            .collect();
        let gather = |column: &dyn Fn(&Rollout) -> Option<&Buffer>| gather(rollouts, &rows, column);
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
        let mut segments = Vec::new();
        let mut start = 0;
        for rollout in rollouts {
            for segment in &rollout.segments {
                segments.push(SegmentRows { rows: start..start + segment.len, end: segment.end });
                start += segment.len;
            }
            let finals = &rollout.final_observations;
            final_observations.extend_from(finals, 0..finals.rows())?;
        }
        let states = match &first.states {
            Some(_) => Some(train_states(rollouts, &segments, max_seq_len)?),
            None => None,
        };
        Ok(Self { columns, segments, final_observations, states })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// The observation after each step, a row per step; RLlib's column `new_obs`.
    ///
    /// # Errors
    /// If the columns do not fit together.
    pub fn next_observations(&self) -> Result<Buffer> {
        let observations = self.columns.column(Columns::OBS)?;
        let mut next = observations.slice(0..0)?;
        for (index, rows) in self.segments.iter().map(|segment| segment.rows.clone()).enumerate() {
            next.extend_from(observations, (rows.start + 1).min(rows.end)..rows.end)?;
            if !rows.is_empty() {
                next.extend_from(&self.final_observations, index..index + 1)?;
            }
        }
        Ok(next)
    }

    /// Whether each step ended its episode in this way: RLlib's columns `terminateds` and
    /// `truncateds`.
    pub fn ends(&self, end: SegmentEnd) -> Vec<bool> {
        let mut ends = vec![false; self.rows()];
        for segment in
            self.segments.iter().filter(|segment| segment.end == end && !segment.rows.is_empty())
        {
            ends[segment.rows.end - 1] = true;
        }
        ends
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
        let steps = self.step_values(module, device)?;
        let mut after = vec![0.0; self.segments.len()];
        let open: Vec<usize> = (0..self.segments.len())
            .filter(|&i| self.segments[i].end != SegmentEnd::Terminated)
            .collect();
        if !open.is_empty() {
            let mut batch = observations(self.final_observations.gather(&open)?, device)?;
            if let Some(states) = &self.states {
                let states = states.final_states.gather(&open)?;
                batch.insert(Columns::STATE_IN, host_batch::upload(&states, device)?);
            }
            let found = to_f32(module.compute_values(&batch, None)?)?;
            open.into_iter().zip(found).for_each(|(i, value)| after[i] = value);
        }
        Ok((steps, after))
    }

    fn step_values(&self, module: &AnyRLModule, device: &Device) -> Result<Vec<f32>> {
        let column = self.columns.column(Columns::OBS)?;
        let Some(TrainStates { sequences, .. }) = &self.states else {
            let batch = observations(column.clone(), device)?;
            return Ok(to_f32(module.compute_values(&batch, None)?)?);
        };
        let all: Vec<usize> = (0..sequences.rows.len()).collect();
        let (rows, mask) = sequences.padded(&all);
        let mut batch = observations(column.gather(&rows)?, device)?;
        sequences.insert_states(&mut batch, &all, device)?;
        let values = to_f32(module.compute_values(&batch, None)?)?;
        // Sequences are in order of their rows: without padding the values are, too.
        Ok(values.into_iter().zip(mask).filter_map(|(v, m)| (m > 0.0).then_some(v)).collect())
    }
}

fn observations(column: Buffer, device: &Device) -> Result<Batch> {
    Ok(Batch::new().with(Columns::OBS, host_batch::upload(&column, device)?))
}

/// The given rows of a column of every rollout, one after the other; `None` if one lacks it.
fn gather(
    rollouts: &[Rollout],
    rows: &[Vec<usize>],
    column: impl Fn(&Rollout) -> Option<&Buffer>,
) -> Result<Option<Buffer>> {
    let mut all: Option<Buffer> = None;
    for (rollout, rows) in rollouts.iter().zip(rows) {
        let Some(column) = column(rollout) else { return Ok(None) };
        let part = column.gather(rows)?;
        match &mut all {
            Some(all) => all.extend_from(&part, 0..part.rows())?,
            None => all = Some(part),
        }
    }
    Ok(all)
}

/// Cuts the segments into sequences, and collects the states that they start from.
fn train_states(
    rollouts: &[Rollout],
    segments: &[SegmentRows],
    max_seq_len: usize,
) -> Result<TrainStates> {
    let longest = segments.iter().map(|segment| segment.rows.len()).max().unwrap_or(1);
    let len = longest.min(max_seq_len).max(1);
    let starts = segments.iter().flat_map(|segment| {
        let end = segment.rows.end;
        segment.rows.clone().step_by(len).map(move |start| start..end.min(start + len))
    });
    let first_rows = rollouts.iter().map(|rollout| {
        rollout.segments.iter().flat_map(|s| s.rows().step_by(len)).collect::<Vec<_>>()
    });
    let first_rows: Vec<_> = first_rows.collect();
    let all: Vec<_> = rollouts.iter().map(|r| (0..r.segments.len()).collect()).collect();
    let no_states = || LearnerError::MissingStates;
    let states = gather(rollouts, &first_rows, |r| Some(&r.states.as_ref()?.state_in))?;
    let final_states = gather(rollouts, &all, |r| Some(&r.states.as_ref()?.final_states))?;
    let states = states.ok_or_else(no_states)?;
    let sequences = Sequences { rows: starts.collect(), len, states };
    Ok(TrainStates { sequences, final_states: final_states.ok_or_else(no_states)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_observations_and_ends_follow_the_segments() {
        let mut columns = HostBatch::new();
        let obs = |data: &[f32]| Buffer::from_f32(data.to_vec(), &[]).unwrap();
        columns.insert(Columns::OBS, obs(&[0.0, 1.0, 2.0, 10.0, 20.0, 21.0])).unwrap();
        let segment = |rows, end| SegmentRows { rows, end };
        let batch = TrainBatch {
            columns,
            segments: vec![
                segment(0..3, SegmentEnd::Terminated),
                segment(3..4, SegmentEnd::Truncated),
                segment(4..6, SegmentEnd::Cut),
            ],
            final_observations: obs(&[3.0, 11.0, 22.0]),
            states: None,
        };
        let next = batch.next_observations().unwrap();
        assert_eq!(next.as_f32().unwrap(), [1.0, 2.0, 3.0, 11.0, 21.0, 22.0]);
        let (t, f) = (true, false);
        assert_eq!(batch.ends(SegmentEnd::Terminated), [f, f, t, f, f, f]);
        assert_eq!(batch.ends(SegmentEnd::Truncated), [f, f, f, t, f, f]);
    }
}
