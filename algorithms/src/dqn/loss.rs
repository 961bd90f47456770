//! The loss of DQN.

use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Columns};
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterUpdate, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Result,
};
use rekindle_rl_module::Role;

use super::outputs::Outputs;
use super::{DqnTraining, TdErrorLoss};

/// The TD error of action values against those of the target networks.
#[derive(Debug, Clone)]
pub struct DqnLoss {
    config: DqnTraining,
    /// Environment steps at the last update of the target networks.
    synced_at: u64,
}

impl DqnLoss {
    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: DqnTraining) -> Self {
        Self { config, synced_at: 0 }
    }

    /// Computes `r + discount · Q⁻(s′, a′)`, `[B]`, as a constant.
    fn targets(&self, batch: &Batch, outputs: &Outputs) -> Result<Tensor<1>> {
        let of_target = outputs.next_target.float::<2>(Columns::QF_PREDS)?;
        let values = match &outputs.next_online {
            Some(online) => {
                let online = online.float::<2>(Columns::QF_PREDS)?;
                of_target.gather(1, online.argmax(1)).squeeze_dim::<1>(1)
            }
            None => of_target.max_dim(1).squeeze_dim::<1>(1),
        };
        let values = Tensor::from_inner(values);
        let discounts = batch.float::<1>(Columns::DISCOUNTS)?;
        Ok((batch.float::<1>(Columns::REWARDS)? + discounts * values).detach())
    }
}

impl Loss for DqnLoss {
    fn name(&self) -> &str {
        "DQN"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::QNet, Role::TargetNetwork]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let DqnTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        let group = OptimizerGroup::default().lr(lr.clone()).rule(*optimizer);
        vec![group.grad_clip(*grad_clip).grad_clip_by(*grad_clip_by)]
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        let spec = TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range());
        Some(spec.burn_in(self.config.burn_in_len))
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let batch = cx.batch();
        let outputs = Outputs::of(cx, &self.config)?;
        let q = outputs.online.float::<2>(Columns::QF_PREDS)?;
        let start = cx.module.spec().get_action_space().map_or(Ok(0), |space| {
            space.as_discrete().map(|space| space.start()).map_err(LearnerError::custom)
        })?;
        let actions = batch.int::<1>(Columns::ACTIONS)? - start;
        let taken = q.clone().gather(1, actions.unsqueeze_dim(1)).squeeze_dim::<1>(1);
        let error = taken - self.targets(batch, &outputs)?;
        let terms = match self.config.td_error_loss_fn {
            TdErrorLoss::Huber => {
                let size = error.clone().abs();
                let square = error.clone().square() * 0.5;
                square.mask_where(size.clone().greater_elem(1.0), size - 0.5)
            }
            TdErrorLoss::Mse => error.clone().square(),
        };
        let terms = match batch.contains(Columns::WEIGHTS) {
            true => terms * batch.float::<1>(Columns::WEIGHTS)?,
            false => terms,
        };
        let error = error.detach();
        Ok(Losses::new(cx.mean(terms)?)
            .metric("td_error_mean", cx.mean(error.clone())?)
            .metric("qf_mean", q.detach().mean())
            .row_values(TD_ERROR, error.abs()))
    }

    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<()> {
        let freq = self.config.target_network_update_freq.max(1);
        // Counted in whole intervals, so that long steps do not put off the next one. A restored loss may be
        // ahead of an algorithm that has just begun.
        if cx.env_steps / freq != self.synced_at / freq {
            self.synced_at = cx.env_steps;
            cx.update_targets(self.config.tau);
        }
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::from_data(&self.synced_at)?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.synced_at = match state.data.is_null() {
            true => 0,
            false => state.data_as()?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::Space;
    use rekindle_learner::PrepareContext;
    use rekindle_rl_module::{ModuleContext, QNet, RLModule, RLModuleSpec, TargetNetwork};

    use super::*;

    /// Returns its observations: three values of the main network, then three of the target network.
    #[derive(burn::module::Module, Debug)]
    struct Echo {
        unused: usize,
    }

    fn part(batch: &Batch, from: usize) -> rekindle_rl_module::Result<Batch> {
        let values = batch.float::<2>(Columns::OBS)?.narrow(1, from, 3);
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }

    impl RLModule for Echo {
        fn setup(_: &ModuleContext<'_>) -> rekindle_rl_module::Result<Self> {
            Ok(Self { unused: 0 })
        }
        fn forward_train(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
            part(batch, 0)
        }
        fn as_q_net(&self) -> Option<&dyn QNet> {
            Some(self)
        }
        fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
            Some(self)
        }
    }

    impl QNet for Echo {
        fn compute_q_values(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
            part(batch, 0)
        }
    }

    impl TargetNetwork for Echo {
        fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
            &[]
        }
        fn forward_target(&self, batch: &Batch) -> rekindle_rl_module::Result<Batch> {
            part(batch, 3)
        }
    }

    /// The loss of `Q(s, 0) = q` with reward 1 and γ 0.99, and its gradient by `q`. The next values are 1, 3, 2
    /// of the main network and 2, 0.5, 4 of the target network.
    fn loss(config: DqnTraining, q: f32) -> (f32, f32) {
        let device = Device::flex().autodiff();
        let module = RLModuleSpec::of::<Echo>()
            .observation_space(Space::unbounded(&[6]).unwrap())
            .action_space(Space::discrete(3).unwrap())
            .build(&device)
            .unwrap();
        let obs = Tensor::<2>::from_floats([[q, 0.0, 0.0, 0.0, 0.0, 0.0]], &device).require_grad();
        let next = Tensor::<2>::from_floats([[1.0, 3.0, 2.0, 2.0, 0.5, 4.0]], &device);
        let batch = Batch::new()
            .with(Columns::OBS, obs.clone())
            .with(Columns::NEXT_OBS, next)
            .with(Columns::ACTIONS, Tensor::<1, Int>::zeros([1], &device))
            .with(Columns::REWARDS, Tensor::<1>::from_floats([1.0], &device))
            .with(Columns::DISCOUNTS, Tensor::<1>::from_floats([0.99], &device));
        let at = PrepareContext::new("a", &module, &device);
        let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
        let cx = LossContext::new(at, &batch, &scalars, &mut rng);
        let total = DqnLoss::new(config).compute(&cx).unwrap().total;
        let value = to_f32(total.clone().inner()).unwrap()[0];
        let gradient = to_f32(obs.grad(&total.backward()).unwrap()).unwrap()[0];
        (value, gradient)
    }

    fn close(found: (f32, f32), expected: (f32, f32)) {
        let differ = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        assert!(differ < 1e-5, "{found:?} {expected:?}");
    }

    #[test]
    fn double_q_learning_takes_the_targets_value_of_the_main_networks_choice() {
        let mse =
            |double_q| DqnTraining::default().td_error_loss_fn(TdErrorLoss::Mse).double_q(double_q);
        // The squared distance of 0 to the target.
        close(loss(mse(false), 0.0), (4.96 * 4.96, -2.0 * 4.96));
        close(loss(mse(true), 0.0), (1.495 * 1.495, -2.0 * 1.495));
    }

    #[test]
    fn squared_and_huber_losses_and_their_gradients() {
        let of = |td| DqnTraining::default().td_error_loss_fn(td);
        close(loss(of(TdErrorLoss::Mse), 0.2), (1.677_025, -2.59));
        close(loss(of(TdErrorLoss::Huber), 0.2), (0.795, -1.0));
        // Half the square within 1.
        close(loss(of(TdErrorLoss::Huber), 1.0), (0.5 * 0.495 * 0.495, -0.495));
    }
}
