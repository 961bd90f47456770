//! The outputs of a module that are recorded besides its actions.

use std::collections::BTreeMap;
use std::ops::Range;

use rekindle_core::{Batch, Columns, host_batch};
use rekindle_env::Buffer;
use rekindle_rl_module::AnyRLModule;
use serde::{Deserialize, Serialize};

use crate::error::{Result, RunnerError};

/// The columns of a forward pass that are not recorded under their name: the sampling rule reads those of
/// the actions, and features are only for the same pass.
const READ: [&str; 6] = [
    Columns::ACTIONS,
    Columns::ACTION_DIST_INPUTS,
    Columns::ACTION_LOGP,
    Columns::ACTION_PROB,
    Columns::EMBEDDINGS,
    Columns::STATE_OUT,
];

/// Columns that a module returned beyond those of the actions, by name, with one row per step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Outputs(BTreeMap<String, Buffer>);

impl Outputs {
    /// Reads the columns of a forward pass over `rows` observations.
    ///
    /// # Errors
    /// [`RunnerError::OutputRows`] for a column with another number of rows; if a device fails.
    pub(crate) fn of(module: &AnyRLModule, outputs: &Batch, rows: usize) -> Result<Self> {
        let mut columns = BTreeMap::new();
        for name in outputs.names().filter(|name| !READ.contains(name)) {
            let column = host_batch::download(outputs.column(name)?)?;
            if column.rows() != rows {
                let (module, column, found) =
                    (module.spec().module().into(), name.into(), column.rows());
                return Err(RunnerError::OutputRows { module, column, expected: rows, found });
            }
            columns.insert(name.to_owned(), column);
        }
        Ok(Self(columns))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether every column has this number of rows.
    pub(crate) fn have_rows(&self, rows: usize) -> bool {
        self.0.values().all(|column| column.rows() == rows)
    }

    /// Appends rows of the same columns. `is_first` says that there are no rows so far.
    ///
    /// # Errors
    /// [`RunnerError::OutputColumns`] if a column is new, is missing, or has another layout.
    pub(crate) fn extend_from(
        &mut self,
        other: &Self,
        rows: Range<usize>,
        is_first: bool,
    ) -> Result<()> {
        if is_first {
            let part = |(name, column): (&String, &Buffer)| {
                Ok((name.clone(), column.slice(rows.clone())?))
            };
            self.0 = other.0.iter().map(part).collect::<Result<_>>()?;
            return Ok(());
        }
        for (name, column) in &mut self.0 {
            let changed = || RunnerError::OutputColumns { column: name.clone() };
            let more = other.0.get(name).ok_or_else(changed)?;
            column.extend_from(more, rows.clone()).map_err(|_| changed())?;
        }
        match other.0.keys().find(|name| !self.0.contains_key(*name)) {
            Some(name) => Err(RunnerError::OutputColumns { column: name.clone() }),
            None => Ok(()),
        }
    }

    /// Removes the rows from `at` on, and returns them.
    pub(crate) fn split_off(&mut self, at: usize) -> Result<Self> {
        let mut rest = BTreeMap::new();
        for (name, column) in &mut self.0 {
            rest.insert(name.clone(), column.slice(at..column.rows())?);
            column.truncate(at);
        }
        Ok(Self(rest))
    }

    /// Returns these columns and those of the actions by name, for `rows` steps: `action_dist_inputs` from
    /// `inputs`, row-major, and `action_logp` and `action_prob` from `logp`. Columns without a value are left
    /// out.
    ///
    /// # Errors
    /// If `inputs` is not a whole number of rows.
    pub(crate) fn into_extras(
        self,
        inputs: Vec<f32>,
        logp: Vec<f32>,
        rows: usize,
    ) -> Result<BTreeMap<String, Buffer>> {
        let mut extras = self.0;
        if !inputs.is_empty() {
            let width = inputs.len() / rows.max(1);
            extras.insert(Columns::ACTION_DIST_INPUTS.into(), Buffer::from_f32(inputs, &[width])?);
        }
        if !logp.is_empty() {
            let prob = logp.iter().map(|logp| logp.exp()).collect();
            extras.insert(Columns::ACTION_PROB.into(), Buffer::from_f32(prob, &[])?);
            extras.insert(Columns::ACTION_LOGP.into(), Buffer::from_f32(logp, &[])?);
        }
        Ok(extras)
    }
}
