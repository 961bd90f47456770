//! Sequences of steps for modules with memory, drawn from stored rows.

use std::sync::Arc;

use rekindle_core::{Columns, Generator, HostBatch};
use rekindle_env::Buffer;

use super::ROWS;
use super::slots::Slot;
use super::storage::{Follows, Storage};
use super::transitions::TransitionSpec;
use crate::error::Result;
use crate::train_data::{Sequences, TrainData};

/// The column of bootstrap rows: the row of the sequence whose value follows each step, counted from the end of
/// the burn-in.
pub const NEXT_ROWS: &str = "next_rows";
/// The column of the recurrent state at the start of the burn-in of each sequence.
pub const BURN_IN_STATE: &str = "burn_in_state";
/// The column of burn-in flags: 1 for a sequence with burn-in, and 0 if fewer steps of its episode are stored
/// before it.
pub const BURNED_IN: &str = "burned_in";

/// The columns of sequences, all padded to the same length.
struct Columned<'a> {
    slots: Vec<Slot<'a>>,
    rows: Vec<i64>,
    rewards: Vec<f32>,
    discounts: Vec<f32>,
    next: Vec<i64>,
    mask: Vec<f32>,
}

impl Columned<'_> {
    fn new(rows: usize) -> Self {
        Self {
            slots: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            rewards: Vec::with_capacity(rows),
            discounts: Vec::with_capacity(rows),
            next: Vec::with_capacity(rows),
            mask: Vec::with_capacity(rows),
        }
    }

    /// Appends rows that are not learned from.
    fn pad(&mut self, rows: usize) {
        let padded = self.mask.len() + rows;
        self.rewards.resize(padded, 0.0);
        self.discounts.resize(padded, 0.0);
        self.next.resize(padded, 0);
        self.mask.resize(padded, 0.0);
    }
}

impl Storage {
    /// Gathers sequences of `len` steps that begin in the given rows.
    ///
    /// A sequence has three parts: the steps of the burn-in, the steps to learn from, and the rows of the values
    /// that follow the last steps, one for each step of the longest transition. A sequence ends with its
    /// episode; the observation after the last step is the last row before the padding. Padding repeats the first
    /// step to learn from, so that its actions and action masks are valid.
    ///
    /// # Errors
    /// If a row is not stored, or the steps were stored without states.
    pub(super) fn gather_sequences(
        &self,
        starts: &[usize],
        len: usize,
        spec: &TransitionSpec,
        rng: &mut Generator,
    ) -> Result<TrainData> {
        let (burn_in, ahead) = (spec.burn_in, len + *spec.n_step.end());
        let padded = burn_in + ahead;
        let mut columns = Columned::new(starts.len() * padded);
        let (mut path, mut before) = (Vec::with_capacity(ahead), Vec::with_capacity(burn_in));
        let mut burn_in_starts = Vec::with_capacity(starts.len());
        for (index, &start) in starts.iter().enumerate() {
            let end = (index + 1) * padded;
            before.clear();
            before.extend(
                std::iter::successors(self.predecessor(start), |row| self.predecessor(*row))
                    .take(burn_in),
            );
            let burned_in = burn_in > 0 && before.len() == burn_in;
            burn_in_starts.push(before.last().copied().filter(|_| burned_in));
            let padding = Slot::Row(start);
            match burned_in {
                true => columns.slots.extend(before.iter().rev().map(|row| Slot::Row(*row))),
                false => columns.slots.resize(columns.slots.len() + burn_in, padding),
            }
            columns.pad(burn_in);

            path.clear();
            path.extend(std::iter::successors(Some(start), |row| self.successor(*row)).take(ahead));
            columns.slots.extend(path.iter().map(|row| Slot::Row(*row)));
            if let Some(&last) = path.last().filter(|_| path.len() < ahead)
                && self.follows(last) != Follows::Absent
            {
                columns.slots.push(self.after(last, self.successor(last)));
            }
            columns.slots.resize(end, padding);
            for (step, &row) in path.iter().take(len).enumerate() {
                let transition = self.transition(row, spec.draw_steps(rng), spec.gamma);
                columns.rewards.push(transition.reward as f32);
                columns.discounts.push(transition.discount as f32);
                columns.next.push((step + transition.steps) as i64);
                columns.mask.push(1.0);
            }
            columns.pad(end - columns.mask.len());
            columns.rows.resize(end, start as i64);
        }
        self.sequence_data(columns, starts, &burn_in_starts, [padded, len])
    }

    fn sequence_data(
        &self,
        columns: Columned<'_>,
        starts: &[usize],
        burn_in_starts: &[Option<usize>],
        [padded, len]: [usize; 2],
    ) -> Result<TrainData> {
        let (mut batch, mut of_sequences) = (HostBatch::new(), HostBatch::new());
        for (index, name) in self.columns.keys().enumerate() {
            if index == self.obs {
                batch.insert(Columns::OBS, self.observations(&columns.slots)?)?;
            } else if name == Columns::STATE_IN {
                let at_start = self.column(index, &self.locate(starts.iter().copied()))?;
                of_sequences.insert(Columns::STATE_IN, at_start)?;
                if padded > len && burn_in_starts.iter().any(Option::is_some) {
                    let rows = starts.iter().zip(burn_in_starts);
                    let rows = rows.map(|(start, burn_in)| burn_in.unwrap_or(*start));
                    of_sequences.insert(BURN_IN_STATE, self.column(index, &self.locate(rows))?)?;
                    let burned_in = |row: &Option<usize>| if row.is_some() { 1.0 } else { 0.0 };
                    let burned_in = burn_in_starts.iter().map(burned_in).collect();
                    of_sequences.insert_f32(BURNED_IN, burned_in)?;
                }
            } else {
                let rows = self.locate(columns.slots.iter().map(|slot| slot.row()));
                batch.insert(name.clone(), self.column(index, &rows)?)?;
            }
        }
        batch.insert_f32(Columns::REWARDS, columns.rewards)?;
        batch.insert_f32(Columns::DISCOUNTS, columns.discounts)?;
        batch.insert_f32(Columns::LOSS_MASK, columns.mask)?;
        batch.insert(NEXT_ROWS, Buffer::from_i64(columns.next, &[])?)?;
        batch.insert(ROWS, Buffer::from_i64(columns.rows, &[])?)?;
        let mut data = TrainData::from(batch);
        let rows = (0..starts.len()).map(|index| index * padded..(index + 1) * padded);
        data.sequences = Some(Sequences {
            rows: rows.collect(),
            len: padded,
            counted: Some(len),
            columns: Arc::new(of_sequences),
        });
        Ok(data)
    }
}
