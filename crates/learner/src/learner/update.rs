//! One update: from experience to new weights.

mod readings;
mod tensors;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;
use burn::prelude::{Device, Tensor};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::device::is_host;
use rekindle_core::kernels::StepGuard;
use rekindle_core::metrics::Reducer;
use rekindle_core::{Batch, ModuleId};

use self::readings::{Minibatch, MinibatchMetrics, Readings};
use super::{Learner, ModuleRollouts};
use crate::minibatch::{MinibatchCyclicIterator, Units};
use crate::{GlobalNorm, Gradients, LearnerBatch, LearnerError, Loss, Result, UpdateContext};

/// What a minibatch asks of the parameters of a group.
struct Step {
    group: String,
    /// The sum of the losses of the modules that have these parameters, `[1]`.
    loss: Tensor<1>,
    norm: GlobalNorm,
    gradients: Gradients,
}

/// The rows of a module that a minibatch is made of, on the device; `None` if it has none.
type Gather<'a> = dyn Fn(&str, &[usize], &Device) -> Option<Result<Batch>> + 'a;

const TOTAL_LOSS: &str = "total_loss";
const GLOBAL_NORM: &str = "gradients_default_optimizer_global_norm";
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
            Some(batch) => Some(tensors::select(batch, units, device)),
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

    /// One optimizer step of all parameters on one minibatch.
    fn step(
        &mut self,
        gather: &Gather<'_>,
        minibatch: &BTreeMap<ModuleId, Vec<usize>>,
        env_steps: u64,
    ) -> Result<Readings> {
        let mut losses = BTreeMap::new();
        for (id, units) in minibatch {
            let Some(batch) = gather(id, units, &self.device).transpose()? else { continue };
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
        let mut readings = Readings::default();
        for step in self.backward(losses, &mut readings)? {
            self.apply(step, env_steps)?;
        }
        Ok(readings)
    }

    /// What the sum of all losses asks of each group of parameters.
    fn backward(
        &self,
        losses: BTreeMap<ModuleId, Loss>,
        readings: &mut Readings,
    ) -> Result<Vec<Step>> {
        let add = |sum: Option<Tensor<1>>, loss: Tensor<1>| match sum {
            Some(sum) => Some(sum + loss),
            None => Some(loss),
        };
        let mut of_groups: BTreeMap<String, Tensor<1>> = BTreeMap::new();
        let mut total = None;
        for (id, loss) in losses {
            readings.insert(&id, TOTAL_LOSS, loss.total.clone());
            for (name, value) in loss.metrics {
                readings.insert(&id, name, value);
            }
            let group = self.module.parameter_group(&id);
            let of_group = add(of_groups.remove(group), loss.total.clone().inner());
            of_groups.extend(of_group.map(|loss| (group.to_owned(), loss)));
            total = add(total, loss.total);
        }
        let Some(total) = total else { return Ok(Vec::new()) };
        let mut all = total.backward();
        let mut steps = Vec::new();
        for (group, module) in self.module.parameter_groups() {
            let gradients = Gradients::take(module, &mut all);
            if let Some(norm) = gradients.global_norm()?
                && let Some(loss) = of_groups.remove(group)
            {
                readings.insert_norm(group, GLOBAL_NORM, &norm);
                steps.push(Step { group: group.to_owned(), loss, norm, gradients });
            }
        }
        Ok(steps)
    }

    /// Takes a step if loss and gradients are finite. On the CPU the host looks; on another device
    /// it would have to wait for that, and the device decides.
    fn apply(&mut self, step: Step, env_steps: u64) -> Result<()> {
        let Step { group, loss, norm, gradients } = step;
        let guard = match &norm {
            GlobalNorm::Known(norm) => {
                let loss = to_f32(loss)?;
                if !norm.is_finite() || !loss.iter().all(|loss| loss.is_finite()) {
                    return Ok(());
                }
                None
            }
            GlobalNorm::OnDevice(norm) => Some(StepGuard::new((loss + norm.clone()).is_finite())),
        };
        let config = self.config.of_module(&group);
        let gradients = self.objective.postprocess_gradients(&group, config, gradients, &norm)?;
        let lr = config.lr.value(env_steps);
        let Some(optimizer) = self.optimizers.get_mut(&group) else { return Ok(()) };
        self.module.change_parameters(&group, |module| {
            optimizer.step(lr, guard.as_ref(), module, gradients)
        })?
    }

    /// Counts the steps of a minibatch that were not taken.
    fn count_refused(&mut self, minibatch: &Minibatch) -> Result<()> {
        for (group, metrics) in &minibatch.metrics {
            let Some(&norm) = metrics.get(GLOBAL_NORM) else { continue };
            let of_group =
                minibatch.metrics.iter().filter(|(id, _)| self.module.parameter_group(id) == group);
            let loss: f64 = of_group.filter_map(|(_, metrics)| metrics.get(TOTAL_LOSS)).sum();
            if loss.is_finite() && norm.is_finite() {
                continue;
            }
            tracing::warn!(
                module = group,
                loss,
                gradient_norm = norm,
                "skipped an update that is not finite"
            );
            if minibatch.guarded.contains(group)
                && let Some(optimizer) = self.optimizers.get_mut(group)
            {
                optimizer.forget_step();
            }
            let key = format!("{group}/num_non_finite_updates_lifetime");
            self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
        }
        Ok(())
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
