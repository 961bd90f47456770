//! IMPALA's loss.

use burn::prelude::Tensor;
use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::{
    Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::{ImpalaTraining, LossReduction};
use crate::config::one_optimizer;

/// IMPALA's loss of one module: the policy gradient with V-trace's advantages, the error to V-trace's
/// targets, and an entropy bonus: `−logp·A + c_v·½(V − vs)² − c_e·H`.
#[derive(Debug, Clone)]
pub struct ImpalaLoss {
    config: ImpalaTraining,
}

impl ImpalaLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: ImpalaTraining) -> Self {
        Self { config }
    }

    fn reduce(&self, cx: &LossContext<'_>, term: Tensor<1>) -> Result<Tensor<1>> {
        match self.config.loss_reduction {
            LossReduction::Mean => cx.mean(term),
            LossReduction::Sum => cx.sum(term),
        }
    }
}

impl Loss for ImpalaLoss {
    fn name(&self) -> &str {
        "IMPALA"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ValueFunction]
    }

    fn required_columns(&self) -> &'static [&'static str] {
        &[Columns::ACTION_LOGP]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        cx.check_entropy(self.name())
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let ImpalaTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        data.require(cx, self.name(), Columns::ACTION_LOGP)?;
        data.add_sequence_ends(self.config.fragment_length)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let config = &self.config;
        let (logp, values) = (cx.logp()?, cx.values()?);
        let log_ratios = logp.clone() - cx.batch().float::<1>(Columns::ACTION_LOGP)?;
        let [targets, advantages] = cx.vtrace(log_ratios, values.clone(), &config.vtrace())?;
        let policy_loss = self.reduce(cx, logp * advantages)?.neg();
        let vf_loss = self.reduce(cx, (values - targets).square() * 0.5)?;
        let entropy = cx.entropy()?;
        let mean_entropy = cx.mean(entropy.clone())?;
        let entropy_coeff = config.entropy_coeff.value(cx.env_steps);
        let mut total = policy_loss.clone() + vf_loss.clone() * config.vf_loss_coeff;
        if entropy_coeff > 0.0 {
            total = total - self.reduce(cx, entropy)? * entropy_coeff;
        }
        Ok(Losses::new(total)
            .metric("policy_loss", policy_loss)
            .metric("vf_loss", vf_loss)
            .metric("entropy", mean_entropy))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}
