//! The dry run of losses, so that mistakes surface before there is experience.

use burn::module::Module;
use rekindle_kernels::eager;
use rekindle_rl_module::Role;

use super::Learner;
use crate::error::{LearnerError, Result};
use crate::gradients::Gradients;
use crate::loss::{NO_GRADIENT, PrepareContext};
use crate::train_data::TrainData;

impl Learner {
    /// Runs the loss of a module on drawn experience
    /// ([`dry_run_rollout`](rekindle_env_runner::dry_run_rollout),
    /// [`dry_run_rollout_on_device`](rekindle_env_runner::tensor_env::dry_run_rollout_on_device)): its connectors and its
    /// preparation, every phase, and whether its gradients reach the parameters. Nothing of the learner
    /// changes. Modules that do not learn, learn by themselves or by a loss of their own, or have no
    /// parameters are left out.
    ///
    /// # Errors
    /// The error of the loss; [`LearnerError::InvalidLoss`] for a loss that is not one number or does not
    /// depend on the parameters.
    pub fn dry_run(&self, id: &str, data: TrainData) -> Result<()> {
        let _eager = eager::scope(self.config.eager);
        let module = self.module.module(id)?;
        let own = module.has_role(Role::SelfSupervisedLoss) || module.has_role(Role::LearnOnBatch);
        if own || module.num_params() == 0 || !self.should_module_be_updated(id) {
            return Ok(());
        }
        let mut of_module = self.new_module_loss(id, module)?;
        let (valid, plain) = (module.valid(), self.device.clone().inner());
        let cx = PrepareContext::new(id, &valid, &plain);
        let data = of_module.connect(&cx, data)?;
        let data = of_module.prepare(&cx, data)?;
        let units: Vec<usize> = (0..data.units(None).count).collect();
        let batch = data.minibatch(&units, &self.device)?;
        let mut reached = false;
        for phase in 0..of_module.phases.len() {
            let at = PrepareContext::new(id, module, &self.device);
            let losses = of_module.compute(at, &batch, phase)?;
            let mut all = losses.total.backward();
            reached |= !Gradients::take(module, &mut all).is_empty()
                || !Gradients::take(&of_module.scalars, &mut all).is_empty();
        }
        if reached {
            return Ok(());
        }
        Err(LearnerError::InvalidLoss {
            id: id.into(),
            loss: of_module.loss.name().into(),
            reason: NO_GRADIENT.into(),
        })
    }
}
