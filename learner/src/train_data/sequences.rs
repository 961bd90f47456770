//! Sequences of steps, and the minibatches that are made of them.

use std::ops::Range;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_core::{Batch, Columns, HostBatch};
use rekindle_env_runner::{Segment, SegmentEnd};
use rekindle_rl_module::AnyRLModule;

use super::{Steps, Storage, TrainData};
use crate::error::Result;

/// Steps that stay together in a minibatch: those of a stateful module, or of a loss that looks along
/// time.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sequences {
    /// The rows of each, in time order; none has more than [`len`](Self::len).
    pub rows: Vec<Range<usize>>,
    /// The length to which all are padded.
    pub len: usize,
    /// Steps of a sequence that the size of a minibatch counts; `None` counts all of its rows.
    pub counted: Option<usize>,
    /// Columns with one row per sequence: [`Columns::STATE_IN`], the state that each starts from, and
    /// others of the loss.
    pub columns: Arc<HostBatch>,
}

impl Sequences {
    /// Cuts segments into sequences of at most `max_len` rows.
    #[must_use]
    pub fn cut(segments: &[Segment], max_len: usize) -> Self {
        let longest = segments.iter().map(|segment| segment.len).max().unwrap_or(1);
        let len = longest.min(max_len).max(1);
        let rows = segments.iter().flat_map(|segment| {
            let Range { start, end } = segment.range();
            (start..end).step_by(len).map(move |start| start..end.min(start + len))
        });
        Self { rows: rows.collect(), len, counted: None, columns: Arc::default() }
    }

    /// Whether each sequence starts from a state.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.columns.contains(Columns::STATE_IN)
    }

    /// Returns the rows of some sequences with padding, which repeats the last row of a sequence, and 1
    /// for each that counts and 0 for padding.
    pub(crate) fn padded(&self, units: &[usize]) -> (Vec<usize>, Vec<f32>) {
        let capacity = units.len() * self.len;
        let (mut rows, mut mask) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        for range in units.iter().filter_map(|&unit| self.rows.get(unit)) {
            rows.extend(range.clone());
            rows.extend((range.len()..self.len).map(|_| range.end - 1));
            mask.extend((0..self.len).map(|t| if t < range.len() { 1.0 } else { 0.0 }));
        }
        (rows, mask)
    }

    /// Adds the columns of some sequences to a minibatch.
    pub(crate) fn insert_columns(&self, batch: &mut Batch, units: &[usize], device: &Device) {
        batch.extend(self.columns.gather_to_device(units.to_vec(), device));
    }
}

impl TrainData {
    /// Makes sequences of at most `max_len` steps, unless a stateful module already has some, and adds
    /// what follows each: [`Columns::FINAL_OBS`], [`Columns::FINAL_TERMINATED`], and for a stateful module
    /// [`Columns::FINAL_STATE`]. For losses that look along time, such as V-trace.
    ///
    /// # Errors
    /// If the columns do not fit together, or are on an accelerator.
    pub fn add_sequence_ends(&mut self, max_len: usize) -> Result<()> {
        let mut sequences =
            self.sequences.take().unwrap_or_else(|| Sequences::cut(&self.segments, max_len));
        let observations = self.host()?.column(Columns::OBS)?;
        let mut final_obs = observations.slice(0..0)?;
        let states = sequences.is_stateful().then(|| sequences.columns.column(Columns::STATE_IN));
        let states = states.transpose()?;
        let mut final_states = states.map(|states| states.slice(0..0)).transpose()?;
        let mut terminated = Vec::with_capacity(sequences.rows.len());
        let mut segments = self.segments.iter().enumerate().filter(|(_, s)| s.len > 0);
        let mut segment = segments.next();
        for (index, rows) in sequences.rows.iter().enumerate() {
            while segment.is_some_and(|(_, s)| s.range().end < rows.end) {
                segment = segments.next();
            }
            let Some((number, of)) = segment else { break };
            let is_last = of.range().end == rows.end;
            match (is_last, &self.final_observations) {
                (true, Some(finals)) => final_obs.extend_from(finals, number..number + 1)?,
                _ => final_obs.extend_from(observations, rows.end..rows.end + 1)?,
            }
            if let (Some(states), Some(all)) = (states, &mut final_states) {
                match (is_last, &self.final_states) {
                    (true, Some(finals)) => all.extend_from(finals, number..number + 1)?,
                    _ => all.extend_from(states, index + 1..index + 2)?,
                }
            }
            let ends = is_last && of.end == SegmentEnd::Terminated;
            terminated.push(if ends { 1.0 } else { 0.0 });
        }
        let columns = Arc::make_mut(&mut sequences.columns);
        columns.insert(Columns::FINAL_OBS, final_obs)?;
        columns.insert_f32(Columns::FINAL_TERMINATED, terminated)?;
        if let Some(states) = final_states {
            columns.insert(Columns::FINAL_STATE, states)?;
        }
        self.sequences = Some(sequences);
        Ok(())
    }

    /// Whether the states that the sequences start from are those of a module; `true` if neither has
    /// any.
    ///
    /// # Errors
    /// If the module fails to create its initial state.
    pub fn fits(&self, module: &AnyRLModule) -> Result<bool> {
        let sequences = self.sequences.as_ref().filter(|sequences| sequences.is_stateful());
        Ok(match (sequences, module.initial_state()?) {
            (None, None) => true,
            (Some(sequences), Some(mut initial)) => {
                let states = sequences.columns.column(Columns::STATE_IN)?;
                initial.extend_from(states, 0..0).is_ok()
            }
            _ => false,
        })
    }

