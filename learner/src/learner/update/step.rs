//! One minibatch: losses, gradients and the steps they ask for, phase by phase.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, ModuleId};
use rekindle_kernels::StepGuard;
use rekindle_metrics::Reducer;

use super::readings::{Minibatch, OptimizerKey, Outcome, Readings, RowValues};
use super::{ModuleData, TOTAL_LOSS};
use crate::error::Result;
use crate::global_norm::GlobalNorm;
use crate::gradients::Gradients;
use crate::learner::Learner;
use crate::learner::member::{PhaseLoss, trainable};
use crate::loss::{Phase, PrepareContext};
use crate::optimizer_group::{DEFAULT_OPTIMIZER, Parameters};
use crate::share::Share;

/// Gradients of a larger norm have squares beyond single precision, and are not applied.
const LARGEST_NORM: f64 = 1.8e19;

/// What a phase asks of the parameters of one optimizer.
pub(in crate::learner) struct Step {
    optimizer: OptimizerKey,
    /// The module whose loss decides on the gradients: one of those that have these parameters.
    module_id: ModuleId,
    /// The sum of the losses of the modules that have these parameters, `[1]`.
    loss: Tensor<1>,
    norm: GlobalNorm,
    gradients: Gradients,
}

/// What a phase asks of the parameters of one optimizer, before the gradients of all learners are added up.
struct Asked {
    optimizer: OptimizerKey,
    module_id: ModuleId,
    loss: Tensor<1>,
}

/// The rows of a minibatch that this learner computes.
#[derive(Default)]
struct Rows {
    batches: BTreeMap<ModuleId, Batch>,
    /// The share in the minibatch, if several learners share it.
    shares: BTreeMap<ModuleId, Share>,
}

/// The losses of the modules in one phase.
type PhaseLosses = BTreeMap<ModuleId, PhaseLoss>;

impl Learner {
    /// Takes the steps of all phases on one minibatch, without the modules in `stopped`. Modules that
    /// stop early here are added to it.
    pub(super) fn step(
        &mut self,
        data: &ModuleData,
        minibatch: &BTreeMap<ModuleId, Vec<usize>>,
        env_steps: u64,
        stopped: &mut BTreeSet<ModuleId>,
    ) -> Result<Readings> {
        let mut all = Rows::default();
        let learning = minibatch.iter().filter(|(id, _)| !stopped.contains(*id));
        for (id, units) in learning {
            let Some(data) = data.get(id) else { continue };
            let mut own = &units[..];
            if let Some(member) = &self.member {
                let share = member.share(id, units);
                own = &units[share.units.clone()];
                all.shares.insert(id.clone(), share);
            }
            all.batches.insert(id.clone(), data.minibatch(own, &self.device)?);
        }
        let of_minibatch = |id: &ModuleId| self.losses.get(id).map_or(0, |of| of.phases.len());
        let phases = all.batches.keys().map(of_minibatch).max().unwrap_or(0);
        let mut readings = Readings::default();
        for phase in 0..phases {
            let losses = self.phase_losses(phase, &all, env_steps, stopped, &mut readings)?;
            for (id, PhaseLoss { losses, .. }) in &losses {
                for (name, values) in &losses.row_values {
                    let mut units = minibatch.get(id).map(Vec::as_slice).unwrap_or_default();
                    let share = all.shares.get(id);
                    if let Some(share) = share {
                        units = &units[share.units.clone()];
                    }
                    let mut rows = data.get(id).map(|data| data.rows_of(units)).unwrap_or_default();
                    if share.is_some_and(|share| !share.counts()) {
                        // The values of rows of another learner, which returns them, too.
                        rows.fill(None);
                    }
                    let (module_id, values) = (id.clone(), values.clone());
                    readings.insert_rows(RowValues { module_id, name, rows, values });
                }
            }
            for step in self.backward(phase, losses, &mut readings)? {
                self.apply(step, env_steps, &mut readings)?;
            }
        }
        let stepped = all.batches.keys().filter(|id| !stopped.contains(*id));
        self.after_minibatch(stepped, env_steps)?;
        Ok(readings)
    }

    /// Computes what a whole batch asks of each optimizer, for a loss with one phase.
    pub(in crate::learner) fn whole_batch(
        &mut self,
        data: &ModuleData,
        env_steps: u64,
    ) -> Result<(Vec<Step>, Readings)> {
        let mut all = Rows::default();
        for (id, data) in data {
            let units: Vec<usize> = (0..data.units(None).count).collect();
            all.batches.insert(id.clone(), data.minibatch(&units, &self.device)?);
        }
        let mut readings = Readings::default();
        let mut stopped = BTreeSet::new();
        let losses = self.phase_losses(0, &all, env_steps, &mut stopped, &mut readings)?;
        let steps = self.backward(0, losses, &mut readings)?;
        Ok((steps, readings))
    }

