//! CQL's losses: critics with a penalty, policy, temperature, multiplier of the penalty.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use rekindle_checkpoint::State;
use rekindle_core::{Batch, Column, Columns, ConfigError};
use rekindle_learner::losses::{conservative_gap, soft_values};
use rekindle_learner::replay::TransitionSpec;
use rekindle_learner::{
    AfterMinibatch, LearnerError, Loss, LossContext, Losses, OptimizerGroup, Phase, PrepareContext,
    Result,
};
use rekindle_rl_module::{ModuleError, Role};

use super::CqlTraining;
use crate::q_values::MASKED;
use crate::sac::SacLoss;
use crate::sac::loss::{Actions, CriticTerms, action_mask, is_masked, of_taken_actions};

/// The losses of CQL: those of SAC with a penalty on the values of actions that the data do not have.
#[derive(Debug, Clone)]
pub struct CqlLoss {
    config: CqlTraining,
    sac: SacLoss,
    /// Updates so far.
    updates: u64,
    /// The weighted gap of the penalty, `[1]`, for the step of the multiplier on the same minibatch.
    gap: Option<Tensor<1>>,
}

/// The phases, in order.
const CRITIC: usize = 0;
const ACTOR: usize = 1;
const ALPHA: usize = 2;

/// Largest multiplier of the penalty.
const LARGEST_MULTIPLIER: f64 = 1e6;

impl CqlLoss {
    /// The scalar that the optimizer of the multiplier owns.
    pub const LOG_MULTIPLIER: &'static str = "log_alpha_prime";

    /// Creates the loss of a module.
    #[must_use]
    pub fn new(config: CqlTraining) -> Self {
        let sac = SacLoss::new(config.sac());
        Self { config, sac, updates: 0, gap: None }
    }

    fn clones(&self) -> bool {
        self.updates < self.config.bc_iters
    }

    fn critic_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let temperature = self.sac.alpha(cx)?;
        let alpha = match self.config.deterministic_backup {
            true => temperature.zeros_like(),
            false => temperature.clone(),
        };
        let CriticTerms { values, terms, error, targets } = self.sac.critic_terms(cx, &alpha)?;
        let data = of_taken_actions(cx, values.clone())?;
        let sampled = match Actions::of(cx.module) {
            Actions::Given { dim } => self.sampled_values(cx, dim, &data)?,
            Actions::All { .. } => allowed(cx, values)?,
        };
        let gaps = conservative_gap(sampled, data, self.config.temperature);
        let gap = cx.mean(gaps.clone().mean_dim(1).squeeze_dim(1))?;
        let weighted = gaps * self.config.min_q_weight;
        let penalty = match self.config.lagrangian {
            true => {
                let excess = weighted - self.config.lagrangian_thresh;
                let mean = cx.mean(excess.clone().detach().mean_dim(1).squeeze_dim(1))?;
                self.gap = Some(mean.inner());
                let multiplier = Tensor::from_inner(multiplier(cx)?.inner());
                excess * multiplier.unsqueeze_dim(0)
            }
            false => weighted,
        };
        // RLlib's squared errors, twice those of SAC here.
        let total = cx.mean(terms * 2.0 + penalty.sum_dim(1).squeeze_dim(1))?;
        let losses = Losses::new(total)
            .metric("alpha", temperature)
            .metric("cql_gap", gap)
            .metric("qf_target_mean", cx.mean(targets)?)
            .metric("td_error_mean", cx.mean(error)?);
        Ok(match self.config.lagrangian {
            true => losses.metric("alpha_prime", multiplier(cx)?),
            false => losses,
        })
    }

    /// Computes the values of sampled actions at the observations of the minibatch, each minus the logarithm of the
    /// density of the action, with gradients.
    ///
    /// # Shapes
    /// `data`: `[B, critics]`; result `[B, critics, N]`.
    fn sampled_values(
        &self,
        cx: &LossContext<'_>,
        dim: usize,
        data: &Tensor<2>,
    ) -> Result<Tensor<3>> {
        let ([rows, critics], count) = (data.dims(), self.config.num_actions);
        let all = rows * count;
        let module = cx.module.valid();
        let drawn = |column| -> Result<(Tensor<2>, Tensor<1>)> {
            let repeated = observations(cx, column, count)?.inner()?;
            let inputs = Batch::new().with(Columns::OBS, repeated);
            Ok(module.rsample(&inputs, cx.normal([all, dim]).inner())?)
        };
        let uniform = cx.uniform([all, dim]).inner() * 2.0 - 1.0;
        let of_uniform = Tensor::full([all], -(dim as f64) * 2.0_f64.ln(), &uniform.device());
        let (at_now, logp_now) = drawn(Columns::OBS)?;
        let (at_next, logp_next) = drawn(Columns::NEXT_OBS)?;
        // The actions of a row are one after the other: three kinds of `count` each.
        let of_rows = |kinds: [Tensor<2>; 3]| {
            let kinds = kinds.map(|actions| actions.reshape([rows, count, dim]));
            Tensor::cat(kinds.into(), 1).reshape([3 * all, dim])
        };
        let actions = Tensor::from_inner(of_rows([uniform, at_now, at_next]));
        let inputs = Batch::new()
            .with(Columns::OBS, observations(cx, Columns::OBS, 3 * count)?)
            .with(Columns::ACTIONS, actions);
        let values = cx.module.compute_action_values(&inputs)?;
        let values = values.reshape([rows, 3 * count, critics]).swap_dims(1, 2);
        let values = match self.config.calibrated {
            true => self.calibrated(cx, values)?,
            false => values,
        };
        if !self.config.importance_sample {
            return Ok(Tensor::cat(vec![values, data.clone().unsqueeze_dim(2)], 2));
        }
        let logp = [of_uniform, logp_now, logp_next].map(|logp| logp.reshape([rows, count]));
        let logp = Tensor::from_inner(Tensor::cat(logp.into(), 1));
        Ok(values - logp.unsqueeze_dim::<3>(1))
    }

    /// Replaces values of the policy's actions below the return of the data by this return.
    fn calibrated(&self, cx: &LossContext<'_>, values: Tensor<3>) -> Result<Tensor<3>> {
        let [rows, critics, all] = values.dims();
        let count = self.config.num_actions;
        let returns = cx.batch().float::<1>(Columns::RETURNS_TO_GO)?;
        let of_policy = all - count;
        let returns = returns.reshape([rows, 1, 1]).expand([rows, critics, of_policy]);
        let bounded = values.clone().narrow(2, count, of_policy).max_pair(returns);
        Ok(Tensor::cat(vec![values.narrow(2, 0, count), bounded], 2))
    }

    /// Computes the loss of the policy while it clones the data: its log-likelihood, with SAC's entropy bonus.
    fn cloning_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let alpha = Tensor::from_inner(self.sac.alpha(cx)?);
        let entropies = match Actions::of(cx.module) {
            Actions::Given { dim } => {
                let noise = cx.normal([cx.batch().column(Columns::OBS)?.rows(), dim]);
                cx.module.rsample(cx.batch(), noise)?.1.neg()
            }
            Actions::All { .. } => {
                let logp = log_softmax(cx.action_dist_inputs()?, 1);
                soft_values(logp.clone(), logp.zeros_like(), alpha.ones_like())
            }
        };
        self.sac.set_logp(entropies.clone().detach().neg());
        let entropy = cx.mean(entropies.clone().detach())?;
        let terms = entropies * alpha + cx.logp()?;
        Ok(Losses::new(cx.mean(terms)?.neg()).metric("entropy", entropy))
    }

    fn multiplier_loss(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let Some(gap) = self.gap.take() else {
            return Err(LearnerError::InvalidLoss {
                id: cx.module_id.into(),
                loss: self.name().into(),
                reason: "has no gap of the penalty; compute its phases in order".into(),
            });
        };
        Ok((multiplier(cx)? * Tensor::from_inner(gap)).neg().into())
    }
}

