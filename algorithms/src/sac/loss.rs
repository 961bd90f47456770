//! The losses of SAC and TQC: critics, policy, temperature.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_catalog::RunningStatistics;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Space;
use rekindle_learner::losses::{quantile_huber, soft_values, temperature_loss};
use rekindle_learner::replay::{TD_ERROR, TransitionSpec};
use rekindle_learner::{
    AfterMinibatch, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Phase, PrepareContext,
    Result,
};
use rekindle_rl_module::{AnyRLModule, ModuleError, Role, has_action_mask};

use super::SacTraining;
use crate::off_policy::{Replayed, check_burn_in, td_targets, weighted_mean, with_actions};
use crate::q_values::MASKED;

/// The share of the entropy of a uniform policy that a policy over finitely many actions keeps, as in CleanRL.
const DISCRETE_ENTROPY: f64 = 0.89;

/// The losses of SAC: those of the critics, of the policy against the critics, and of the temperature.
#[derive(Debug, Clone)]
pub struct SacLoss {
    name: &'static str,
    config: SacTraining,
    values: Values,
    /// The log-probabilities of the policy's step, `[B]`, for the step of the temperature on the same minibatch.
    logp: Option<Tensor<1>>,
    /// The running statistics of the critics after their step on the same minibatch.
    statistics: RunningStatistics,
}

/// What the critics estimate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values {
    /// One value each: the minimum counts.
    Minimum,
    /// Quantiles of a distribution of values. Targets leave out this many of the largest ones per critic.
    Quantiles { dropped: usize },
}

/// The actions of a module.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Actions {
    /// Vectors of `dim` numbers.
    Given { dim: usize },
    /// `count` choices, numbered from `first` on.
    All { first: i64, count: usize },
}

impl Actions {
    pub(crate) fn of(module: &AnyRLModule) -> Self {
        match module.spec().get_action_space() {
            Some(Space::Discrete(space)) => Self::All { first: space.start(), count: space.n() },
            space => Self::Given { dim: space.map_or(0, Space::flat_dim) },
        }
    }
}

/// The phases, in order.
const CRITIC: usize = 0;
const ACTOR: usize = 1;

