//! PPO's loss: its advantages, terms and adaptive coefficient.

mod on_device;
mod terms;

use rekindle_core::Columns;
use rekindle_core::any_tensor::to_f32;
use rekindle_env_runner::SegmentEnd;
use rekindle_learner::ops::{explained_variance, gae, returns_to_go, standardize};
use rekindle_learner::{
    AfterUpdate, LearnerError, Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result,
    TrainData,
};
use rekindle_rl_module::Role;
use serde_json::Value;

use burn::prelude::Tensor;

use super::PpoTraining;
use terms::{Coefficients, LossColumns, composed, fused, keys};

const VF_EXPLAINED_VAR: &str = "vf_explained_var";
const CURR_KL_COEFF: &str = "curr_kl_coeff";
const CURR_ENTROPY_COEFF: &str = "curr_entropy_coeff";

/// PPO's loss of one module: the clipped surrogate, the value loss, an entropy bonus, and a penalty with
/// an adaptive weight on the divergence from the old policy.
#[derive(Debug, Clone)]
pub struct PpoLoss {
    config: PpoTraining,
    kl_coeff: f64,
    /// Of the values before the update.
    explained_variance: Option<f64>,
}

impl PpoLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: PpoTraining) -> Self {
        let kl_coeff = config.kl_coeff;
        Self { config, kl_coeff, explained_variance: None }
    }

    /// Computes advantages and value targets of all rows.
    fn advantages(&mut self, cx: &PrepareContext<'_>, data: &TrainData) -> Result<[Vec<f32>; 2]> {
        let config = &self.config;
        let gamma = config.gamma as f32;
        let rewards = data.f32s(Columns::REWARDS)?;
        let (mut advantages, mut targets) = (Vec::new(), Vec::new());
        if !config.use_critic {
            for segment in &data.segments {
                if segment.end == SegmentEnd::Cut {
                    return Err(LearnerError::NoBootstrap { id: cx.module_id.into() });
                }
                advantages.extend(returns_to_go(&rewards[segment.range()], 0.0, gamma));
            }
            return Ok([advantages.clone(), advantages]);
        }
        let (values, after) = data.values(cx.module, cx.device)?;
        for (segment, bootstrap) in data.segments.iter().zip(after) {
            let (rewards, values) = (&rewards[segment.range()], &values[segment.range()]);
            let (advantage, target) = if config.use_gae {
                gae(rewards, values, bootstrap, gamma, config.lambda_ as f32)?
            } else {
                let returns = returns_to_go(rewards, bootstrap, gamma);
                (returns.iter().zip(values).map(|(r, v)| r - v).collect(), returns)
            };
            advantages.extend(advantage);
            targets.extend(target);
        }
        self.explained_variance = Some(explained_variance(&targets, &values));
        Ok([advantages, targets])
    }
}

/// Factor by which the divergence may exceed `target_kl`, as in Stable-Baselines3.
const TARGET_KL_TOLERANCE: f64 = 1.5;

/// The range in which the weight of the KL penalty adapts. Without a floor it would round to 0 after
/// a thousand quiet updates and never rise again.
const KL_COEFF_RANGE: [f64; 2] = [1e-6, 1e6];

