//! From the recordings of runners to one batch of rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_core::{Batch, Columns, HostBatch};
use rekindle_env::Buffer;
use rekindle_env_runner::{Rollout, Segment, TensorRollout};

use super::steps::StepStates;
use super::{Sequences, TrainData};
use crate::error::{LearnerError, Result};

impl TrainData {
    /// Gathers the steps that count from rollouts, one segment after the other. Those of a stateful module
    /// form sequences of at most `max_seq_len` steps
    /// ([`RLModule::max_seq_len`](rekindle_rl_module::RLModule::max_seq_len)).
    ///
    /// # Errors
    /// [`LearnerError::NoRollouts`]; [`LearnerError::ColumnOfSomeRollouts`] for a column that one of the
    /// rollouts lacks; [`LearnerError::ColumnLayout`] for one whose layout differs.
    pub fn from_rollouts(rollouts: &[Rollout], max_seq_len: usize) -> Result<Self> {
        let Some(first) = rollouts.first() else { return Err(LearnerError::NoRollouts) };
        let rows: Vec<Vec<usize>> = rollouts
            .iter()
            .map(|rollout| rollout.segments.iter().flat_map(Segment::rows).collect())
            .collect();
        let mut columns = HostBatch::new();
        let mut insert = |name: &str, of: &dyn Fn(&Rollout) -> Option<&Buffer>| {
            let column = gather(rollouts, &rows, name, of)?;
            Ok::<_, LearnerError>(columns.insert(name.to_owned(), column)?)
        };
        insert(Columns::OBS, &|rollout| Some(&rollout.observations))?;
        insert(Columns::ACTIONS, &|rollout| Some(&rollout.actions))?;
        let names = rollouts.iter().flat_map(|rollout| rollout.extras.keys());
        let names: BTreeSet<_> = names.collect();
        for name in names {
            insert(name, &|rollout| rollout.extras.get(name))?;
        }
        if let Some(infos) = infos(rollouts, &rows)? {
            columns.insert(Columns::INFOS, infos)?;
        }
        let rewards = rollouts.iter().zip(&rows).flat_map(|(rollout, rows)| {
            rows.iter().filter_map(|&row| rollout.rewards.get(row).copied())
        });
        columns.insert_f32(Columns::REWARDS, rewards.collect())?;

        let mut data = Self::from(columns);
        let mut final_observations = first.final_observations.slice(0..0)?;
        let (mut start, mut segments) = (0, Vec::new());
        for rollout in rollouts {
            for segment in &rollout.segments {
                let mut gathered = segment.clone();
                (gathered.start, gathered.stride) = (start, 1);
                gathered.runner = rollout.runner;
                start += segment.len;
                segments.push(gathered);
            }
            let finals = &rollout.final_observations;
            final_observations.extend_from(finals, 0..finals.rows())?;
        }
        data.segments = Arc::new(segments);
        data.final_observations = Some(Arc::new(final_observations));
        if first.states.is_some() {
            data.add_states(rollouts, rows, max_seq_len)?;
        }
        Ok(data)
    }

    /// Cuts the segments into sequences, and collects the states that they start from.
    fn add_states(
        &mut self,
        rollouts: &[Rollout],
        rows: Vec<Vec<usize>>,
        max_seq_len: usize,
    ) -> Result<()> {
        let mut sequences = Sequences::cut(&self.segments, max_seq_len);
        let len = sequences.len;
        let first_rows = rollouts.iter().map(|rollout| {
            rollout.segments.iter().flat_map(|s| s.rows().step_by(len)).collect::<Vec<_>>()
        });
        let first_rows: Vec<_> = first_rows.collect();
        let all: Vec<_> = rollouts.iter().map(|r| (0..r.segments.len()).collect()).collect();
        let states = gather(rollouts, &first_rows, Columns::STATE_IN, |r| {
            Some(&r.states.as_ref()?.state_in)
        })?;
        let mut columns = HostBatch::new();
        columns.insert(Columns::STATE_IN, states)?;
        sequences.columns = Arc::new(columns);
        self.sequences = Some(sequences);
        let finals =
            gather(rollouts, &all, Columns::STATE_OUT, |r| Some(&r.states.as_ref()?.final_states))?;
        self.final_states = Some(Arc::new(finals));
        let states = rollouts.iter().filter_map(|rollout| rollout.states.clone());
        self.states = Some(Arc::new(StepStates::new(states.zip(rows).collect())));
        Ok(())
    }
}

