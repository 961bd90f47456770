//! IQL's losses: value function, critics, policy.

use burn::module::Module;
use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Columns, ConfigError};
use rekindle_learner::losses::{advantage_weights, expectile};
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterMinibatch, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Phase, PrepareContext,
    Result,
};
use rekindle_rl_module::Role;

use super::IqlTraining;
use crate::off_policy::{next_observations, td_targets, weighted_mean};
use crate::sac::loss::of_taken_actions;

/// Largest weight of an action.
const LARGEST_WEIGHT: f64 = 100.0;

/// The phases, in order.
const VALUE: usize = 0;
const CRITIC: usize = 1;

/// The losses of IQL. Advantages and targets are those before the step of the value function.
#[derive(Debug, Clone)]
pub struct IqlLoss {
    config: IqlTraining,
    /// Advantages and values of what follows, `[B]` and `[B, 1]` without gradients, for the later phases on the same
    /// minibatch.
    estimates: Option<(Tensor<1>, Tensor<2>)>,
}

impl IqlLoss {
    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: IqlTraining) -> Self {
        Self { config, estimates: None }
    }

    fn value_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let module = cx.module.valid();
        let batch = cx.batch();
        let now = Batch::new()
            .with(Columns::OBS, batch.column(Columns::OBS)?.clone().inner()?)
            .with(Columns::ACTIONS, batch.column(Columns::ACTIONS)?.clone().inner()?);
        let q = module.forward_target(&now)?.float::<3>(Columns::QF_PREDS)?;
        let q = of_taken_actions(cx, Tensor::from_inner(q))?.min_dim(1).squeeze_dim::<1>(1);
        let next = module.compute_values(&next_observations(cx)?, None)?;
        let differences = q - cx.module.compute_values(batch, None)?;
        self.estimates = Some((differences.clone().inner(), next.unsqueeze_dim(1)));
        let advantage = cx.mean(differences.clone().detach())?;
        let loss = cx.mean(expectile(differences, self.config.expectile))?;
        Ok(Losses::new(loss).metric("advantage_mean", advantage))
    }

    fn estimates(&self, cx: &LossContext<'_>) -> Result<(Tensor<1>, Tensor<2>)> {
        self.estimates.clone().ok_or_else(|| LearnerError::InvalidLoss {
            id: cx.module_id.into(),
            loss: self.name().into(),
            reason: "has no estimates of the value function; compute its phases in order".into(),
        })
    }

    fn critic_loss(&self, cx: &LossContext<'_>) -> Result<Losses> {
        let targets = td_targets(cx, self.estimates(cx)?.1)?;
        let q = of_taken_actions(cx, cx.module.compute_action_values(cx.batch())?)?;
        let error = q - targets.clone();
        let terms = error.clone().square().mean_dim(1).squeeze_dim::<1>(1);
        let error = error.detach().abs().mean_dim(1).squeeze_dim::<1>(1);
        Ok(Losses::new(weighted_mean(cx, terms)?)
            .metric("qf_target_mean", cx.mean(targets.squeeze_dim(1))?)
            .metric("td_error_mean", cx.mean(error.clone())?)
            .row_values(TD_ERROR, error))
    }

    fn actor_loss(&self, cx: &LossContext<'_>) -> Result<Losses> {
        let advantages = self.estimates(cx)?.0;
        let weights = advantage_weights(advantages, self.config.beta, LARGEST_WEIGHT);
        let weights = Tensor::from_inner(weights);
        let loss = cx.mean(weights.clone() * cx.logp()?)?.neg();
        Ok(Losses::new(loss).metric("weight_mean", cx.mean(weights)?))
    }
}

impl Loss for IqlLoss {
    fn name(&self) -> &str {
        "IQL"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ValueFunction, Role::ActionCritic, Role::TargetNetwork]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        if cx.module.initial_state()?.is_none() {
            return Ok(());
        }
        let constraint = format!(
            "the value function of IQL has no memory, and module `{}` has; use a module without memory, or learn with TD3+BC, BC or MARWIL",
            cx.module_id
        );
        Err(ConfigError::new("use_lstm", true, constraint).into())
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.config.optimizers()
    }

    fn phases(&self) -> Vec<Phase> {
        ["value", "critic", "actor"].map(|name| Phase::new(name, [name])).into()
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        Some(TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range()))
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        match cx.phase {
            VALUE => self.value_loss(cx),
            CRITIC => self.critic_loss(cx),
            _ => self.actor_loss(cx),
        }
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.estimates = None;
        cx.update_targets(self.config.tau);
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new()) // Estimates are of one minibatch.
    }
}
