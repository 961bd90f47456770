//! PPO's loss: its advantages, terms and adaptive coefficient.
//!
//! The formulas are in `rekindle_learner`: [`ppo_surrogate`](rekindle_learner::losses::ppo_surrogate) and
//! [`value_loss`](rekindle_learner::losses::value_loss), which `terms` adds up, and
//! [`gae`](rekindle_learner::ops::gae). [`TrainData::values`] gives the value that follows each segment: a
//! truncated episode bootstraps from the value of its final observation.

mod terms;

use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_core::any_tensor::to_f32;
use rekindle_learner::{
    AfterUpdate, LearnerError, Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result,
    TrainData,
};
use rekindle_rl_module::Role;
use serde_json::{Value, json};

use super::PpoTraining;
use crate::config::one_optimizer;
use crate::kl_coeff::KlCoeff;
use terms::{Coefficients, LossColumns, composed, fused, keys};

const CURR_KL_COEFF: &str = "curr_kl_coeff";
const CURR_ENTROPY_COEFF: &str = "curr_entropy_coeff";

/// PPO's loss of one module: the clipped surrogate, the value loss, an entropy bonus, and a penalty with
/// an adaptive weight on the divergence from the old policy.
#[derive(Debug, Clone)]
pub struct PpoLoss {
    config: PpoTraining,
    kl_coeff: KlCoeff,
}

impl PpoLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: PpoTraining) -> Self {
        let kl_coeff = KlCoeff::new(config.kl_coeff, config.kl_target);
        Self { config, kl_coeff }
    }
}

/// Factor by which the divergence may exceed `target_kl`, as in Stable-Baselines3.
const TARGET_KL_TOLERANCE: f64 = 1.5;

impl Loss for PpoLoss {
    fn name(&self) -> &str {
        "PPO"
    }

    fn required_roles(&self) -> Vec<Role> {
        if self.config.use_critic { vec![Role::ValueFunction] } else { Vec::new() }
    }

    fn required_columns(&self) -> &'static [&'static str] {
        &[Columns::ACTION_DIST_INPUTS, Columns::ACTION_LOGP]
    }

    /// PPO needs the entropies and divergences of the action distribution.
    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        cx.check_entropy(self.name())?;
        cx.check_kl(self.name())
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let PpoTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        for &column in self.required_columns() {
            data.require(cx, self.name(), column)?;
        }
        let PpoTraining { gamma, lambda_, use_critic, use_gae, .. } = self.config;
        if use_critic {
            let lambda = if use_gae { lambda_ } else { 1.0 };
            data.add_advantages(cx, gamma as f32, lambda as f32)?;
        } else {
            data.add_returns_to_go(gamma as f32)?;
            let returns = data.as_f32(Columns::RETURNS_TO_GO)?.to_vec();
            data.insert_f32(Columns::ADVANTAGES, returns)?;
        }
        data.standardize(Columns::ADVANTAGES)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let (config, batch) = (&self.config, cx.batch());
        let distribution = cx.module.distribution();
        let inputs = cx.action_dist_inputs()?;
        let old_inputs = batch.float::<2>(Columns::ACTION_DIST_INPUTS)?;
        let actions = batch.column(Columns::ACTIONS)?;
        let columns = LossColumns {
            old_logp: batch.float::<1>(Columns::ACTION_LOGP)?,
            advantages: batch.float::<1>(Columns::ADVANTAGES)?,
            critic: match config.use_critic {
                true => Some([cx.values()?, batch.float::<1>(Columns::VALUE_TARGETS)?]),
                false => None,
            },
            mask: cx.mask()?,
        };
        let coefficients = Coefficients {
            clip_param: config.clip_param as f32,
            vf_clip_param: config.vf_clip_param as f32,
            vf_loss: config.vf_loss_coeff,
            entropy: config.entropy_coeff.value(cx.env_steps),
            kl: if config.use_kl_loss { self.kl_coeff.value() } else { 0.0 },
        };
        if let Some(terms) = distribution.fused_logp_entropy_kl(&inputs, actions, &old_inputs)?
            && let Some(loss) = fused(&terms, &columns, &coefficients)?
        {
            return Ok(loss);
        }
        let terms = distribution.logp_entropy_kl(inputs, actions, old_inputs)?;
        Ok(composed(terms, columns, &coefficients))
    }

    fn stops_early(&mut self, losses: &Losses) -> Result<bool> {
        let Some(target) = self.config.target_kl else { return Ok(false) };
        let kl = losses.metrics.iter().find(|(name, _)| *name == keys::MEAN_KL_LOSS);
        let Some((_, kl)) = kl else { return Ok(false) };
        let kl = to_f32(kl.clone().inner())?;
        Ok(kl.iter().any(|kl| f64::from(*kl) > TARGET_KL_TOLERANCE * target))
    }

    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<()> {
        if self.config.use_kl_loss
            && let Some(kl) = cx.metrics.get(keys::MEAN_KL_LOSS)
        {
            self.kl_coeff.adapt(*kl);
            cx.report(CURR_KL_COEFF, self.kl_coeff.value());
        }
        cx.report(CURR_ENTROPY_COEFF, self.config.entropy_coeff.value(cx.env_steps));
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::from_data(&json!({ "kl_coeff": self.kl_coeff.value() }))?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let Some(kl_coeff) = state.data.get("kl_coeff").and_then(Value::as_f64) else {
            let reason = "`kl_coeff` is missing or not a number".into();
            return Err(LearnerError::InvalidState { component: "PPO loss".into(), reason });
        };
        self.kl_coeff.set(kl_coeff);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kl_coefficient_survives_saving() {
        let mut loss = PpoLoss::new(PpoTraining::default());
        loss.kl_coeff.set(0.45);
        let mut restored = PpoLoss::new(PpoTraining::default());
        restored.set_state(&loss.get_state().unwrap()).unwrap();
        assert_eq!(restored.kl_coeff.value(), 0.45);
        let wrong = State::from_data(&json!({ "kl_coeff": "no" })).unwrap();
        assert!(restored.set_state(&wrong).is_err());
    }
}
