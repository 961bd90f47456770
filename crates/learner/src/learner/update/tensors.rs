//! Updates from batches that are on the learner's device already.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_core::{Batch, ModuleId};

use super::{MinibatchMetrics, TOTAL_LOSS, mean};
use crate::learner::update::GLOBAL_NORM;
use crate::minibatch::{MinibatchCyclicIterator, Units};
use crate::{Learner, LearnerError, Loss, Result, UpdateContext};

impl Learner {
    /// Learns from batches on the learner's device: epochs of minibatches, gathered there.
    ///
    /// The columns are what [`Objective::build_batch`] would make of experience, a row per step, for
    /// modules without memory; modules that do not learn are ignored. Everything else is as in
    /// [`Learner::update`]: the same loss, order of rows, clipping, guard and metrics. The host reads
    /// one small tensor a minibatch.
    ///
    /// [`Objective::build_batch`]: crate::Objective::build_batch
    ///
    /// # Errors
    /// [`LearnerError::NoRollouts`] if no module has a row, or if the objective or a forward pass
    /// fails. Steps taken before stay.
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
            return Err(LearnerError::NoRollouts);
        }
        let size = self.config.minibatch_size;
        let of_rows = |(id, &count): (&ModuleId, &usize)| {
            (id.clone(), Units { count, minibatch: size.unwrap_or(count) })
        };
        let units = rows.iter().map(of_rows).collect();
        let mut rng = self.shuffle_rng.clone();
        let minibatches = MinibatchCyclicIterator::new(self.config.epochs(), &units, &mut rng)?;
        let count = minibatches.len();
        let last_epoch = count - count.div_ceil(self.config.num_epochs);
        let mut history = Vec::with_capacity(count);
        for minibatch in minibatches {
            history.push(self.step_on_device(batches, &minibatch, env_steps)?);
        }
        self.shuffle_rng = rng;
        self.weights_seq_no += 1;
        let mut recent = mean(&history[last_epoch.min(history.len())..]);
        recent.retain(|id, _| rows.contains_key(id));
        let extra = self.objective.after_update(&recent, env_steps);
        self.log(&mean(&history), &rows, &extra, env_steps)
    }

    /// One optimizer step of all parameters on rows that are gathered on the device.
    fn step_on_device(
        &mut self,
        batches: &BTreeMap<ModuleId, Batch>,
        minibatch: &BTreeMap<ModuleId, Vec<usize>>,
        env_steps: u64,
    ) -> Result<MinibatchMetrics> {
        let mut losses = BTreeMap::new();
        for (id, rows) in minibatch {
            let Some(batch) = batches.get(id) else { continue };
            let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let data = TensorData::new(rows, [minibatch[id].len()]);
            let rows = Tensor::<1, Int>::from_data(data, &self.device);
            let batch = batch.select_rows(&rows)?;
            let module = self.module.module(id)?;
            let outputs = module.forward_train(&batch)?;
            if let Some(own) = module.module().as_self_supervised_loss() {
                let total = own.compute_self_supervised_loss(&batch, &outputs)?;
                losses.insert(id.clone(), Loss { total, metrics: Vec::new() });
                continue;
            }
            let cx = UpdateContext {
                module_id: id,
                module,
                device: &self.device,
                config: self.config.of_module(id),
                env_steps,
            };
            losses.insert(id.clone(), self.objective.compute_loss(cx, &batch, &outputs)?);
        }
        let (gradients, metrics) = self.backward(losses)?;
        for (group, gradients) in gradients {
            let of_group =
                metrics.iter().filter(|(id, _)| self.module.parameter_group(id) == group);
            let loss: f64 = of_group.filter_map(|(_, metrics)| metrics.get(TOTAL_LOSS)).sum();
            let norm = metrics.get(&group).and_then(|m| m.get(GLOBAL_NORM)).copied().unwrap_or(0.0);
            if loss.is_finite() && norm.is_finite() {
                self.apply(&group, gradients, norm, env_steps)?;
            } else {
                self.skip(&group, loss, norm)?;
            }
        }
        Ok(metrics)
    }
}
