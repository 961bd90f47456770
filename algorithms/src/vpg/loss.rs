//! The loss of vanilla policy gradients.

use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::{
    Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::VpgTraining;
use crate::config::one_optimizer;

/// The loss of one module: `−mean(logp·A)`, where `A` is the return or the advantage, and the loss of the
/// value function if there is one.
#[derive(Debug, Clone)]
pub struct VpgLoss {
    config: VpgTraining,
}

impl VpgLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: VpgTraining) -> Self {
        Self { config }
    }
}

impl Loss for VpgLoss {
    fn name(&self) -> &str {
        "VPG"
    }

    fn required_roles(&self) -> Vec<Role> {
        if self.config.use_critic { vec![Role::ValueFunction] } else { Vec::new() }
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let VpgTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        let VpgTraining { gamma, lambda_, use_critic, standardize_advantages, .. } = self.config;
        if use_critic {
            data.add_advantages(cx, gamma as f32, lambda_ as f32)?;
        } else {
            data.add_returns_to_go(gamma as f32)?;
            let returns = data.as_f32(Columns::RETURNS_TO_GO)?.to_vec();
            data.insert_f32(Columns::ADVANTAGES, returns)?;
        }
        if standardize_advantages {
            data.standardize(Columns::ADVANTAGES)?;
        }
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let advantages = cx.batch().float::<1>(Columns::ADVANTAGES)?;
        let policy_loss = cx.mean(cx.logp()? * advantages)?.neg();
        if !self.config.use_critic {
            return Ok(Losses::new(policy_loss.clone()).metric("policy_loss", policy_loss));
        }
        let targets = cx.batch().float::<1>(Columns::VALUE_TARGETS)?;
        let vf_loss = cx.mean((cx.values()? - targets).square())?;
        let total = policy_loss.clone() + vf_loss.clone() * self.config.vf_loss_coeff;
        Ok(Losses::new(total).metric("policy_loss", policy_loss).metric("vf_loss", vf_loss))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::prelude::*;
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_learner::ops::{returns_to_go, standardize};

    use super::*;
    use crate::echo::Echo;

    #[test]
    fn returns_and_their_loss_are_the_reference_figures() {
        let returns = returns_to_go(&[1.0; 3], 0.0, 0.9);
        assert!(returns.iter().zip([2.71, 1.9, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6));
        let device = Device::flex().autodiff();
        let module = Echo::build(&device);
        let advantages = Tensor::<1>::from_floats(returns.as_slice(), &device);
        let batch = Echo::batch([-0.5, -1.0, -2.0], &device).with(Columns::ADVANTAGES, advantages);
        let at = PrepareContext::new("a", &module, &device);
        let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
        let cx = LossContext::new(at, &batch, &scalars, &mut rng);
        let config = VpgTraining::default().use_critic(false);
        let losses = VpgLoss::new(config).compute(&cx).unwrap();
        let loss = to_f32(losses.total.inner()).unwrap()[0];
        assert!((loss - 1.751_667).abs() < 1e-5, "{loss}");

        let mut standardized = returns;
        standardize(&mut standardized);
        let expected = [1.202_703, 0.042_954, -1.245_657];
        assert!(standardized.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