/// Returns the multiplier of the penalty, `[1]`, with gradients.
fn multiplier(cx: &LossContext<'_>) -> Result<Tensor<1>> {
    let log = cx.scalar(CqlLoss::LOG_MULTIPLIER)?;
    Ok(log.clamp_max(LARGEST_MULTIPLIER.ln()).exp())
}

/// Returns the values of all actions, with those that a mask forbids so low that they do not count.
fn allowed(cx: &LossContext<'_>, values: Tensor<3>) -> Result<Tensor<3>> {
    if !is_masked(cx.module) {
        return Ok(values);
    }
    let [_, critics, _] = values.dims();
    let forbidden = action_mask(cx.batch())?.lower_equal_elem(0.0);
    let forbidden = forbidden.unsqueeze_dim::<3>(1).repeat_dim(1, critics);
    Ok(values.mask_fill(forbidden, MASKED))
}

/// Returns a column of observations with each row repeated.
fn observations(cx: &LossContext<'_>, column: &str, times: usize) -> Result<Column> {
    let column = cx.batch().column(column)?;
    let rows = (0..column.rows()).flat_map(|row| std::iter::repeat_n(row as i64, times));
    let rows: Vec<i64> = rows.collect();
    let shape = [rows.len()];
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, shape), cx.device);
    Ok(column.select_rows(&rows)?)
}

impl Loss for CqlLoss {
    fn name(&self) -> &str {
        "CQL"
    }

    fn required_roles(&self) -> Vec<Role> {
        self.sac.required_roles()
    }

    fn required_columns(&self) -> &'static [&'static str] {
        if self.config.calibrated { &[Columns::RETURNS_TO_GO] } else { &[] }
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        self.sac.check_module(cx)?;
        if cx.module.initial_state()?.is_some() {
            let constraint = format!(
                "CQL samples actions for single rows, and module `{}` has memory; use a module without memory, or learn with TD3+BC, BC or MARWIL",
                cx.module_id
            );
            return Err(ConfigError::new("use_lstm", true, constraint).into());
        }
        let spaces = cx.module.spec().get_action_space().map(ToString::to_string);
        match (Actions::of(cx.module), self.config.calibrated) {
            (Actions::All { .. }, true) => Err(ModuleError::ActionSpace {
                module: cx.module.spec().module().into(),
                space: spaces.unwrap_or_default(),
                reason: "`calibrated` bounds the values of sampled actions of a Box; set it to false",
            }
            .into()),
            _ => Ok(()),
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
        self.sac.transitions()
    }

    fn rows_are_independent(&self) -> bool {
        self.sac.rows_are_independent()
    }

    fn gradients_apart(&self) -> bool {
        self.sac.gradients_apart()
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        match cx.phase {
            CRITIC => self.critic_loss(cx),
            ACTOR if self.clones() => self.cloning_loss(cx),
            ACTOR => self.sac.actor_loss(cx),
            ALPHA => self.sac.alpha_loss(cx),
            _ => self.multiplier_loss(cx),
        }
    }

    fn after_minibatch(&mut self, cx: &mut AfterMinibatch<'_>) -> Result<()> {
        self.updates += 1;
        self.gap = None;
        self.sac.after_minibatch(cx)
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
