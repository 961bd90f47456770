//! The dry run of losses, so that mistakes surface before there is experience.

use std::collections::BTreeSet;
use std::thread;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::panics::message;
use rekindle_kernels::eager;
use rekindle_rl_module::{AnyRLModule, Role};

use super::Learner;
use crate::collective::{Collective, LocalCollective};
use crate::error::{LearnerError, Result};
use crate::gradients::Gradients;
use crate::loss::{NO_GRADIENT, PrepareContext};
use crate::optimizer::parameter_names;
use crate::optimizer_group::Parameters;
use crate::share::Share;
use crate::train_data::TrainData;

/// The reason for refusing a loss whose gradients no optimizer takes.
const NO_STEP: &str = "depends on no parameter that its optimizers step: give the prefixes of those parameters to an optimizer";

impl Learner {
    /// Runs the loss of a module on drawn experience
    /// ([`dry_run_rollout`](rekindle_env_runner::dry_run_rollout),
    /// [`dry_run_rollout_on_device`](rekindle_env_runner::tensor_env::dry_run_rollout_on_device)): its connectors and its
    /// preparation, every phase, and whether its gradients reach the parameters. Nothing of the learner
    /// changes. Modules that do not learn, learn by themselves or by a loss of their own, or have no
    /// parameters are left out.
    ///
    /// Returns the names of the values per row that the loss returns ([`Losses::row_values`](crate::Losses)); `None` for
    /// a module that is left out.
    ///
    /// # Errors
    /// The error of the loss; [`LearnerError::InvalidLoss`] for a loss that is not one number, or does not
    /// depend on a parameter that one of its optimizers steps.
    pub fn dry_run(&self, id: &str, data: TrainData) -> Result<Option<BTreeSet<&'static str>>> {
        let _eager = eager::scope(self.config.eager);
        let module = self.module.module(id)?;
        let own = module.has_role(Role::SelfSupervisedLoss) || module.has_role(Role::LearnOnBatch);
        if own || module.num_params() == 0 || !self.should_module_be_updated(id) {
            return Ok(None);
        }
        let mut of_module = self.new_module_loss(id, module)?;
        let (valid, plain) = (module.valid(), self.device.clone().inner());
        let cx = PrepareContext::new(id, &valid, &plain);
        let data = of_module.connect(&cx, data)?;
        let data = of_module.prepare(&cx, data)?;
        let units: Vec<usize> = (0..data.units(None).count).collect();
        let batch = data.minibatch(&units, &self.device)?;
        let names = parameter_names(module);
        let mut totals = Vec::with_capacity(of_module.phases.len());
        let (mut reached, mut stepped, mut row_values) = (false, false, BTreeSet::new());
        for phase in 0..of_module.phases.len() {
            let at = PrepareContext::new(id, module, &self.device);
            let losses = of_module.compute(at, &batch, phase, None)?;
            row_values.extend(losses.row_values.iter().map(|(name, _)| *name));
            totals.push(losses.total.clone().inner());
            let mut all = losses.total.backward();
            let of_parameters = Gradients::take(module, &mut all);
            let of_scalars = Gradients::take(&of_module.scalars, &mut all);
            reached |= !of_parameters.is_empty() || !of_scalars.is_empty();
            let of_phase = &of_module.phases[phase].optimizers;
            let optimizers = of_module.optimizers.iter().filter(|o| of_phase.contains(&o.name));
            for optimizer in optimizers {
                let names_it = |id| names.get(id).is_some_and(|name| optimizer.contains(name));
                stepped |= match &optimizer.parameters {
                    Parameters::All => !of_parameters.is_empty(),
                    Parameters::Prefixes(_) => of_parameters.params().any(names_it),
                    Parameters::Scalars(_) => !of_scalars.is_empty(),
                };
            }
        }
        if self.num_learners() > 1 {
            self.check_shares(id, module, &data, totals)?;
        }
        let reason = match (reached, stepped) {
            (true, true) => return Ok(Some(row_values)),
            (true, false) => NO_STEP,
            (false, _) => NO_GRADIENT,
        };
        let (id, loss, reason) = (id.into(), of_module.loss.name().into(), reason.into());
        Err(LearnerError::InvalidLoss { id, loss, reason })
    }
}

/// Largest difference between the loss of a minibatch and that of its shares, relative to 1 or the loss.
const TOLERANCE: f32 = 1e-3;

impl Learner {
    /// Checks that the loss of a minibatch is what two learners compute that share it. `totals` are the losses of the
    /// phases by one learner.
    ///
    /// # Errors
    /// [`LearnerError::NotShared`]; the error of the loss.
    fn check_shares(
        &self,
        id: &str,
        module: &AnyRLModule,
        data: &TrainData,
        totals: Vec<Tensor<1>>,
    ) -> Result<()> {
        let rows = data.rows_of_units()?;
        let members = LocalCollective::group(2);
        let mut learners = Vec::with_capacity(members.len());
        for mut collective in members {
            let share = Share::new(collective.rank(), collective.size(), &rows);
            let (module, mut of_module) =
                (module.clone().fork(&self.device), self.new_module_loss(id, module)?);
            let units: Vec<usize> = share.units.clone().collect();
            let batch = data.minibatch(&units, &self.device)?;
            let (eager, device) = (self.config.eager, self.device.clone());
            learners.push(move || {
                let _eager = eager::scope(eager);
                let mut totals = Vec::with_capacity(of_module.phases.len());
                for phase in 0..of_module.phases.len() {
                    let at = PrepareContext::new(id, &module, &device);
                    let shared = Some((&share, &mut collective as &mut (dyn Collective + 'static)));
                    let losses = of_module.compute(at, &batch, phase, shared)?;
                    totals.push(losses.total.inner() * share.weight);
                }
                Ok::<_, LearnerError>(totals)
            });
        }
        let of_shares = thread::scope(|scope| {
            // A learner that fails drops its end of the collective, and the other one does not wait.
            let threads: Vec<_> =
                learners.into_iter().map(|learner| scope.spawn(learner)).collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(totals) => totals,
                Err(panic) => Err(LearnerError::LearnerPanicked(message(&*panic).to_owned())),
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        for (phase, whole) in totals.into_iter().enumerate() {
            let mut sum = 0.0;
            for totals in &of_shares {
                sum += to_f32(totals[phase].clone())?.iter().sum::<f32>();
            }
            let whole: f32 = to_f32(whole)?.iter().sum();
            // Drawn experience may give a loss that is not finite.
            if whole.is_finite() && (sum - whole).abs() > TOLERANCE * whole.abs().max(1.0) {
                let reason = format!(
                    "its loss of a minibatch is {whole}, and that of two parts of the minibatch is {sum}: reduce terms over rows with `LossContext::mean` or `LossContext::sum`, and combine other means with `LossContext::mean_over_learners`"
                );
                return Err(LearnerError::NotShared { id: id.into(), reason });
            }
        }
        Ok(())
    }
}
