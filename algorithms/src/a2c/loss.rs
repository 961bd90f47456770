//! A2C's loss: policy gradient, value loss and entropy bonus.

use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::{
    Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::A2cTraining;
use crate::config::one_optimizer;

/// A2C's loss of one module: `−mean(logp·A) + c_v·mean((V − target)²) − c_e·mean(H)`.
#[derive(Debug, Clone)]
pub struct A2cLoss {
    config: A2cTraining,
}

impl A2cLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: A2cTraining) -> Self {
        Self { config }
    }
}

impl Loss for A2cLoss {
    fn name(&self) -> &str {
        "A2C"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ValueFunction]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        cx.check_entropy(self.name())
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let A2cTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        let A2cTraining { gamma, lambda_, standardize_advantages, .. } = self.config;
        data.add_advantages(cx, gamma as f32, lambda_ as f32)?;
        if standardize_advantages {
            data.standardize(Columns::ADVANTAGES)?;
        }
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let advantages = cx.batch().float::<1>(Columns::ADVANTAGES)?;
        let targets = cx.batch().float::<1>(Columns::VALUE_TARGETS)?;
        let policy_loss = cx.mean(cx.logp()? * advantages)?.neg();
        let vf_loss = cx.mean((cx.values()? - targets).square())?;
        let mut total = policy_loss.clone() + vf_loss.clone() * self.config.vf_loss_coeff;
        let entropy_coeff = self.config.entropy_coeff.value(cx.env_steps);
        let entropy = cx.mean_entropy(entropy_coeff > 0.0)?;
        if entropy_coeff > 0.0 {
            total = total - entropy.clone() * entropy_coeff;
        }
        Ok(Losses::new(total)
            .metric("policy_loss", policy_loss)
            .metric("vf_loss", vf_loss)
            .metric("entropy", entropy))
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

    use super::*;
    use crate::echo::Echo;

    /// Log-probabilities −0.5, −1, −2 with advantages 1, −0.5, 0.5, and values 1 with targets 2, 0.5, 1.5.
    /// The reference total has an entropy of 0.69.
    #[test]
    fn the_terms_are_those_of_stable_baselines3() {
        let device = Device::flex().autodiff();
        let module = Echo::build(&device);
        let batch = Echo::batch([-0.5, -1.0, -2.0], &device)
            .with(Columns::ADVANTAGES, Tensor::<1>::from_floats([1.0, -0.5, 0.5], &device))
            .with(Columns::VALUE_TARGETS, Tensor::<1>::from_floats([2.0, 0.5, 1.5], &device));
        let at = PrepareContext::new("a", &module, &device);
        let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
        let cx = LossContext::new(at, &batch, &scalars, &mut rng);
        let config = A2cTraining::default().entropy_coeff(0.01);
        let losses = A2cLoss::new(config).compute(&cx).unwrap();
        let metric = |name: &str| {
            let found = losses.metrics.iter().find(|(key, _)| *key == name).unwrap();
            to_f32(found.1.clone().inner()).unwrap()[0]
        };
        assert!((metric("policy_loss") - 0.333_333).abs() < 1e-5);
        assert!((metric("vf_loss") - 0.5).abs() < 1e-5);
        let expected = 0.576_433 + 0.01 * (0.69 - metric("entropy"));
        let total = to_f32(losses.total.inner()).unwrap()[0];
        assert!((total - expected).abs() < 1e-5, "{total} {expected}");
    }
}
