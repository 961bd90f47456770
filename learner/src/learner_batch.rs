//! What minibatches are cut from.

use std::ops::Range;

use burn::prelude::Device;
use rekindle_core::{Batch, Columns, HostBatch, host_batch};
use rekindle_env::Buffer;

use crate::Result;
use crate::minibatch::Units;

/// Rows to learn from, and for a stateful module the sequences they form.
#[derive(Debug, Clone)]
pub struct LearnerBatch {
    /// A row per step.
    pub columns: HostBatch,
    /// The sequences that minibatches are made of; `None` if they are made of single rows.
    pub sequences: Option<Sequences>,
}

/// Steps that belong together in training a stateful module.
#[derive(Debug, Clone)]
pub struct Sequences {
    /// The rows of each, in time order; none has more than [`len`](Self::len).
    pub rows: Vec<Range<usize>>,
    /// What all are padded to.
    pub len: usize,
    /// The state that each starts from, a row each.
    pub states: Buffer,
}

impl From<HostBatch> for LearnerBatch {
    fn from(columns: HostBatch) -> Self {
        Self { columns, sequences: None }
    }
}

impl LearnerBatch {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.columns.rows()
    }

    /// What a minibatch of about `minibatch_size` rows is made of; `None` takes all at once.
    pub fn units(&self, minibatch_size: Option<usize>) -> Units {
        let rows = self.rows();
        let count = self.sequences.as_ref().map_or(rows, |sequences| sequences.rows.len());
        let minibatch = match (minibatch_size, &self.sequences) {
            (None, _) => count,
            (Some(size), None) => size,
            // As many sequences as have so many rows on average.
            (Some(size), Some(_)) => (count * size / rows.max(1)).max(1),
        };
        Units { count, minibatch }
    }

    /// Gathers units, in that order, and uploads them.
    ///
    /// # Shapes
    /// `[units, …]` for single rows. For sequences `[units · len, …]`, with
    /// [`Columns::STATE_IN`] `[units, …]` and [`Columns::LOSS_MASK`] `[units · len]`, 1 for rows and
    /// 0 for padding.
    ///
    /// # Errors
    /// If a unit is out of range, or a column has more dimensions than tensors have here.
    pub fn gather_to_device(&self, units: &[usize], device: &Device) -> Result<Batch> {
        let Some(sequences) = &self.sequences else {
            return Ok(self.columns.gather_to_device(units, device)?);
        };
        let (rows, mask) = sequences.padded(units);
        let mut batch = self.columns.gather_to_device(&rows, device)?;
        sequences.insert_states(&mut batch, units, device)?;
        let mask = Buffer::from_f32(mask, &[])?;
        batch.insert(Columns::LOSS_MASK, host_batch::upload(&mask, device)?);
        Ok(batch)
    }
}

impl Sequences {
    /// The rows of some sequences with padding, which repeats the last row of a sequence, and which
    /// of them count.
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

    pub(crate) fn insert_states(
        &self,
        batch: &mut Batch,
        units: &[usize],
        device: &Device,
    ) -> Result<()> {
        let states = self.states.gather(units)?;
        batch.insert(Columns::STATE_IN, host_batch::upload(&states, device)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn batch() -> LearnerBatch {
        let mut columns = HostBatch::new();
        columns.insert_f32("rewards", (0..7).map(|i| i as f32).collect()).unwrap();
        let states = Buffer::from_f32(vec![10.0, 20.0, 30.0], &[1]).unwrap();
        let sequences = Sequences { rows: vec![0..3, 3..4, 4..7], len: 3, states };
        LearnerBatch { columns, sequences: Some(sequences) }
    }

    #[test]
    fn sequences_are_padded_and_masked_and_bring_their_state() {
        let batch = batch().gather_to_device(&[1, 2], &Device::flex()).unwrap();
        let rewards = to_f32(batch.float::<1>("rewards").unwrap()).unwrap();
        assert_eq!(rewards, [3.0, 3.0, 3.0, 4.0, 5.0, 6.0]);
        let mask = to_f32(batch.float::<1>(Columns::LOSS_MASK).unwrap()).unwrap();
        assert_eq!(mask, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let states = to_f32(batch.float::<2>(Columns::STATE_IN).unwrap()).unwrap();
        assert_eq!(states, [20.0, 30.0]);
    }

    #[test]
    fn a_minibatch_has_as_many_sequences_as_rows_were_asked_for() {
        let batch = batch();
        assert_eq!(batch.units(None), Units { count: 3, minibatch: 3 });
        assert_eq!(batch.units(Some(5)), Units { count: 3, minibatch: 2 });
        assert_eq!(batch.units(Some(1)), Units { count: 3, minibatch: 1 });
        let rows = LearnerBatch::from(batch.columns);
        assert_eq!(rows.units(Some(5)), Units { count: 7, minibatch: 5 });
    }
}