/// The weight of the KL penalty after an update (Schulman et al., 2017, section 4). It does not leave
/// [`KL_COEFF_RANGE`], unless it is outside already.
fn adapt_kl_coeff(coeff: f64, kl: f64, target: f64) -> f64 {
    let [floor, ceiling] = KL_COEFF_RANGE;
    if kl > 2.0 * target {
        (coeff * 1.5).min(ceiling.max(coeff))
    } else if kl < 0.5 * target {
        (coeff * 0.5).max(floor.min(coeff))
    } else {
        coeff
    }
}

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
        let distribution = cx.module.distribution();
        let inputs = Tensor::zeros([1, distribution.required_input_dim()], cx.device);
        let entropy = distribution.entropy(inputs.clone());
        let divergence = entropy.and_then(|_| distribution.kl(inputs.clone(), inputs));
        divergence.map(|_| ()).map_err(|source| LearnerError::Distribution {
            id: cx.module_id.into(),
            distribution: distribution.name(),
            loss: self.name().into(),
            source: Box::new(source),
        })
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let PpoTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        let group = OptimizerGroup::default().lr(lr.clone()).rule(*optimizer);
        vec![group.grad_clip(*grad_clip).grad_clip_by(*grad_clip_by)]
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        for &column in self.required_columns() {
            if !data.contains(column) {
                return Err(LearnerError::MissingColumn {
                    module: cx.module.spec().module().into(),
                    column,
                    loss: self.name().into(),
                    hint: "return `action_dist_inputs` from `forward_exploration`",
                });
            }
        }
        if data.device().is_some() {
            return on_device::prepare(&self.config, cx, data);
        }
        let [mut advantages, targets] = self.advantages(cx, &data)?;
        standardize(&mut advantages);
        data.insert_f32(Columns::ADVANTAGES, advantages)?;
        data.insert_f32(Columns::VALUE_TARGETS, targets)?;
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
            kl: if config.use_kl_loss { self.kl_coeff } else { 0.0 },
        };
        if let Some(terms) = distribution.fused_logp_entropy_kl(&inputs, actions, &old_inputs)?
            && let Some(loss) = fused(&terms, &columns, &coefficients)?
        {
            return Ok(loss);
        }
        let terms = [
            distribution.logp(inputs.clone(), actions)?,
            distribution.entropy(inputs.clone())?,
            distribution.kl(old_inputs, inputs)?,
        ];
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
            self.kl_coeff = adapt_kl_coeff(self.kl_coeff, *kl, self.config.kl_target);
            cx.report(CURR_KL_COEFF, self.kl_coeff);
        }
        if let Some(explained) = self.explained_variance {
            cx.report(VF_EXPLAINED_VAR, explained);
        }
        cx.report(CURR_ENTROPY_COEFF, self.config.entropy_coeff.value(cx.env_steps));
        Ok(())
    }

    fn get_state(&self) -> Value {
        serde_json::json!({ "kl_coeff": self.kl_coeff })
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        let Some(kl_coeff) = state.get("kl_coeff").and_then(Value::as_f64) else {
            let reason = "`kl_coeff` is missing or not a number".into();
            return Err(LearnerError::InvalidState { component: "PPO loss".into(), reason });
        };
        self.kl_coeff = kl_coeff;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a39_the_kl_coefficient_adapts_by_strict_inequalities() {
        for (kl, expected) in [(0.021, 0.3), (0.02, 0.2), (0.005, 0.2), (0.0049, 0.1)] {
            assert!((adapt_kl_coeff(0.2, kl, 0.01) - expected).abs() < 1e-12, "{kl}");
        }
    }

    #[test]
    fn the_kl_coefficient_comes_back_after_any_number_of_quiet_or_loud_updates() {
        let after = |coeff, kl, updates| {
            (0..updates).fold(coeff, |coeff, _| adapt_kl_coeff(coeff, kl, 0.01))
        };
        let quiet = after(0.2, 0.0, 5000);
        assert!(quiet > 0.0 && after(quiet, 1.0, 100) > 0.2, "{quiet}");
        let loud = after(0.2, 1.0, 5000);
        assert!(loud.is_finite() && after(loud, 0.0, 100) < 0.2, "{loud}");
        // An initial weight outside the range is the user's choice and stays there.
        assert_eq!([after(0.0, 0.0, 9), after(0.0, 1.0, 9)], [0.0, 0.0]);
        assert_eq!([after(1e-9, 0.0, 9), after(1e9, 1.0, 9)], [1e-9, 1e9]);
    }

    #[test]
    fn a40_the_kl_coefficient_survives_saving() {
        let mut loss = PpoLoss::new(PpoTraining::default());
        loss.kl_coeff = 0.45;
        let mut restored = PpoLoss::new(PpoTraining::default());
        restored.set_state(&loss.get_state()).unwrap();
        assert_eq!(restored.kl_coeff, 0.45);
        assert!(restored.set_state(&serde_json::json!({"kl_coeff": "no"})).is_err());
    }
}
