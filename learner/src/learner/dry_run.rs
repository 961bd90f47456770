//! The dry run of losses, so that mistakes surface before there is experience.

use std::collections::BTreeSet;

use burn::module::Module;
use rekindle_kernels::eager;
use rekindle_rl_module::Role;

use super::Learner;
use crate::error::{LearnerError, Result};
use crate::gradients::Gradients;
use crate::loss::{NO_GRADIENT, PrepareContext};
use crate::optimizer::parameter_names;
use crate::optimizer_group::Parameters;
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
        let (mut reached, mut stepped, mut row_values) = (false, false, BTreeSet::new());
        for phase in 0..of_module.phases.len() {
            let at = PrepareContext::new(id, module, &self.device);
            let losses = of_module.compute(at, &batch, phase)?;
            row_values.extend(losses.row_values.iter().map(|(name, _)| *name));
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
        let reason = match (reached, stepped) {
            (true, true) => return Ok(Some(row_values)),
            (true, false) => NO_STEP,
            (false, _) => NO_GRADIENT,
        };
        let (id, loss, reason) = (id.into(), of_module.loss.name().into(), reason.into());
        Err(LearnerError::InvalidLoss { id, loss, reason })
    }
}