    /// Computes the losses of one phase. If several learners share the minibatch, each computes its share, and what is
    /// reported is that of all.
    fn phase_losses(
        &mut self,
        phase: usize,
        rows: &Rows,
        env_steps: u64,
        stopped: &mut BTreeSet<ModuleId>,
        readings: &mut Readings,
    ) -> Result<PhaseLosses> {
        let mut computed = Vec::new();
        for (id, batch) in &rows.batches {
            let Some(of_module) = self.losses.get_mut(id) else { continue };
            let ended = phase >= of_module.phases.len() || stopped.contains(id);
            if ended || of_module.guarded(id, "skips_phase", |loss| Ok(loss.skips_phase(phase)))? {
                continue;
            }
            let module = self.module.module(id)?;
            let at = PrepareContext::at(id, module, &self.device, env_steps);
            let collective = self.member.as_mut().map(|member| &mut *member.collective);
            let shared = rows.shares.get(id).zip(collective);
            computed.push((id.clone(), of_module.compute(at, batch, phase, shared)?));
        }
        let computed: Vec<_> = match &mut self.member {
            Some(member) => member.combine(computed, &rows.shares)?,
            None => computed.into_iter().map(|(id, losses)| (id, losses.into())).collect(),
        };
        let mut all = PhaseLosses::new();
        for (id, loss) in computed {
            let Some(of_module) = self.losses.get_mut(&id) else { continue };
            let losses = &loss.losses;
            if of_module.guarded(&id, "stops_early", |of| of.stops_early(losses))? {
                stopped.insert(id.clone());
                // The loss that ended the update is reported: it says how far the update went.
                readings.insert(&id, loss_name(&of_module.phases, phase), loss.reported);
                for (name, value) in loss.losses.metrics {
                    readings.insert(&id, name, value);
                }
            } else {
                all.insert(id, loss);
            }
        }
        Ok(all)
    }

    /// What the sum of all losses asks of the optimizers of a phase.
    fn backward(
        &mut self,
        phase: usize,
        losses: PhaseLosses,
        readings: &mut Readings,
    ) -> Result<Vec<Step>> {
        let add = |sum: Option<Tensor<1>>, loss: Tensor<1>| match sum {
            Some(sum) => Some(sum + loss),
            None => Some(loss),
        };
        // By the name of parameters: a module that has them, and the sum of the losses of all.
        let mut of_groups: BTreeMap<String, (ModuleId, Tensor<1>)> = BTreeMap::new();
        let mut of_modules = BTreeMap::new();
        let mut total = None;
        for (id, PhaseLoss { losses, reported }) in losses {
            let phases = self.losses.get(&id).map_or(&[][..], |of_module| &of_module.phases);
            readings.insert(&id, loss_name(phases, phase), reported.clone());
            for (name, value) in losses.metrics {
                readings.insert(&id, name, value);
            }
            let group = self.module.parameter_group(&id);
            let (first, sum) = match of_groups.remove(group) {
                Some((first, sum)) => (first, sum + reported.clone()),
                None => (id.clone(), reported.clone()),
            };
            of_groups.insert(group.to_owned(), (first, sum));
            of_modules.insert(id, reported);
            total = add(total, losses.total);
        }
        let Some(total) = total else { return Ok(Vec::new()) };
        let mut all = total.backward();
        let is_shared = self.member.is_some();
        // What is asked, and beside it the gradients with the parameters that they may belong to.
        let (mut asked, mut sets) = (Vec::new(), Vec::new());
        for (group, module) in self.module.parameter_groups() {
            let gradients = Gradients::take(module, &mut all);
            let Some((module_id, loss)) = of_groups.remove(group) else { continue };
            let of_phase = self.losses.get(&module_id).and_then(|of| of.phases.get(phase));
            let optimizers = self.optimizers.0.get_mut(group);
            let (Some(of_phase), Some(optimizers)) = (of_phase, optimizers) else { continue };
            for (name, gradients) in optimizers.divide(module, gradients, &of_phase.optimizers) {
                let parameters = match is_shared {
                    true => optimizers.parameters(module, &name),
                    false => Vec::new(),
                };
                let optimizer = OptimizerKey { owner: group.to_owned(), name };
                let (module_id, loss) = (module_id.clone(), loss.clone());
                asked.push(Asked { optimizer, module_id, loss });
                sets.push((gradients, parameters));
            }
        }
        for (id, loss) in of_modules {
            let Some(of_module) = self.losses.get(&id) else { continue };
            let mut of_scalars = Gradients::take(&of_module.scalars, &mut all);
            let Some(of_phase) = of_module.phases.get(phase) else { continue };
            for optimizer in &of_module.optimizers {
                let Parameters::Scalars(scalars) = &optimizer.parameters else { continue };
                if !of_phase.optimizers.contains(&optimizer.name) {
                    continue;
                }
                let owned = of_module.scalars.params(scalars.iter().map(|(name, _)| name));
                let gradients = of_scalars.extract(|param| owned.contains(&param));
                let mut parameters = Vec::new();
                if is_shared {
                    parameters = trainable(&of_module.scalars);
                    parameters.retain(|(param, _)| owned.contains(param));
                }
                let optimizer = OptimizerKey { owner: id.clone(), name: optimizer.name.clone() };
                let (module_id, loss) = (id.clone(), loss.clone());
                asked.push(Asked { optimizer, module_id, loss });
                sets.push((gradients, parameters));
            }
        }
        if let Some(member) = &mut self.member {
            let device = self.device.clone().inner();
            Gradients::all_reduce(&mut sets, &mut *member.collective, &device)?;
        }
        let mut steps = Vec::new();
        for (Asked { optimizer, module_id, loss }, (gradients, _)) in asked.into_iter().zip(sets) {
            let Some(norm) = gradients.global_norm()? else { continue };
            steps.push(Step { optimizer, module_id, loss, norm, gradients });
        }
        Ok(steps)
    }

