//! Modules with a loss of their own.

use rekindle_checkpoint::State;
use rekindle_rl_module::Role;

use crate::error::Result;
use crate::global_norm::GlobalNorm;
use crate::gradients::Gradients;
use crate::loss::{Loss, LossContext, Losses};
use crate::optimizer_group::OptimizerGroup;
use crate::replay::TransitionSpec;

/// The loss of a module with the role [`SelfSupervisedLoss`](rekindle_rl_module::SelfSupervisedLoss), in place
/// of the algorithm's. The optimizers and the clipping stay those of the algorithm.
#[derive(Debug)]
pub(super) struct OwnLoss {
    of_algorithm: Box<dyn Loss>,
}

impl OwnLoss {
    pub(super) fn new(of_algorithm: Box<dyn Loss>) -> Self {
        Self { of_algorithm }
    }
}

impl Loss for OwnLoss {
    fn name(&self) -> &'static str {
        "self-supervised"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::SelfSupervisedLoss]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.of_algorithm.optimizers()
    }

    /// The module learns from the transitions that the algorithm's loss would learn from.
    fn transitions(&self) -> Option<TransitionSpec> {
        self.of_algorithm.transitions()
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        Ok(cx.module.compute_self_supervised_loss(cx.batch(), cx.outputs()?)?.into())
    }

    fn postprocess_gradients(
        &mut self,
        optimizer: &OptimizerGroup,
        gradients: Gradients,
        global_norm: &GlobalNorm,
    ) -> Result<Gradients> {
        self.of_algorithm.postprocess_gradients(optimizer, gradients, global_norm)
    }

    fn changes_gradients(&self) -> bool {
        self.of_algorithm.changes_gradients()
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}