impl From<&TensorRollout> for TrainData {
    /// The columns of a rollout on its device, time-major: also [`Columns::NEXT_OBS`],
    /// [`Columns::TERMINATEDS`] and [`Columns::TRUNCATEDS`], as floats, 1 where the step ended its episode
    /// in this way.
    fn from(rollout: &TensorRollout) -> Self {
        let shape = rollout.rewards.dims();
        let flat = |column: &Tensor<2>| column.clone().flatten::<1>(0, 1);
        let truncated = rollout.done.clone() - rollout.terminated.clone();
        let columns = Batch::new()
            .with(Columns::OBS, rollout.observations.clone())
            .with(Columns::NEXT_OBS, rollout.next_observations.clone())
            .with(Columns::ACTIONS, rollout.actions.clone())
            .with(Columns::ACTION_DIST_INPUTS, rollout.action_dist_inputs.clone())
            .with(Columns::ACTION_LOGP, rollout.action_logp.clone())
            .with(Columns::REWARDS, flat(&rollout.rewards))
            .with(Columns::TERMINATEDS, flat(&rollout.terminated))
            .with(Columns::TRUNCATEDS, flat(&truncated));
        let mut data = Self::from(columns);
        data.time_major = Some(shape);
        data
    }
}

/// The given rows of a column of every rollout, one after the other.
fn gather<'a>(
    rollouts: &'a [Rollout],
    rows: &[Vec<usize>],
    name: &str,
    column: impl Fn(&'a Rollout) -> Option<&'a Buffer>,
) -> Result<Buffer> {
    let mut all: Option<Buffer> = None;
    for (rollout, rows) in rollouts.iter().zip(rows) {
        let Some(column) = column(rollout) else {
            return Err(LearnerError::ColumnOfSomeRollouts { column: name.into() });
        };
        let all = match &mut all {
            Some(all) => all,
            None => all.insert(column.slice(0..0)?),
        };
        // Rows that follow one another are copied at once: those of recorded episodes do.
        let copied = match (rows.first(), rows.last()) {
            (Some(&first), Some(&last)) if rows.iter().copied().eq(first..=last) => {
                all.extend_from(column, first..last + 1)
            }
            (None, _) => all.extend_from(column, 0..0),
            _ => column.gather(rows).and_then(|part| all.extend_from(&part, 0..part.rows())),
        };
        copied.map_err(|source| LearnerError::ColumnLayout {
            column: name.into(),
            source: Box::new(source),
        })?;
    }
    all.ok_or(LearnerError::NoRollouts)
}

/// The infos of the given rows of every rollout, one after the other: NaN where a rollout lacks a number.
fn infos(rollouts: &[Rollout], rows: &[Vec<usize>]) -> Result<Option<Buffer>> {
    let mut names = BTreeSet::new();
    for infos in rollouts.iter().filter_map(|rollout| rollout.infos.as_ref()) {
        names.extend(infos.as_dict()?.keys());
    }
    if names.is_empty() {
        return Ok(None);
    }
    let column = |name: &String| {
        let mut all = Vec::with_capacity(rows.iter().map(Vec::len).sum());
        for (rollout, rows) in rollouts.iter().zip(rows) {
            match rollout.infos.as_ref().and_then(|infos| infos.get(name).ok()) {
                Some(column) => all.extend_from_slice(column.gather(rows)?.as_f32()?),
                None => all.resize(all.len() + rows.len(), f32::NAN),
            }
        }
        Ok::<_, LearnerError>((name.clone(), Buffer::from_f32(all, &[])?))
    };
    let columns = names.into_iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Some(Buffer::from_dict(columns)?))
}