impl SacLoss {
    /// The scalar that the optimizer of the temperature owns.
    pub const LOG_ALPHA: &'static str = "log_alpha";

    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: SacTraining) -> Self {
        Self { name: "SAC", config, values: Values::Minimum, logp: None, statistics: Vec::new() }
    }

    /// Creates the loss of a module whose critics estimate quantiles, for TQC.
    pub(crate) fn of_quantiles(name: &'static str, config: SacTraining, dropped: usize) -> Self {
        Self { name, values: Values::Quantiles { dropped }, ..Self::new(config) }
    }

    /// Returns the temperature, `[1]`, as a constant without autodiff.
    pub(crate) fn alpha(&self, cx: &LossContext<'_>) -> Result<Tensor<1>> {
        match self.config.learn_alpha {
            true => Ok(cx.scalar(Self::LOG_ALPHA)?.inner().exp()),
            false => {
                let device = cx.device.clone().inner();
                Ok(Tensor::from_floats([self.config.initial_alpha as f32], &device))
            }
        }
    }

    fn target_entropy(&self, actions: Actions) -> f64 {
        self.config.target_entropy.unwrap_or(match actions {
            Actions::Given { dim } => -(dim as f64),
            Actions::All { count, .. } => DISCRETE_ENTROPY * (count as f64).ln(),
        })
    }

    /// Computes the values of the transitions' actions, with gradients, and those of the observations that follow:
    /// the minimum over critics, or the quantiles that targets keep, plus the entropy bonus.
    ///
    /// # Shapes
    /// `[B, critics, values]`; without autodiff, `[B, 1]` or `[B, quantiles]`.
    fn current_and_next_values(
        &mut self,
        cx: &LossContext<'_>,
        replayed: &Replayed<'_, '_>,
        alpha: &Tensor<1>,
    ) -> Result<(Tensor<3>, Tensor<2>)> {
        let ([next, of_target], module) = (replayed.next_inputs()?, replayed.module());
        let (logp, of_target, closed) = match Actions::of(cx.module) {
            Actions::Given { dim } => {
                let rows = next.column(Columns::OBS)?.rows();
                let noise = cx.normal([rows, dim]).inner();
                let (actions, logp) = module.rsample(&next, noise)?;
                (logp.unsqueeze_dim(1), with_actions(&of_target, actions)?, None)
            }
            Actions::All { .. } => {
                let inputs =
                    module.forward_train(&next)?.float::<2>(Columns::ACTION_DIST_INPUTS)?;
                // Nothing can follow where a mask allows no action.
                let closed = is_masked(cx.module)
                    .then(|| inputs.clone().max_dim(1).lower_equal_elem(MASKED));
                (log_softmax(inputs, 1), of_target, closed)
            }
        };
        let (current, values) = match self.config.critics_use_batch_renorm {
            true => self.joint_values(cx, &of_target)?,
            false => {
                let current = cx.module.compute_action_values(&*replayed.inputs()?)?;
                let values = module.forward_target(&of_target)?.float::<3>(Columns::QF_PREDS)?;
                (replayed.of_rows(current), values)
            }
        };
        let values = match (Actions::of(cx.module), self.values) {
            (Actions::All { .. }, _) => {
                let values = soft_values(logp, minimum(values), alpha.clone()).unsqueeze_dim(1);
                match closed {
                    Some(closed) => values.mask_fill(closed, 0.0),
                    None => values,
                }
            }
            (Actions::Given { .. }, Values::Minimum) => {
                minimum(values) - logp * alpha.clone().unsqueeze_dim(1)
            }
            (Actions::Given { .. }, Values::Quantiles { dropped }) => {
                smallest_quantiles(values, dropped) - logp * alpha.clone().unsqueeze_dim(1)
            }
        };
        Ok((current, replayed.after_rows(values)?))
    }

    /// Computes the values of current and of next actions in one training pass of the critics, so that batch
    /// renormalization takes the statistics of both (CrossQ; Bhatt et al., 2024, section 3).
    fn joint_values(
        &mut self,
        cx: &LossContext<'_>,
        next: &Batch,
    ) -> Result<(Tensor<3>, Tensor<3>)> {
        let (rows, mut both) = (next.rows(), Batch::new());
        for name in next.names() {
            let after = Column::from_inner(next.column(name)?)?;
            let current = cx.batch().column(name)?;
            let joined = match name == Columns::ACTIONS {
                // Drawn actions are flat, and those of the minibatch have the shape of the space.
                true => {
                    let flat = current.tensor()?.flatten()?;
                    let dim = flat.dims()[0] / rows.max(1);
                    Column::from(flat.reshape([rows, dim])).cat(&after)?
                }
                false => current.cat(&after)?,
            };
            both.insert(name.to_owned(), joined);
        }
        let (values, statistics) = cx.module.compute_action_values_in_training(&both)?;
        self.statistics = statistics;
        Ok((values.clone().narrow(0, 0, rows), values.narrow(0, rows, rows).inner()))
    }

    /// Computes the losses of the critics against targets with the entropy bonus of temperature `alpha`, `[1]`.
    pub(crate) fn critic_terms(
        &mut self,
        cx: &LossContext<'_>,
        alpha: &Tensor<1>,
    ) -> Result<CriticTerms> {
        let replayed = Replayed::of(cx, self.config.burn_in_len)?;
        let (values, next_values) = self.current_and_next_values(cx, &replayed, alpha)?;
        let targets = td_targets(cx, next_values)?;
        let (terms, error) = match self.values {
            Values::Minimum => {
                let error = of_taken_actions(cx, values.clone())? - targets.clone();
                (error.clone().square().sum_dim(1) * 0.5, error.abs().mean_dim(1))
            }
            Values::Quantiles { .. } => {
                let q = values.clone();
                let error = q.clone().mean_dim(2).squeeze_dim::<2>(2) - targets.clone().mean_dim(1);
                let [_, _, quantiles] = q.dims();
                let terms = quantile_huber(q, targets.clone(), 1.0).mean_dim(1);
                (terms / quantiles as f32, error.abs().mean_dim(1))
            }
        };
        let error = error.squeeze_dim::<1>(1).detach();
        let targets = targets.mean_dim(1).squeeze_dim(1);
        Ok(CriticTerms { values, terms: terms.squeeze_dim(1), error, targets })
    }

    fn critic_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let alpha = self.alpha(cx)?;
        let CriticTerms { terms, error, targets, .. } = self.critic_terms(cx, &alpha)?;
        Ok(Losses::new(weighted_mean(cx, terms)?)
            .metric("alpha", alpha)
            .metric("qf_target_mean", cx.mean(targets)?)
            .metric("td_error_mean", cx.mean(error.clone())?)
            .row_values(TD_ERROR, error))
    }

    pub(crate) fn actor_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let alpha = Tensor::from_inner(self.alpha(cx)?);
        let replayed = Replayed::of(cx, self.config.burn_in_len)?;
        let (terms, logp) = match Actions::of(cx.module) {
            Actions::Given { dim } => {
                let inputs = replayed.inputs()?;
                let rows = inputs.column(Columns::OBS)?.rows();
                let (actions, logp) = cx.module.rsample(&inputs, cx.normal([rows, dim]))?;
                // The critics are constants: no gradient of their parameters is computed.
                let q = cx.constants().compute_action_values(&with_actions(&inputs, actions)?)?;
                let q = match self.values {
                    Values::Minimum => minimum(q),
                    Values::Quantiles { .. } => q.mean_dim(2).mean_dim(1).squeeze_dim::<2>(2),
                };
                (alpha * logp.clone() - q.squeeze_dim(1), logp)
            }
            Actions::All { .. } => {
                let inputs = replayed.inputs_without_gradients()?;
                let q = minimum(replayed.module().compute_action_values(&inputs)?);
                let q = Tensor::from_inner(q);
                let logp = log_softmax(replayed.action_dist_inputs()?, 1);
                let values = soft_values(logp.clone(), q.clone(), alpha);
                let entropy =
                    soft_values(logp.detach(), q.zeros_like(), Tensor::ones([1], cx.device));
                (values.neg(), entropy.neg())
            }
        };
        let logp = replayed.of_rows(logp.detach());
        let entropy = cx.mean(logp.clone())?.neg();
        self.logp = Some(logp);
        Ok(Losses::new(cx.mean(replayed.of_rows(terms))?).metric("entropy", entropy))
    }

    /// Sets the log-probabilities of the policy, `[B]` without gradients, for the step of the temperature.
    pub(crate) fn set_logp(&mut self, logp: Tensor<1>) {
        self.logp = Some(logp);
    }

    pub(crate) fn alpha_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let Some(logp) = self.logp.take() else {
            return Err(LearnerError::InvalidLoss {
                id: cx.module_id.into(),
                loss: self.name.into(),
                reason: "has no log-probabilities of the policy; compute its phases in order"
                    .into(),
            });
        };
        let log_alpha = cx.scalar(Self::LOG_ALPHA)?;
        let terms = match self.config.target_entropy.is_none() && is_masked(cx.module) {
            // A uniform policy over the actions that the mask of each row allows.
            true => {
                let allowed = action_mask(cx.batch())?
                    .greater_elem(0.0)
                    .float()
                    .sum_dim(1)
                    .squeeze_dim::<1>(1);
                let targets = allowed.clamp_min(1.0).log() * DISCRETE_ENTROPY;
                temperature_loss(log_alpha, logp + targets, 0.0)
            }
            false => {
                let target = self.target_entropy(Actions::of(cx.module));
                temperature_loss(log_alpha, logp, target)
            }
        };
        Ok(cx.mean(terms)?.into())
    }
}

