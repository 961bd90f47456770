//! Updates from batches that are on the learner's device already.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_core::{Batch, ModuleId};

use crate::minibatch::Units;
use crate::{Learner, Result};

impl Learner {
    /// Learns from batches on the learner's device: epochs of minibatches, gathered there.
    ///
    /// The columns are what [`Objective::build_batch`] would make of experience, a row per step, for
    /// modules without memory; modules that do not learn are ignored. Everything else is as in
    /// [`Learner::update`]: the same loss, order of rows, clipping, guard and metrics. Nothing waits
    /// for the device before the last minibatch; then all metrics are read at once.
    ///
    /// [`Objective::build_batch`]: crate::Objective::build_batch
    ///
    /// # Errors
    /// If the objective or a forward pass fails. Steps taken before stay.
    pub fn update_from_batches(
        &mut self,
        batches: &BTreeMap<ModuleId, Batch>,
        env_steps: u64,
    ) -> Result<()> {
        self.objective.before_update(env_steps);
        let learns = |(id, batch): &(&ModuleId, &Batch)| {
            self.should_module_be_updated(id) && batch.rows() > 0
        };
        let rows: BTreeMap<_, _> =
            batches.iter().filter(learns).map(|(id, batch)| (id.clone(), batch.rows())).collect();
        if rows.is_empty() {
            return self.count_skipped();
        }
        let size = self.config.minibatch_size;
        let of_rows = |(id, &count): (&ModuleId, &usize)| {
            (id.clone(), Units { count, minibatch: size.unwrap_or(count) })
        };
        let units = rows.iter().map(of_rows).collect();
        let gather = |id: &str, rows: &[usize], device: &Device| {
            Some(select(batches.get(id)?, rows, device))
        };
        self.learn(&rows, &units, &gather, env_steps)
    }
}

/// Rows of a batch, gathered on its device.
pub(super) fn select(batch: &Batch, rows: &[usize], device: &Device) -> Result<Batch> {
    let indices: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let data = TensorData::new(indices, [rows.len()]);
    Ok(batch.select_rows(&Tensor::<1, Int>::from_data(data, device))?)
}
