//! One update: from experience to new weights.

mod on_device;
mod readings;
mod step;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::device::is_host;
use rekindle_core::{Batch, ModuleId};
use rekindle_metrics::Reducer;

use self::readings::{MinibatchMetrics, Readings};
use super::{Learner, ModuleRollouts};
use crate::minibatch::{MinibatchCyclicIterator, Units};
use crate::{LearnerBatch, LearnerError, Result, UpdateContext};

/// The rows of a module that a minibatch is made of, on the device; `None` if it has none.
type Gather<'a> = dyn Fn(&str, &[usize], &Device) -> Option<Result<Batch>> + 'a;

const NO_ROWS: &str = "num_updates_without_rows_lifetime";

impl Learner {
    /// Learns from experience: epochs of minibatches, one optimizer step each.
    ///
    /// A minibatch whose loss or gradients are not finite is skipped, counted and reported under
    /// `num_non_finite_updates_lifetime`; the weights stay as they were.
    ///
    /// Modules that share parameters are stepped together, by the gradient of the sum of their
    /// losses; if one of the losses is not finite, none of them is stepped.
    ///
    /// Experience of modules that do not learn ([`Learner::set_policies_to_train`]) is ignored. A
    /// module without a row is left out, which is counted under `num_updates_without_rows_lifetime`.
    ///
    /// `env_steps` is the number of environment steps sampled since the start of training.
    ///
    /// # Errors
    /// [`LearnerError::NoRollouts`] if no module has a row, or if the objective or a forward pass
    /// fails. Steps taken before stay.
    pub fn update(&mut self, data: &ModuleRollouts, env_steps: u64) -> Result<()> {
        self.objective.before_update(env_steps);
        let batches = self.build_batches(data, env_steps)?;
        let rows = batches.iter().map(|(id, b)| (id.clone(), b.rows())).collect();
        let size = self.config.minibatch_size;
        let units = batches.iter().map(|(id, batch)| (id.clone(), batch.units(size))).collect();
        let resident = self.upload(&batches)?;
        let gather = |id: &str, units: &[usize], device: &Device| match resident.get(id) {
            Some(batch) => Some(on_device::select(batch, units, device)),
            None => Some(batches.get(id)?.gather_to_device(units, device)),
        };
        self.learn(&rows, &units, &gather, env_steps)
    }

    /// The batches whose minibatches are gathered on the device: where it has memory of its own,
    /// all that are made of single rows.
    fn upload(
        &self,
        batches: &BTreeMap<ModuleId, LearnerBatch>,
    ) -> Result<BTreeMap<ModuleId, Batch>> {
        if is_host(&self.device) {
            return Ok(BTreeMap::new());
        }
        let of_rows = batches.iter().filter(|(_, batch)| batch.sequences.is_none());
        let upload = |(id, batch): (&ModuleId, &LearnerBatch)| {
            Ok((id.clone(), batch.columns.to_device(&self.device)?))
        };
        of_rows.map(upload).collect()
    }

    /// Epochs of minibatches, and what is reported of them. `rows` are those of each module, `units`
    /// what its minibatches are made of.
    fn learn(
        &mut self,
        rows: &BTreeMap<ModuleId, usize>,
        units: &BTreeMap<ModuleId, Units>,
        gather: &Gather<'_>,
        env_steps: u64,
    ) -> Result<()> {
        let mut rng = self.shuffle_rng.clone();
        let minibatches = MinibatchCyclicIterator::new(self.config.epochs(), units, &mut rng)?;
        let count = minibatches.len();
        let last_epoch = count - count.div_ceil(self.config.num_epochs);
        let mut history = Vec::with_capacity(count);
        for minibatch in minibatches {
            history.push(self.step(gather, &minibatch, env_steps)?);
        }
        self.shuffle_rng = rng;
        self.weights_seq_no += 1;
        let history = Readings::read(history)?;
        for minibatch in &history {
            self.count_refused(minibatch)?;
        }
        let history: Vec<_> = history.into_iter().map(|minibatch| minibatch.metrics).collect();
        let mut recent = mean(&history[last_epoch.min(history.len())..]);
        recent.retain(|id, _| rows.contains_key(id));
        let extra = self.objective.after_update(&recent, env_steps);
        self.log(&mean(&history), rows, &extra, env_steps)
    }

    /// The objective's learner connectors: from rollouts to columns.
    fn build_batches(
        &mut self,
        data: &ModuleRollouts,
        env_steps: u64,
    ) -> Result<BTreeMap<ModuleId, LearnerBatch>> {
        let started = Instant::now();
        let plain = self.device.clone().inner();
        let mut batches = BTreeMap::new();
        for (id, rollouts) in data {
            let module = self.module.module(id)?;
            if !self.should_module_be_updated(id) {
                continue;
            }
            if rollouts.iter().all(|rollout| rollout.env_steps() == 0) {
                let key = format!("{id}/{NO_ROWS}");
                self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
                continue;
            }
            let module = module.valid();
            let cx = UpdateContext {
                module_id: id,
                module: &module,
                device: &plain,
                config: self.config.of_module(id),
                env_steps,
            };
            batches.insert(id.clone(), self.objective.build_batch(cx, rollouts)?);
        }
        if batches.is_empty() {
            return Err(LearnerError::NoRollouts);
        }
        self.metrics.log_time("learner_connector_timer", started.elapsed())?;
        Ok(batches)
    }

    fn log(
        &mut self,
        means: &MinibatchMetrics,
        rows: &BTreeMap<ModuleId, usize>,
        extra: &[(ModuleId, &'static str, f64)],
        env_steps: u64,
    ) -> Result<()> {
        for (id, metrics) in means {
            for (name, value) in metrics {
                self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
            }
            if self.optimizers.contains_key(id) {
                let lr = self.config.of_module(id).lr.value(env_steps);
                let key = format!("{id}/default_optimizer_learning_rate");
                self.metrics.log_value(&key, lr, Reducer::Item)?;
            }
            let Some(rows) = rows.get(id) else { continue };
            let trained = (rows * self.config.num_epochs) as f64;
            let key = format!("{id}/num_module_steps_trained_lifetime");
            self.metrics.log_value(&key, trained, Reducer::LifetimeSum)?;
        }
        for (id, name, value) in extra {
            self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
        }
        Ok(())
    }
}

/// Means over minibatches; values that are not finite do not count.
fn mean(history: &[MinibatchMetrics]) -> MinibatchMetrics {
    let mut sums: BTreeMap<ModuleId, BTreeMap<&'static str, (f64, f64)>> = BTreeMap::new();
    for (id, metrics) in history.iter().flatten() {
        for (name, value) in metrics.iter().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = sums.entry(id.clone()).or_default().entry(name).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    let of_module = |metrics: BTreeMap<&'static str, (f64, f64)>| {
        metrics.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect()
    };
    sums.into_iter().map(|(id, metrics)| (id, of_module(metrics))).collect()
}
