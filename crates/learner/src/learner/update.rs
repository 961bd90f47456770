//! One update: from experience to new weights.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;
use burn::prelude::Tensor;
use rekindle_core::ModuleId;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::metrics::Reducer;

use super::{Learner, ModuleRollouts};
use crate::minibatch::MinibatchCyclicIterator;
use crate::{Gradients, LearnerBatch, Loss, Result, UpdateContext};

/// Metrics of one minibatch by module and name.
type MinibatchMetrics = BTreeMap<ModuleId, BTreeMap<&'static str, f64>>;

const TOTAL_LOSS: &str = "total_loss";
const GLOBAL_NORM: &str = "gradients_default_optimizer_global_norm";

impl Learner {
    /// Learns from experience: epochs of minibatches, one optimizer step each.
    ///
    /// A minibatch whose loss or gradients are not finite is skipped, counted and reported under
    /// `num_non_finite_updates_lifetime`; the weights stay as they were.
    ///
    /// `env_steps` is the number of environment steps sampled since the start of training.
    ///
    /// # Errors
    /// If a module has no rows, or the objective or a forward pass fails. Steps taken before stay.
    pub fn update(&mut self, data: &ModuleRollouts, env_steps: u64) -> Result<()> {
        self.objective.before_update(env_steps);
        let batches = self.build_batches(data, env_steps)?;
        let rows: BTreeMap<_, _> = batches.iter().map(|(id, b)| (id.clone(), b.rows())).collect();
        let size = self.config.minibatch_size;
        let units = batches.iter().map(|(id, batch)| (id.clone(), batch.units(size))).collect();
        let mut rng = self.shuffle_rng.clone();
        let minibatches = MinibatchCyclicIterator::new(self.config.epochs(), &units, &mut rng)?;
        let count = minibatches.len();
        let last_epoch = count - count.div_ceil(self.config.num_epochs);
        let mut history = Vec::with_capacity(count);
        for minibatch in minibatches {
            history.push(self.step(&batches, &minibatch, env_steps)?);
        }
        self.shuffle_rng = rng;
        self.weights_seq_no += 1;
        let recent = mean(&history[last_epoch.min(history.len())..]);
        let extra = self.objective.after_update(&recent, env_steps);
        self.log(&mean(&history), &rows, &extra, env_steps)
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
            let module = self.module.module(id)?.valid();
            let cx = UpdateContext {
                module_id: id,
                module: &module,
                device: &plain,
                config: &self.config,
                env_steps,
            };
            batches.insert(id.clone(), self.objective.build_batch(cx, rollouts)?);
        }
        self.metrics.log_time("learner_connector_timer", started.elapsed())?;
        Ok(batches)
    }

    /// One optimizer step of every module on one minibatch.
    fn step(
        &mut self,
        batches: &BTreeMap<ModuleId, LearnerBatch>,
        minibatch: &BTreeMap<ModuleId, Vec<usize>>,
        env_steps: u64,
    ) -> Result<MinibatchMetrics> {
        let mut losses = BTreeMap::new();
        for (id, units) in minibatch {
            let Some(batch) = batches.get(id) else { continue };
            let batch = batch.gather_to_device(units, &self.device)?;
            let module = self.module.module(id)?;
            let outputs = module.forward_train(&batch)?;
            let cx = UpdateContext {
                module_id: id,
                module,
                device: &self.device,
                config: &self.config,
                env_steps,
            };
            losses.insert(id.clone(), self.objective.compute_loss(cx, &batch, &outputs)?);
        }
        let (mut gradients, metrics) = self.backward(losses)?;
        for (id, metrics) in &metrics {
            let Some(gradients) = gradients.remove(id) else { continue };
            let norm = metrics.get(GLOBAL_NORM).copied().unwrap_or(0.0);
            let loss = metrics.get(TOTAL_LOSS).copied().unwrap_or(0.0);
            if !loss.is_finite() || !norm.is_finite() {
                self.skip(id, loss, norm)?;
                continue;
            }
            self.apply(id, gradients, norm, env_steps)?;
        }
        Ok(metrics)
    }

    /// Gradients of the sum of all losses, and all metrics in one read from the device.
    fn backward(
        &self,
        losses: BTreeMap<ModuleId, Loss>,
    ) -> Result<(BTreeMap<ModuleId, Gradients>, MinibatchMetrics)> {
        let mut names = Vec::new();
        let mut scalars: Vec<Tensor<1>> = Vec::new();
        let mut total: Option<Tensor<1>> = None;
        for (id, loss) in losses {
            names.push((id.clone(), TOTAL_LOSS));
            scalars.push(loss.total.clone().inner());
            for (name, value) in loss.metrics {
                names.push((id.clone(), name));
                scalars.push(value.inner());
            }
            total = Some(match total {
                Some(total) => total + loss.total,
                None => loss.total,
            });
        }
        let Some(total) = total else { return Ok(Default::default()) };
        let mut all = total.backward();
        let mut gradients = BTreeMap::new();
        for (id, module) in self.module.iter() {
            let of_module = Gradients::take(module, &mut all);
            if let Some(square_sum) = of_module.square_sum()? {
                names.push((id.clone(), GLOBAL_NORM));
                scalars.push(square_sum);
                gradients.insert(id.clone(), of_module);
            }
        }
        let values = to_f32(Tensor::cat(scalars, 0))?;
        let mut metrics = MinibatchMetrics::new();
        for ((id, name), value) in names.into_iter().zip(values) {
            let value = match gradients.get(&id) {
                Some(of_module) if name == GLOBAL_NORM => of_module.global_norm(value)?,
                _ => f64::from(value),
            };
            metrics.entry(id).or_default().insert(name, value);
        }
        Ok((gradients, metrics))
    }

    fn apply(&mut self, id: &str, gradients: Gradients, norm: f64, env_steps: u64) -> Result<()> {
        let cx = UpdateContext {
            module_id: id,
            module: self.module.module(id)?,
            device: &self.device,
            config: &self.config,
            env_steps,
        };
        let gradients = self.objective.postprocess_gradients(cx, gradients, norm)?;
        let lr = self.config.lr.value(env_steps);
        let Some(optimizer) = self.optimizers.get_mut(id) else { return Ok(()) };
        let module = self.module.remove_module(id)?;
        let (module, outcome) = optimizer.step(lr, module, gradients);
        self.module.add_module(id, module, true)?;
        outcome
    }

    fn skip(&mut self, id: &str, loss: f64, norm: f64) -> Result<()> {
        tracing::warn!(
            module = id,
            loss,
            gradient_norm = norm,
            "skipped an update that is not finite"
        );
        let key = format!("{id}/num_non_finite_updates_lifetime");
        Ok(self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?)
    }

    fn log(
        &mut self,
        means: &MinibatchMetrics,
        rows: &BTreeMap<ModuleId, usize>,
        extra: &[(ModuleId, &'static str, f64)],
        env_steps: u64,
    ) -> Result<()> {
        let lr = self.config.lr.value(env_steps);
        for (id, metrics) in means {
            for (name, value) in metrics {
                self.metrics.log_value(&format!("{id}/{name}"), *value, Reducer::Item)?;
            }
            let key = format!("{id}/default_optimizer_learning_rate");
            self.metrics.log_value(&key, lr, Reducer::Item)?;
            let trained = rows.get(id).map_or(0.0, |rows| (rows * self.config.num_epochs) as f64);
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
