//! The losses of TD3 and DDPG: critics and policy.

use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterMinibatch, Loss, LossContext, Losses, OptimizerGroup, Phase, PrepareContext, Result,
};
use rekindle_rl_module::Role;

use super::Td3Training;
use crate::off_policy::{Replayed, check_burn_in, td_targets, weighted_mean, with_actions};

/// The losses of TD3: squared errors of the critics, and the value of the policy's actions by the first critic.
#[derive(Debug, Clone)]
pub struct Td3Loss {
    name: &'static str,
    config: Td3Training,
    /// Steps of the critics so far.
    updates: u64,
}

/// The phases, in order.
const CRITIC: usize = 0;
const ACTOR: usize = 1;

impl Td3Loss {
    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: Td3Training) -> Self {
        Self::named("TD3", config)
    }

    pub(crate) fn named(name: &'static str, config: Td3Training) -> Self {
        Self { name, config, updates: 0 }
    }

    /// Whether the policy and the targets move with an update, counted from 1.
    pub(crate) fn moves_policy(&self, update: u64) -> bool {
        update.is_multiple_of(self.config.policy_delay)
    }

    pub(crate) fn critic_loss(&self, cx: &LossContext<'_>) -> Result<Losses> {
        let replayed = Replayed::of(cx, self.config.burn_in_len)?;
        let ([_, next], module) = (replayed.next_inputs()?, replayed.module());
        let mut actions = module.compute_target_actions(&next)?;
        let (noise, bound) = (self.config.target_noise, self.config.target_noise_clip);
        if noise > 0.0 {
            actions = smoothed(actions.clone(), cx.normal(actions.dims()).inner() * noise, bound);
        }
        let next = next.with(Columns::ACTIONS, actions);
        let values = module.forward_target(&next)?.float::<3>(Columns::QF_PREDS)?;
        let values = replayed.after_rows(values.min_dim(1).squeeze_dim(1))?;
        let targets = td_targets(cx, values)?;
        let q = cx.module.compute_action_values(&*replayed.inputs()?)?.squeeze_dim::<2>(2);
        let q = replayed.of_rows(q);
        let error = q - targets.clone();
        let terms = error.clone().square().sum_dim(1).squeeze_dim(1);
        let error = error.detach().abs().mean_dim(1).squeeze_dim::<1>(1);
        Ok(Losses::new(weighted_mean(cx, terms)?)
            .metric("qf_target_mean", cx.mean(targets.squeeze_dim(1))?)
            .metric("td_error_mean", cx.mean(error.clone())?)
            .row_values(TD_ERROR, error))
    }

    fn actor_loss(&self, cx: &LossContext<'_>) -> Result<Losses> {
        let replayed = Replayed::of(cx, self.config.burn_in_len)?;
        let inputs = replayed.inputs()?;
        let actions = cx.module.compute_actions(&inputs)?;
        // The critics are constants: no gradient of their parameters is computed.
        let q = cx.constants().compute_action_values(&with_actions(&inputs, actions)?)?;
        let [rows, ..] = q.dims();
        let terms = q.narrow(1, 0, 1).reshape([rows]).neg();
        Ok(cx.mean(replayed.of_rows(terms))?.into())
    }
}

/// Adds noise of at most `bound` to target actions (Fujimoto et al., 2018, equation 14). The sum is an action again.
fn smoothed(actions: Tensor<2>, noise: Tensor<2>, bound: f64) -> Tensor<2> {
    (actions + noise.clamp(-bound, bound)).clamp(-1.0, 1.0)
}

impl Loss for Td3Loss {
    fn name(&self) -> &str {
        self.name
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ActionCritic, Role::DeterministicPolicy, Role::TargetNetwork]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        check_burn_in(cx, self.config.burn_in_len)
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.config.optimizers()
    }

    fn phases(&self) -> Vec<Phase> {
        ["critic", "actor"].map(|name| Phase::new(name, [name])).into()
    }

    fn skips_phase(&self, phase: usize) -> bool {
        phase == ACTOR && !self.moves_policy(self.updates + 1)
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        let spec = TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range());
        Some(spec.burn_in(self.config.burn_in_len))
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        match cx.phase {
            CRITIC => self.critic_loss(cx),
            _ => self.actor_loss(cx),
        }
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.updates += 1;
        if self.moves_policy(self.updates) {
            cx.update_targets(self.config.tau);
        }
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::from_data(&self.updates)?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.updates = match state.data.is_null() {
            true => 0,
            false => state.data_as()?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn noise_is_clipped_first_and_then_the_action() {
        let device = Device::flex();
        let of = |row: [f32; 2]| Tensor::<2>::from_floats([row], &device);
        let found = to_f32(smoothed(of([0.9, -0.3]), of([0.35, -0.8]), 0.5)).unwrap();
        assert!((found[0] - 1.0).abs() < 1e-6 && (found[1] + 0.8).abs() < 1e-6, "{found:?}");
    }
}