/// The critics' part of a minibatch.
#[derive(Debug)]
pub(crate) struct CriticTerms {
    /// What the critics estimate of the actions of the minibatch, `[B, critics, values]`.
    pub(crate) values: Tensor<3>,
    /// The losses, `[B]`.
    pub(crate) terms: Tensor<1>,
    /// The absolute TD errors, `[B]`, without gradients.
    pub(crate) error: Tensor<1>,
    /// The targets, `[B]`, without gradients.
    pub(crate) targets: Tensor<1>,
}

/// Returns the values of the actions of the minibatch by each critic.
///
/// # Shapes
/// `values`: `[B, critics, 1]`, or `[B, critics, actions]` in a `Discrete` space; result `[B, critics]`.
pub(crate) fn of_taken_actions(cx: &LossContext<'_>, values: Tensor<3>) -> Result<Tensor<2>> {
    let [rows, critics, _] = values.dims();
    Ok(match Actions::of(cx.module) {
        Actions::Given { .. } => values.squeeze_dim::<2>(2),
        Actions::All { first, .. } => {
            let taken = cx.batch().int::<1>(Columns::ACTIONS)? - first;
            let taken = taken.reshape([rows, 1, 1]).expand([rows, critics, 1]);
            values.gather(2, taken).squeeze_dim::<2>(2)
        }
    })
}