    /// Takes a step if loss and gradients are finite. On the CPU the host looks; on another device
    /// it would have to wait for that, and the device decides.
    pub(in crate::learner) fn apply(
        &mut self,
        step: Step,
        env_steps: u64,
        readings: &mut Readings,
    ) -> Result<()> {
        let Step { optimizer: key, module_id, loss, norm, gradients } = step;
        readings.insert_norm(&key.owner, norm_name(&key.name), &norm);
        let (guard, outcome) = match &norm {
            GlobalNorm::Known(norm) => {
                let loss = to_f32(loss)?;
                if !norm.is_finite() || !loss.iter().all(|loss| loss.is_finite()) {
                    readings.insert_step(key, Outcome::Refused);
                    return Ok(());
                }
                (None, Outcome::Taken)
            }
            GlobalNorm::OnDevice(norm) => {
                let sum = loss + norm.clone();
                (Some(StepGuard::new(sum.clone().is_finite())), Outcome::Guarded(sum))
            }
        };
        let of_key = self.optimizers.0.get_mut(&key.owner);
        let Some(optimizer) = of_key.and_then(|of| of.by_name.get_mut(&key.name)) else {
            return Ok(());
        };
        let Some(of_module) = self.losses.get_mut(&module_id) else { return Ok(()) };
        let gradients = of_module.guarded(&module_id, "postprocess_gradients", |loss| {
            loss.postprocess_gradients(&optimizer.settings, gradients, &norm)
        })?;
        if let GlobalNorm::Known(norm) = norm
            && norm > LARGEST_NORM
            && !matches!(gradients.global_norm()?, Some(GlobalNorm::Known(n)) if n <= LARGEST_NORM)
        {
            readings.insert_step(key, Outcome::Refused);
            return Ok(());
        }
        let (guard, outcome) = match (of_module.loss.changes_gradients(), outcome) {
            (false, outcome) => (guard, outcome),
            (true, outcome) => match (gradients.global_norm()?, outcome) {
                (Some(GlobalNorm::Known(norm)), _) if !norm.is_finite() => {
                    readings.insert_step(key, Outcome::Refused);
                    return Ok(());
                }
                (Some(GlobalNorm::OnDevice(norm)), Outcome::Guarded(sum)) => {
                    let sum = sum + norm;
                    (Some(StepGuard::new(sum.clone().is_finite())), Outcome::Guarded(sum))
                }
                (_, outcome) => (guard, outcome),
            },
        };
        let lr = optimizer.settings.lr.value(env_steps);
        let stepped = if optimizer.settings.has_scalars() {
            let scalars = std::mem::take(&mut of_module.scalars);
            let outcome;
            (of_module.scalars, outcome) =
                optimizer.optimizer.step(lr, guard.as_ref(), scalars, gradients);
            outcome
        } else {
            self.module.change_parameters(&key.owner, |module| {
                optimizer.optimizer.step(lr, guard.as_ref(), module, gradients)
            })?
        };
        readings.insert_step(key, outcome);
        stepped
    }

    /// Counts the steps of a minibatch that were not taken.
    pub(super) fn count_refused(&mut self, minibatch: &Minibatch) -> Result<()> {
        for (OptimizerKey { owner, name }, counted) in &minibatch.refused {
            let norm = minibatch.metrics.get(owner).and_then(|of| of.get(&norm_name(name)));
            tracing::warn!(
                module = owner,
                optimizer = name,
                gradient_norm = norm.copied().unwrap_or(f64::NAN),
                "skipped an update that is not finite"
            );
            let of_owner = self.optimizers.0.get_mut(owner);
            if let Some(optimizer) = of_owner.and_then(|of| of.by_name.get_mut(name))
                && *counted
            {
                optimizer.optimizer.forget_step();
            }
            let key = format!("{owner}/num_non_finite_updates_lifetime");
            self.metrics.log_value(&key, 1.0, Reducer::LifetimeSum)?;
        }
        Ok(())
    }
}

/// The name under which the loss of a phase is reported.
fn loss_name(phases: &[Phase], phase: usize) -> Cow<'static, str> {
    match phases {
        [_, _, ..] => format!("{}_loss", phases[phase].name).into(),
        _ => TOTAL_LOSS.into(),
    }
}

/// The name under which the norm of an optimizer's gradients is reported.
fn norm_name(optimizer: &str) -> Cow<'static, str> {
    const DEFAULT: &str = "gradients_default_optimizer_global_norm";
    match optimizer {
        DEFAULT_OPTIMIZER => DEFAULT.into(),
        other => format!("gradients_{other}_global_norm").into(),
    }
}
