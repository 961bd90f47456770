//! One update: from experience to new weights.

mod on_device;
mod readings;
mod step;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::device::is_host;
use rekindle_core::{ALL_MODULES, Batch, ModuleId};
use rekindle_env::Buffer;
use rekindle_env_runner::Rollout;
use rekindle_metrics::Reducer;

use self::readings::{MinibatchMetrics, Readings};
use super::{Learner, ModuleRollouts};
use crate::minibatch::{MinibatchCyclicIterator, Units};
use crate::{LearnerBatch, Result, UpdateContext};

/// The rows of a module that a minibatch is made of, on the device; `None` if it has none.
type Gather<'a> = dyn Fn(&str, &[usize], &Device) -> Option<Result<Batch>> + 'a;

const NO_ROWS: &str = "num_updates_without_rows_lifetime";
const FOREIGN_ROWS: &str = "num_rows_of_replaced_modules_lifetime";

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
    /// Rollouts whose recorded states are not those of the module, because it was replaced since, are
    /// left out, and their rows are counted under `num_rows_of_replaced_modules_lifetime`.
    ///
    /// If no module that learns has a row, the update is skipped: the weights and their version stay,
    /// and it is counted under that name for [`ALL_MODULES`].
    ///
    /// A module that [stops early](crate::Objective::stops_early) is counted under
    /// `num_early_stops_lifetime`.
    ///
    /// `env_steps` is the number of environment steps sampled since the start of training.
    ///
    /// # Errors
    /// If the objective or a forward pass fails. Steps taken before stay.
    pub fn update(&mut self, data: &ModuleRollouts, env_steps: u64) -> Result<()> {
        self.objective.before_update(env_steps);
        let batches = self.build_batches(data, env_steps)?;
        if batches.is_empty() {
            return self.count_skipped();
        }
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

    /// Counts an update without a row of any module that learns.
    fn count_skipped(&mut self) -> Result<()> {
        let key = format!("{ALL_MODULES}/{NO_ROWS}");
        Ok(self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?)
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
        let of_epoch = count.div_ceil(self.config.num_epochs);
        let mut history = Vec::with_capacity(count);
        let mut stopped = BTreeSet::new();
        // For modules that stop early, the minibatches that they learned from.
        let mut lasted = BTreeMap::new();
        for minibatch in minibatches {
            history.push(self.step(gather, &minibatch, env_steps, &mut stopped)?);
            for id in &stopped {
                lasted.entry(id.clone()).or_insert(history.len() - 1);
            }
            if stopped.len() == units.len() {
                break;
            }
        }
        self.shuffle_rng = rng;
        self.weights_seq_no += 1;
        let history = Readings::read(history)?;
        for minibatch in &history {
            self.count_refused(minibatch)?;
        }
        let history: Vec<_> = history.into_iter().map(|minibatch| minibatch.metrics).collect();
        let mut recent = mean(&history[history.len().saturating_sub(of_epoch)..]);
        recent.retain(|id, _| rows.contains_key(id));
        let extra = self.objective.after_update(&recent, env_steps);
        for id in stopped {
            let key = format!("{id}/num_early_stops_lifetime");
            self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
        }
        let trained = |(id, rows): (&ModuleId, &usize)| {
            let all = rows * self.config.num_epochs;
            (id.clone(), lasted.get(id).map_or(all, |steps| all * steps / count))
        };
        let trained = rows.iter().map(trained).collect();
        self.log(&mean(&history), &trained, &extra, env_steps)
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
            self.module.module(id)?;
            if !self.should_module_be_updated(id) {
                continue;
            }
            let rollouts = self.with_fitting_states(id, rollouts)?;
            if rollouts.iter().all(|rollout| rollout.env_steps() == 0) {
                let key = format!("{id}/{NO_ROWS}");
                self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
                continue;
            }
            let module = self.module.module(id)?.valid();
            let cx = UpdateContext {
                module_id: id,
                module: &module,
                device: &plain,
                config: self.config.of_module(id),
                env_steps,
            };
            batches.insert(id.clone(), self.objective.build_batch(cx, &rollouts)?);
        }
        self.metrics.log_time("learner_connector_timer", started.elapsed())?;
        Ok(batches)
    }

    /// The rollouts whose recorded states are those of the module. Others were sampled with a module
    /// that was replaced since, by a runner that was late: they are left out and their rows counted.
    fn with_fitting_states<'a>(
        &mut self,
        id: &str,
        rollouts: &'a [Rollout],
    ) -> Result<Cow<'a, [Rollout]>> {
        let initial = self.module.module(id)?.initial_state()?;
        let (fitting, others): (Vec<_>, Vec<_>) =
            rollouts.iter().partition(|rollout| has_states_like(rollout, initial.as_ref()));
        if others.is_empty() {
            return Ok(rollouts.into());
        }
        let rows: usize = others.into_iter().map(Rollout::env_steps).sum();
        let key = format!("{id}/{FOREIGN_ROWS}");
        self.metrics.log_value(&key, rows as f64, Reducer::LifetimeSum)?;
        Ok(fitting.into_iter().cloned().collect())
    }

    fn log(
        &mut self,
        means: &MinibatchMetrics,
        trained: &BTreeMap<ModuleId, usize>,
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
            let Some(rows) = trained.get(id) else { continue };
            let key = format!("{id}/num_module_steps_trained_lifetime");
            self.metrics.log_value(&key, *rows as f64, Reducer::LifetimeSum)?;
        }
        for (id, name, value) in extra {
            self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
        }
        Ok(())
    }
}

/// Whether the states of a rollout have the layout of an initial state; both may be missing.
fn has_states_like(rollout: &Rollout, initial: Option<&Buffer>) -> bool {
    match (&rollout.states, initial) {
        (None, None) => true,
        (Some(states), Some(initial)) => {
            initial.clone().extend_from(&states.state_in, 0..0).is_ok()
        }
        _ => false,
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