/// Takes the minimum over critics.
///
/// # Shapes
/// `[B, critics, values]` to `[B, values]`.
pub(crate) fn minimum(q: Tensor<3>) -> Tensor<2> {
    q.min_dim(1).squeeze_dim(1)
}

/// Pools the quantiles of all critics and leaves out the largest ones, `dropped` per critic (Kuznetsov et al.,
/// 2020, section 3).
///
/// # Shapes
/// `[B, critics, quantiles]` to `[B, critics · (quantiles − dropped)]`.
fn smallest_quantiles(quantiles: Tensor<3>, dropped: usize) -> Tensor<2> {
    let [rows, critics, count] = quantiles.dims();
    let pooled = quantiles.reshape([rows, critics * count]).sort(1);
    pooled.narrow(1, 0, critics * count.saturating_sub(dropped))
}

/// Whether the observations of a module have an action mask.
pub(crate) fn is_masked(module: &AnyRLModule) -> bool {
    module.spec().get_observation_space().is_some_and(has_action_mask)
}

/// Returns the action mask of observations that have one, `[B, actions]`.
pub(crate) fn action_mask(batch: &Batch) -> Result<Tensor<2>> {
    let mut parts = batch.nested(Columns::OBS)?;
    if parts.contains(Columns::ORIG_OBS) {
        // Previous actions or rewards are beside the observations.
        parts = parts.nested(Columns::ORIG_OBS)?;
    }
    Ok(parts.float::<2>(Columns::ACTION_MASK)?)
}

impl Loss for SacLoss {
    fn name(&self) -> &str {
        self.name
    }

    fn required_roles(&self) -> Vec<Role> {
        match self.config.critics_use_batch_renorm {
            true => vec![Role::ActionCritic],
            false => vec![Role::ActionCritic, Role::TargetNetwork],
        }
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        check_burn_in(cx, self.config.burn_in_len)?;
        match (Actions::of(cx.module), self.values) {
            (Actions::Given { .. }, _) => {
                let needed_by = format!("the {} learner", self.name);
                Ok(cx.module.require(Role::StochasticPolicy, &needed_by)?)
            }
            (Actions::All { .. }, Values::Minimum) => Ok(()),
            (Actions::All { .. }, Values::Quantiles { .. }) => {
                let spec = cx.module.spec();
                let space = spec.get_action_space().map(ToString::to_string).unwrap_or_default();
                let reason = "TQC learns in a Box; use SAC or DQN for a Discrete space";
                let module = spec.module().into();
                Err(ModuleError::ActionSpace { module, space, reason }.into())
            }
        }
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        self.config.optimizers()
    }

    fn phases(&self) -> Vec<Phase> {
        let names = self.optimizers().into_iter().map(|optimizer| optimizer.name);
        names.map(|name| Phase::new(name.clone(), [name])).collect()
    }

    fn transitions(&self) -> Option<TransitionSpec> {
        let spec = TransitionSpec::new(self.config.gamma).n_step(self.config.n_step.range());
        Some(spec.burn_in(self.config.burn_in_len))
    }

    /// Batch renormalization takes statistics over the rows of a minibatch.
    fn rows_are_independent(&self) -> bool {
        !self.config.critics_use_batch_renorm
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        match cx.phase {
            CRITIC => self.critic_loss(cx),
            ACTOR => self.actor_loss(cx),
            _ => self.alpha_loss(cx),
        }
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.logp = None;
        if self.config.critics_use_batch_renorm {
            cx.set_running_statistics(std::mem::take(&mut self.statistics));
        } else {
            cx.update_targets(self.config.tau);
        }
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new()) // Log-probabilities and statistics are of one minibatch.
    }
}
