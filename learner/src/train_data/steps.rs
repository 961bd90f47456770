//! Columns that follow from the others: what comes after each step, and how it ends.

use std::sync::{Arc, OnceLock};

use burn::prelude::*;
use rekindle_core::{Batch, Columns, CoreError, HostBatch, Result as CoreResult, host_batch};
use rekindle_env::{Buffer, EnvError};
use rekindle_env_runner::{RolloutStates, Segment, SegmentEnd};

/// The names of the columns.
const NAMES: [&str; 6] = [
    Columns::NEXT_OBS,
    Columns::TERMINATEDS,
    Columns::TRUNCATEDS,
    Columns::T,
    Columns::STEP_STATE_IN,
    Columns::STEP_STATE_OUT,
];

/// Everything that the columns are made of, shared by all minibatches. A column is made for the rows that
/// are read, when they are read.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    pub(super) columns: Arc<HostBatch>,
    pub(super) segments: Arc<Vec<Segment>>,
    pub(super) final_observations: Option<Arc<Buffer>>,
    pub(super) states: Option<Arc<StepStates>>,
    pub(super) final_states: Option<Arc<Buffer>>,
}

impl Steps {
    /// Adds the columns to a batch of these rows, except those that the data has itself.
    pub(super) fn insert_into(
        self: &Arc<Self>,
        batch: &mut Batch,
        rows: &Arc<Vec<usize>>,
        device: &Device,
    ) {
        for name in self.names() {
            let (steps, rows_of, device) = (self.clone(), rows.clone(), device.clone());
            batch.insert_deferred(name, rows.len(), move || {
                host_batch::upload(&steps.column(name, &rows_of)?, &device)
            });
        }
    }

    /// Returns the names of the columns that there are.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(|name| self.has(name))
    }

    /// Whether there is such a column, and the data does not have it itself.
    fn has(&self, name: &str) -> bool {
        let states = || self.states.is_some() && self.final_states.is_some();
        !self.segments.is_empty()
            && !self.columns.contains(name)
            && match name {
                Columns::NEXT_OBS => self.final_observations.is_some(),
                Columns::STEP_STATE_IN => self.states.is_some(),
                Columns::STEP_STATE_OUT => states(),
                Columns::TERMINATEDS | Columns::TRUNCATEDS | Columns::T => true,
                _ => false,
            }
    }

    /// Returns some rows of a column.
    ///
    /// # Errors
    /// [`CoreError::MissingColumn`] if there is none, [`CoreError::Env`] for a row that does not exist.
    pub(super) fn column(&self, name: &str, rows: &[usize]) -> CoreResult<Buffer> {
        let missing = || CoreError::MissingColumn {
            column: name.into(),
            available: self.columns.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
        };
        if !self.has(name) {
            return Ok(self.columns.column(name)?.gather(rows)?);
        }
        let all = self.columns.rows();
        if let Some(&row) = rows.iter().find(|row| **row >= all) {
            return Err(EnvError::RowOutOfRange { row, rows: all }.into());
        }
        let ends = |end| {
            let ends = |&row: &usize| {
                let ends = self.segment(row).is_some_and(|(_, s)| s.end == end && is_last(s, row));
                if ends { 1.0 } else { 0.0 }
            };
            Buffer::from_f32(rows.iter().map(ends).collect(), &[])
        };
        Ok(match name {
            Columns::NEXT_OBS => {
                let finals = self.final_observations.as_ref().ok_or_else(missing)?;
                self.after(self.columns.column(Columns::OBS)?, finals, rows)?
            }
            Columns::STEP_STATE_IN => {
                self.states.as_ref().ok_or_else(missing)?.all()?.gather(rows)?
            }
            Columns::STEP_STATE_OUT => {
                let states = self.states.as_ref().ok_or_else(missing)?.all()?;
                self.after(states, self.final_states.as_ref().ok_or_else(missing)?, rows)?
            }
            Columns::TERMINATEDS => ends(SegmentEnd::Terminated)?,
            Columns::TRUNCATEDS => ends(SegmentEnd::Truncated)?,
            _ => {
                let t = |&row: &usize| {
                    self.segment(row).map_or(0, |(_, s)| (s.t_started + row - s.start) as i64)
                };
                Buffer::from_i64(rows.iter().map(t).collect(), &[])?
            }
        })
    }

    /// Returns the row of a column after each of some rows; after the last one of a segment that of
    /// `finals`.
    fn after(&self, column: &Buffer, finals: &Buffer, rows: &[usize]) -> Result<Buffer, EnvError> {
        let mut next = Vec::with_capacity(rows.len());
        let mut last = Vec::new();
        for (index, &row) in rows.iter().enumerate() {
            match self.segment(row).filter(|(_, segment)| is_last(segment, row)) {
                Some((segment, _)) => {
                    last.push((index, segment));
                    next.push(row);
                }
                None => next.push(row + 1),
            }
        }
        let mut after = column.gather(&next)?;
        for (index, segment) in last {
            after.copy_row(index, finals, segment)?;
        }
        Ok(after)
    }

    /// Returns the segment of a row, with its number.
    fn segment(&self, row: usize) -> Option<(usize, &Segment)> {
        let next = self.segments.partition_point(|segment| segment.start <= row);
        let index = next.checked_sub(1)?;
        Some((index, self.segments.get(index)?))
    }
}

/// Whether a row is the last one of its segment.
fn is_last(segment: &Segment, row: usize) -> bool {
    row + 1 == segment.range().end
}

/// The state that a stateful module acted from in each row. The rows are collected when they are first
/// read.
#[derive(Debug)]
pub(super) struct StepStates {
    /// The states of rollouts, and the rows that count.
    rollouts: Vec<(Arc<RolloutStates>, Vec<usize>)>,
    all: OnceLock<Buffer>,
}

impl StepStates {
    pub(super) fn new(rollouts: Vec<(Arc<RolloutStates>, Vec<usize>)>) -> Self {
        Self { rollouts, all: OnceLock::new() }
    }

    /// The states of all rows.
    pub(super) fn all(&self) -> Result<&Buffer, EnvError> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let mut all: Option<Buffer> = None;
        for (states, rows) in &self.rollouts {
            let part = states.state_in.gather(rows)?;
            match &mut all {
                Some(all) => all.extend_from(&part, 0..part.rows())?,
                None => all = Some(part),
            }
        }
        let all = all.map_or_else(|| Buffer::from_f32(Vec::new(), &[]), Ok)?;
        Ok(self.all.get_or_init(|| all))
    }
}

impl From<Buffer> for StepStates {
    fn from(all: Buffer) -> Self {
        Self { rollouts: Vec::new(), all: OnceLock::from(all) }
    }
}
