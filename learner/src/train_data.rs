//! The experience of a module as columns, from the runner's recordings to minibatches.

mod advantages;
mod gather;
mod sequences;
mod state;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use rekindle_core::{Batch, Columns, HostBatch};
use rekindle_env::Buffer;
use rekindle_env_runner::{Segment, SegmentEnd};

use crate::error::{LearnerError, Result};
use crate::loss::PrepareContext;
use crate::minibatch::Units;

pub use sequences::Sequences;

/// The rows that a module learns from, and how they belong together.
///
/// Rows are steps. Those of a segment of an episode follow one another in time. There are no filler rows:
/// the observation after the last step of a segment, from which truncated and cut segments bootstrap, is
/// kept apart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrainData {
    columns: Storage,
    /// The segments, in order of their rows. Each begins at its `start` and has a `stride` of 1.
    ///
    /// Empty on the device, where `[T, N]` columns say how episodes go on
    /// ([`time_major`](Self::time_major)).
    pub segments: Vec<Segment>,
    /// For each segment, the observation after its last step.
    pub final_observations: Option<Buffer>,
    /// For each segment of a stateful module, the state after its last step.
    pub final_states: Option<Buffer>,
    /// The sequences that minibatches are made of; `None` if they are made of single rows.
    pub sequences: Option<Sequences>,
    /// Steps and environments, if the rows are time-major: row `t·N + n` is step `t` of environment `n`.
    pub time_major: Option<[usize; 2]>,
}

/// Where the columns are.
#[derive(Debug, Clone)]
enum Storage {
    Host(Arc<HostBatch>),
    Device(Batch),
}

impl From<HostBatch> for TrainData {
    /// Single rows without segments.
    fn from(columns: HostBatch) -> Self {
        Self::new(Storage::Host(Arc::new(columns)))
    }
}

impl From<Batch> for TrainData {
    /// Single rows on the device, without segments.
    fn from(columns: Batch) -> Self {
        Self::new(Storage::Device(columns))
    }
}

impl TrainData {
    fn new(columns: Storage) -> Self {
        Self {
            columns,
            segments: Vec::new(),
            final_observations: None,
            final_states: None,
            sequences: None,
            time_major: None,
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.columns {
            Storage::Host(columns) => columns.rows(),
            Storage::Device(columns) => columns.rows(),
        }
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match &self.columns {
            Storage::Host(columns) => columns.contains(name),
            Storage::Device(columns) => columns.contains(name),
        }
    }

    /// Checks that there is a column that an exploration pass records.
    ///
    /// # Errors
    /// [`LearnerError::MissingColumn`] with module, loss and column.
    pub fn require(&self, cx: &PrepareContext<'_>, loss: &str, column: &'static str) -> Result<()> {
        if self.contains(column) {
            return Ok(());
        }
        Err(LearnerError::MissingColumn {
            module: cx.module.spec().module().into(),
            column,
            loss: loss.into(),
            hint: "return `action_dist_inputs` from `forward_exploration`",
        })
    }

    /// Returns the columns in host memory.
    ///
    /// # Errors
    /// [`LearnerError::OnDevice`] if they are on an accelerator.
    pub fn host(&self) -> Result<&HostBatch> {
        match &self.columns {
            Storage::Host(columns) => Ok(columns),
            Storage::Device(_) => Err(LearnerError::OnDevice),
        }
    }

    /// Returns the columns on the device; `None` if they are in host memory.
    #[must_use]
    pub fn device(&self) -> Option<&Batch> {
        match &self.columns {
            Storage::Host(_) => None,
            Storage::Device(columns) => Some(columns),
        }
    }

    /// Returns the elements of a float column in host memory, row-major.
    ///
    /// # Errors
    /// If there is no such column, it does not hold floats, or it is on an accelerator.
    pub fn f32s(&self, name: &str) -> Result<&[f32]> {
        Ok(self.host()?.f32s(name)?)
    }

    /// Adds or replaces a column in host memory.
    ///
    /// # Errors
    /// If it has another number of rows than the other columns, or these are on an accelerator.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, column: Buffer) -> Result<()> {
        match &mut self.columns {
            Storage::Host(columns) => Ok(Arc::make_mut(columns).insert(name, column)?),
            Storage::Device(_) => Err(LearnerError::OnDevice),
        }
    }

