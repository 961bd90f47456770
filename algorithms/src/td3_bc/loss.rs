//! TD3+BC's losses: TD3's critics, and a policy that also imitates.

use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::replay::TransitionSpec;
use rekindle_learner::{
    AfterMinibatch, Loss, LossContext, Losses, OptimizerGroup, Phase, PrepareContext, Result,
};
use rekindle_rl_module::Role;

use super::Td3BcTraining;
use crate::off_policy::{Replayed, with_actions};
use crate::td3::Td3Loss;

/// The losses of TD3+BC: those of TD3, and the squared distance of the policy's actions from those of the data.
#[derive(Debug, Clone)]
pub struct Td3BcLoss {
    config: Td3BcTraining,
    td3: Td3Loss,
}

/// The phase of the critics.
const CRITIC: usize = 0;

impl Td3BcLoss {
    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: Td3BcTraining) -> Self {
        let td3 = Td3Loss::named("TD3+BC", config.td3());
        Self { config, td3 }
    }

    fn actor_loss(&self, cx: &LossContext<'_>) -> Result<Losses> {
        let replayed = Replayed::of(cx, self.config.burn_in_len)?;
        let inputs = replayed.inputs()?;
        let actions = cx.module.compute_actions(&inputs)?;
        let given = inputs.column(Columns::ACTIONS)?.tensor()?;
        let given = given.flatten()?.reshape(actions.dims());
        // The critics are constants: no gradient of their parameters is computed.
        let of_policy = with_actions(&inputs, actions.clone())?;
        let q = cx.constants().compute_action_values(&of_policy)?;
        let [rows, ..] = q.dims();
        let q = replayed.of_rows(q.narrow(1, 0, 1).reshape([rows]));
        let distance = (actions - given).square().mean_dim(1).squeeze_dim::<1>(1);
        let bc = cx.mean(replayed.of_rows(distance))?;
        let size = cx.mean_over_learners(cx.mean(q.clone().detach().abs())?)?;
        let mean = cx.mean(q)?;
        let loss = policy_loss(mean, size, bc.clone(), self.config.alpha);
        Ok(Losses::new(loss).metric("bc_loss", bc))
    }
}

/// Computes `−α·mean(Q)/mean|Q| + mean((π − a)²)` (Fujimoto and Gu, 2021, equations 3 and 5).
///
/// # Shapes
/// All `[1]`; `size`, the mean absolute value, without gradients.
fn policy_loss(mean: Tensor<1>, size: Tensor<1>, bc: Tensor<1>, alpha: f64) -> Tensor<1> {
    bc - mean * (size.clamp_min(f32::MIN_POSITIVE).recip() * alpha)
}

impl Loss for Td3BcLoss {
    fn name(&self) -> &str {
        self.td3.name()
    }

    fn required_roles(&self) -> Vec<Role> {
        self.td3.required_roles()
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        self.td3.check_module(cx)
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.td3.optimizers()
    }

    fn phases(&self) -> Vec<Phase> {
        self.td3.phases()
    }

    fn skips_phase(&self, phase: usize) -> bool {
        self.td3.skips_phase(phase)
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        self.td3.transitions()
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        match cx.phase {
            CRITIC => self.td3.critic_loss(cx),
            _ => self.actor_loss(cx),
        }
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.td3.after_minibatch(cx)
    }

    fn get_state(&self) -> Result<State> {
        self.td3.get_state()
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.td3.set_state(state)
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn values_are_scaled_by_their_mean_size() {
        let of = |number: f32| Tensor::<1>::from_floats([number], &Device::flex());
        let number = |tensor: Tensor<1>| to_f32(tensor).unwrap()[0];
        assert!((number(policy_loss(of(-1.0), of(2.0), of(0.04), 2.5)) - 1.29).abs() < 1e-6);
        assert!(number(policy_loss(of(0.0), of(0.0), of(0.04), 2.5)).is_finite());
    }
}