    /// Returns the minibatch of some units, in that order. Columns in host memory are gathered and
    /// uploaded when they are first read.
    ///
    /// # Shapes
    /// `[units, …]` for single rows. For sequences `[units · len, …]`, with the columns of sequences
    /// `[units, …]` and [`Columns::LOSS_MASK`] `[units · len]`, 1 for rows and 0 for padding, unless the data has
    /// a mask itself.
    ///
    /// # Errors
    /// If a device fails.
    pub fn minibatch(&self, units: &[usize], device: &Device) -> Result<Batch> {
        let columns = match &self.columns {
            Storage::Host(columns) => columns,
            Storage::Device(columns) => {
                let indices: Vec<i32> = units.iter().map(|&row| row as i32).collect();
                let data = TensorData::new(indices, [units.len()]);
                return Ok(columns.select_rows(&Tensor::<1, Int>::from_data(data, device)));
            }
        };
        let Some(sequences) = &self.sequences else {
            return Ok(self.gathered(columns, units.to_vec(), device));
        };
        let (rows, mask) = sequences.padded(units);
        let rows_of_mask = mask.len();
        let mut batch = self.gathered(columns, rows, device);
        sequences.insert_columns(&mut batch, units, device);
        if columns.contains(Columns::LOSS_MASK) {
            return Ok(batch);
        }
        let device = device.clone();
        batch.insert_deferred(Columns::LOSS_MASK, rows_of_mask, move || {
            let mask = TensorData::new(mask.clone(), [rows_of_mask]);
            Ok(Tensor::<1>::from_data(mask, &device).into())
        });
        Ok(batch)
    }

    /// Returns some rows of all columns, those of steps included.
    fn gathered(&self, columns: &Arc<HostBatch>, rows: Vec<usize>, device: &Device) -> Batch {
        let rows = Arc::new(rows);
        let mut batch = columns.gather_to_device(rows.clone(), device);
        Steps::insert_into(&Arc::new(self.steps(columns)), &mut batch, &rows, device);
        batch
    }

    /// Returns the data with its columns on an accelerator, each uploaded when it is first read, if
    /// minibatches are made of single rows: they are then gathered there.
    #[must_use]
    pub(crate) fn resident(self, device: &Device) -> Self {
        match &self.columns {
            Storage::Host(columns) if self.sequences.is_none() => {
                let (steps, rows) = (Arc::new(self.steps(columns)), (0..columns.rows()).collect());
                let mut batch = columns.to_device(device);
                Steps::insert_into(&steps, &mut batch, &Arc::new(rows), device);
                Self { columns: Storage::Device(batch), ..self }
            }
            _ => self,
        }
    }

    /// Returns the rows of the data that the rows of a minibatch stand for; `None` for padding.
    pub(crate) fn rows_of(&self, units: &[usize]) -> Vec<Option<usize>> {
        match &self.sequences {
            None => units.iter().copied().map(Some).collect(),
            Some(sequences) => {
                let (rows, mask) = sequences.padded(units);
                rows.into_iter().zip(mask).map(|(row, m)| (m > 0.0).then_some(row)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::Buffer;

    use super::*;

    fn data() -> TrainData {
        let mut columns = HostBatch::new();
        columns.insert_f32("rewards", (0..7).map(|i| i as f32).collect()).unwrap();
        let mut states = HostBatch::new();
        let state = Buffer::from_f32(vec![10.0, 20.0, 30.0], &[1]).unwrap();
        states.insert(Columns::STATE_IN, state).unwrap();
        let rows = vec![0..3, 3..4, 4..7];
        let mut data = TrainData::from(columns);
        let counted = None;
        data.sequences = Some(Sequences { rows, len: 3, counted, columns: Arc::new(states) });
        data
    }

    #[test]
    fn sequences_are_padded_and_masked_and_bring_their_state() {
        let batch = data().minibatch(&[1, 2], &Device::flex()).unwrap();
        let rewards = to_f32(batch.float::<1>("rewards").unwrap()).unwrap();
        assert_eq!(rewards, [3.0, 3.0, 3.0, 4.0, 5.0, 6.0]);
        let mask = to_f32(batch.float::<1>(Columns::LOSS_MASK).unwrap()).unwrap();
        assert_eq!(mask, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let states = to_f32(batch.float::<2>(Columns::STATE_IN).unwrap()).unwrap();
        assert_eq!(states, [20.0, 30.0]);
        let rows = data().rows_of(&[1, 2]);
        assert_eq!(rows, [Some(3), None, None, Some(4), Some(5), Some(6)]);
    }

    #[test]
    fn a_minibatch_has_as_many_sequences_as_rows_were_asked_for() {
        use crate::minibatch::Units;

        let data = data();
        assert_eq!(data.units(None), Units { count: 3, minibatch: 3 });
        assert_eq!(data.units(Some(5)), Units { count: 3, minibatch: 2 });
        assert_eq!(data.units(Some(1)), Units { count: 3, minibatch: 1 });
        let rows = TrainData::from(data.host().unwrap().clone());
        assert_eq!(rows.units(Some(5)), Units { count: 7, minibatch: 5 });
    }
}
