//! The experience of a module as columns, from the runner's recordings to minibatches.

mod advantages;
mod gather;
mod sequences;
pub(crate) mod state;
mod steps;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use rekindle_core::{Batch, Columns, HostBatch};
use rekindle_env::Buffer;
use rekindle_env_runner::Segment;

use crate::error::{LearnerError, Result};
use crate::loss::PrepareContext;
use crate::minibatch::Units;

pub use sequences::Sequences;

use steps::{StepStates, Steps};

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
    pub segments: Arc<Vec<Segment>>,
    /// For each segment, the observation after its last step.
    pub final_observations: Option<Arc<Buffer>>,
    /// For each segment of a stateful module, the state after its last step.
    pub final_states: Option<Arc<Buffer>>,
    /// The state of a stateful module before each step.
    states: Option<Arc<StepStates>>,
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
            segments: Arc::default(),
            final_observations: None,
            final_states: None,
            states: None,
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

    /// Returns the number of rows that count in a loss: without those that a mask of the data leaves out.
    pub(crate) fn rows_that_count(&self) -> usize {
        match self.as_f32(Columns::LOSS_MASK) {
            Ok(mask) => mask.iter().filter(|mask| **mask > 0.0).count(),
            Err(_) => self.rows(),
        }
    }

    /// Returns for each unit of minibatches the rows that count in a mean over it.
    ///
    /// # Errors
    /// [`LearnerError::OnDevice`] if the columns are on an accelerator.
    pub(crate) fn rows_of_units(&self) -> Result<Vec<f32>> {
        let mask = match self.host()?.contains(Columns::LOSS_MASK) {
            true => Some(self.as_f32(Columns::LOSS_MASK)?),
            false => None,
        };
        let Some(sequences) = &self.sequences else {
            return Ok(mask.map_or_else(|| vec![1.0; self.rows()], <[f32]>::to_vec));
        };
        let units = 0..sequences.rows.len();
        Ok(match mask {
            None => sequences.rows.iter().map(|rows| rows.len() as f32).collect(),
            Some(mask) => {
                let of_unit = |unit| sequences.padded(&[unit]).0.into_iter().map(|row| mask[row]);
                units.map(|unit| of_unit(unit).sum()).collect()
            }
        })
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
    /// If the column is missing, does not hold floats, or is on an accelerator.
    pub fn as_f32(&self, name: &str) -> Result<&[f32]> {
        Ok(self.host()?.as_f32(name)?)
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

    /// Returns some rows of a column in host memory.
    ///
    /// Besides the recorded columns there are some that follow from them: `new_obs`, `terminateds`,
    /// `truncateds` and `t`, and for a stateful module `step_state_in` and `step_state_out`
    /// ([`Columns`](rekindle_core::Columns)). Minibatches have all of them, each made when it is first read.
    ///
    /// # Errors
    /// If the column or a row does not exist, or the columns are on an accelerator.
    pub fn column(&self, name: &str, rows: &[usize]) -> Result<Buffer> {
        match &self.columns {
            Storage::Host(columns) => Ok(self.steps(columns).column(name, rows)?),
            Storage::Device(_) => Err(LearnerError::OnDevice),
        }
    }

    /// Everything that the columns of steps are made of.
    fn steps(&self, columns: &Arc<HostBatch>) -> Steps {
        Steps {
            columns: columns.clone(),
            segments: self.segments.clone(),
            final_observations: self.final_observations.clone(),
            states: self.states.clone(),
            final_states: self.final_states.clone(),
        }
    }

    /// Adds the columns of steps that [`column`](Self::column) lists to those in host memory.
    ///
    /// # Errors
    /// [`LearnerError::OnDevice`] if these are on an accelerator.
    pub(crate) fn insert_steps(&mut self) -> Result<()> {
        let Storage::Host(columns) = &self.columns else { return Err(LearnerError::OnDevice) };
        let steps = self.steps(columns);
        let rows: Vec<usize> = (0..self.rows()).collect();
        let made = steps.names().map(|name| Ok((name, steps.column(name, &rows)?)));
        let made = made.collect::<Result<Vec<_>>>()?;
        // Otherwise the first insertion would copy the columns that are shared.
        drop(steps);
        made.into_iter().try_for_each(|(name, column)| self.insert(name, column))
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
            (Some(size), Some(Sequences { counted: Some(steps), .. })) => {
                (size / (*steps).max(1)).max(1)
            }
            // The number of sequences that have `size` rows on average.
            (Some(size), Some(_)) => (count.saturating_mul(size) / rows.max(1)).max(1),
        };
        Units { count, minibatch }
    }
}

#[cfg(test)]
mod tests {
    use burn::prelude::Device;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::{AnyTensor, Columns};
    use rekindle_env_runner::SegmentEnd;

    use super::*;

    #[test]
    fn what_follows_steps_and_how_they_end_are_columns() {
        let mut columns = HostBatch::new();
        let obs = |data: &[f32]| Buffer::from_f32(data.to_vec(), &[]).unwrap();
        columns.insert(Columns::OBS, obs(&[0.0, 1.0, 2.0, 10.0, 20.0, 21.0])).unwrap();
        let mut data = TrainData::from(columns);
        data.segments = Arc::new(vec![
            Segment::new(0..3, SegmentEnd::Terminated),
            Segment::new(3..4, SegmentEnd::Truncated),
            Segment::new(4..6, SegmentEnd::Cut).with_t_started(7),
        ]);
        data.final_observations = Some(Arc::new(obs(&[3.0, 11.0, 22.0])));
        let states = Buffer::from_i64((0..6).collect(), &[]).unwrap();
        data.states = Some(Arc::new(StepStates::from(states)));
        data.final_states = Some(Arc::new(Buffer::from_i64(vec![-1, -2, -3], &[]).unwrap()));
        let read = |name: &str| data.column(name, &[5, 0, 1, 2, 3, 4, 2]).unwrap();
        let floats = |name: &str| read(name).as_f32().unwrap().to_vec();
        let ints = |name: &str| read(name).as_i64().unwrap().to_vec();
        assert_eq!(floats(Columns::NEXT_OBS), [22.0, 1.0, 2.0, 3.0, 11.0, 21.0, 3.0]);
        assert_eq!(floats(Columns::TERMINATEDS), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(floats(Columns::TRUNCATEDS), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(ints(Columns::T), [8, 0, 1, 2, 0, 7, 2]);
        assert_eq!(ints(Columns::STEP_STATE_IN), [5, 0, 1, 2, 3, 4, 2]);
        assert_eq!(ints(Columns::STEP_STATE_OUT), [-3, 1, 2, -1, -2, 5, -1]);
        assert!(data.column(Columns::T, &[6]).is_err() && data.column("u", &[0]).is_err());

        // Minibatches and data on an accelerator have the same columns.
        let device = Device::flex();
        let batch = data.minibatch(&[5, 2], &device).unwrap();
        let resident = data.resident(&device).minibatch(&[5, 2], &device).unwrap();
        for batch in [batch, resident] {
            let next = batch.float::<1>(Columns::NEXT_OBS).unwrap();
            assert_eq!(to_f32(next).unwrap(), [22.0, 3.0]);
            let t = batch.int::<1>(Columns::T).unwrap();
            assert_eq!(AnyTensor::from(t).to_i64().unwrap(), [8, 2]);
        }
    }
}