    /// Adds or replaces a column of one float per row.
    ///
    /// # Errors
    /// As [`TrainData::insert`].
    pub fn insert_f32(&mut self, name: impl Into<Cow<'static, str>>, data: Vec<f32>) -> Result<()> {
        self.insert(name, Buffer::from_f32(data, &[])?)
    }

    /// Replaces the columns by some on a device.
    pub fn set_device(&mut self, columns: Batch) {
        self.columns = Storage::Device(columns);
    }

    /// Returns the observation after each step, one row per step; RLlib's column `new_obs`.
    ///
    /// # Errors
    /// If the columns do not fit together, or are on an accelerator.
    pub fn next_observations(&self) -> Result<Buffer> {
        let observations = self.host()?.column(Columns::OBS)?;
        let mut next = observations.slice(0..0)?;
        for (index, rows) in self.segments.iter().map(Segment::range).enumerate() {
            next.extend_from(observations, (rows.start + 1).min(rows.end)..rows.end)?;
            if let Some(finals) = self.final_observations.as_ref().filter(|_| !rows.is_empty()) {
                next.extend_from(finals, index..index + 1)?;
            }
        }
        Ok(next)
    }

    /// Returns whether each step ended its episode in this way: RLlib's columns `terminateds` and
    /// `truncateds`.
    #[must_use]
    pub fn ends(&self, end: SegmentEnd) -> Vec<bool> {
        let mut ends = vec![false; self.rows()];
        for segment in self.segments.iter().filter(|s| s.end == end && s.len > 0) {
            ends[segment.range().end - 1] = true;
        }
        ends
    }

    /// Returns the number of steps of its episode before each step; RLlib's column `t`.
    #[must_use]
    pub fn time_steps(&self) -> Vec<i64> {
        let of = |s: &Segment| s.t_started as i64..(s.t_started + s.len) as i64;
        self.segments.iter().flat_map(of).collect()
    }

    /// Returns the units that a minibatch of about `minibatch_size` rows is made of; `None` takes all
    /// rows at once.
    #[must_use]
    pub fn units(&self, minibatch_size: Option<usize>) -> Units {
        let rows = self.rows();
        let count = self.sequences.as_ref().map_or(rows, |sequences| sequences.rows.len());
        let minibatch = match (minibatch_size, &self.sequences) {
            (None, _) => count,
            (Some(size), None) => size,
            // The number of sequences that have `size` rows on average.
            (Some(size), Some(_)) => (count * size / rows.max(1)).max(1),
        };
        Units { count, minibatch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_observations_ends_and_time_steps_follow_the_segments() {
        let mut columns = HostBatch::new();
        let obs = |data: &[f32]| Buffer::from_f32(data.to_vec(), &[]).unwrap();
        columns.insert(Columns::OBS, obs(&[0.0, 1.0, 2.0, 10.0, 20.0, 21.0])).unwrap();
        let segment = |start, len, end| Segment {
            env: 0,
            agent: None,
            episode: 0,
            start,
            stride: 1,
            len,
            t_started: if end == SegmentEnd::Cut { 7 } else { 0 },
            end,
        };
        let mut data = TrainData::from(columns);
        data.segments = vec![
            segment(0, 3, SegmentEnd::Terminated),
            segment(3, 1, SegmentEnd::Truncated),
            segment(4, 2, SegmentEnd::Cut),
        ];
        data.final_observations = Some(obs(&[3.0, 11.0, 22.0]));
        let next = data.next_observations().unwrap();
        assert_eq!(next.as_f32().unwrap(), [1.0, 2.0, 3.0, 11.0, 21.0, 22.0]);
        let (t, f) = (true, false);
        assert_eq!(data.ends(SegmentEnd::Terminated), [f, f, t, f, f, f]);
        assert_eq!(data.ends(SegmentEnd::Truncated), [f, f, f, t, f, f]);
        assert_eq!(data.time_steps(), [0, 1, 2, 0, 7, 8]);
    }
}
