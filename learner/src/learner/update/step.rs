//! One minibatch: losses, gradients and the steps they ask for.

use std::collections::{BTreeMap, BTreeSet};

use burn::prelude::*;
use rekindle_core::ModuleId;
use rekindle_core::any_tensor::to_f32;
use rekindle_kernels::StepGuard;
use rekindle_metrics::Reducer;

use super::Gather;
use super::readings::{Minibatch, Readings};
use crate::{GlobalNorm, Gradients, Learner, Loss, Result, UpdateContext};

const TOTAL_LOSS: &str = "total_loss";
const GLOBAL_NORM: &str = "gradients_default_optimizer_global_norm";
/// Gradients of a larger norm have squares beyond single precision, and are not applied.
const LARGEST_NORM: f64 = 1.8e19;

/// What a minibatch asks of the parameters of a group.
struct Step {
    group: String,
    /// The sum of the losses of the modules that have these parameters, `[1]`.
    loss: Tensor<1>,
    norm: GlobalNorm,
    gradients: Gradients,
}

impl Learner {
    /// One optimizer step of all parameters on one minibatch, without the modules in `stopped`.
    /// Modules that stop early here are added to it.
    pub(super) fn step(
        &mut self,
        gather: &Gather<'_>,
        minibatch: &BTreeMap<ModuleId, Vec<usize>>,
        env_steps: u64,
        stopped: &mut BTreeSet<ModuleId>,
    ) -> Result<Readings> {
        let mut losses = BTreeMap::new();
        let learning = minibatch.iter().filter(|(id, _)| !stopped.contains(*id));
        for (id, units) in learning.collect::<Vec<_>>() {
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
            let loss = self.objective.compute_loss(cx, &batch, &outputs)?;
            if self.objective.stops_early(cx, &loss)? {
                stopped.insert(id.clone());
            } else {
                losses.insert(id.clone(), loss);
            }
        }
        let mut readings = Readings::default();
        for step in self.backward(losses, &mut readings)? {
            self.apply(step, env_steps, &mut readings)?;
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
    fn apply(&mut self, step: Step, env_steps: u64, readings: &mut Readings) -> Result<()> {
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
        if let GlobalNorm::Known(norm) = norm
            && norm > LARGEST_NORM
            && !matches!(gradients.global_norm()?, Some(GlobalNorm::Known(n)) if n <= LARGEST_NORM)
        {
            readings.refuse(group);
            return Ok(());
        }
        let lr = config.lr.value(env_steps);
        let Some(optimizer) = self.optimizers.get_mut(&group) else { return Ok(()) };
        self.module.change_parameters(&group, |module| {
            optimizer.step(lr, guard.as_ref(), module, gradients)
        })?
    }

    /// Counts the steps of a minibatch that were not taken.
    pub(super) fn count_refused(&mut self, minibatch: &Minibatch) -> Result<()> {
        for (group, metrics) in &minibatch.metrics {
            let Some(&norm) = metrics.get(GLOBAL_NORM) else { continue };
            let of_group =
                minibatch.metrics.iter().filter(|(id, _)| self.module.parameter_group(id) == group);
            let loss: f64 = of_group.filter_map(|(_, metrics)| metrics.get(TOTAL_LOSS)).sum();
            if loss.is_finite() && norm.is_finite() && !minibatch.refused.contains(group) {
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
}
