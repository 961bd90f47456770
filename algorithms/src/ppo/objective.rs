//! PPO's objective: its learning batch, loss and adaptive coefficient.

use std::collections::BTreeMap;

use burn::prelude::Tensor;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, ModuleId};
use rekindle_env_runner::Rollout;
use rekindle_learner::ops::{explained_variance, gae, returns_to_go, standardize};
use rekindle_learner::{
    LearnerBatch, LearnerError, Loss, Objective, Result, TrainBatch, UpdateContext,
};
use rekindle_rl_module::Role;
use serde_json::Value;

use super::PpoTraining;
use super::loss::{Coefficients, LossColumns, composed, fused, keys};

const VF_EXPLAINED_VAR: &str = "vf_explained_var";
const CURR_KL_COEFF: &str = "curr_kl_coeff";
const CURR_ENTROPY_COEFF: &str = "curr_entropy_coeff";

/// PPO's objective: the clipped surrogate, the value loss, an entropy bonus, and a penalty with an
/// adaptive weight on the divergence from the old policy.
#[derive(Debug, Clone)]
pub struct PpoObjective {
    config: PpoTraining,
    /// Settings of modules that override the common ones.
    modules: BTreeMap<ModuleId, PpoTraining>,
    kl_coeffs: BTreeMap<ModuleId, f64>,
    explained_variance: BTreeMap<ModuleId, f64>,
}

impl PpoObjective {
    /// Creates the objective of a configuration.
    pub fn new(config: PpoTraining) -> Self {
        Self {
            config,
            modules: BTreeMap::new(),
            kl_coeffs: BTreeMap::new(),
            explained_variance: BTreeMap::new(),
        }
    }

    /// Sets the settings of modules that override the common ones.
    #[must_use]
    pub fn with_modules(mut self, modules: BTreeMap<ModuleId, PpoTraining>) -> Self {
        self.modules = modules;
        self
    }

    fn config(&self, module_id: &str) -> &PpoTraining {
        self.modules.get(module_id).unwrap_or(&self.config)
    }

    fn kl_coeff(&self, module_id: &str) -> f64 {
        self.kl_coeffs.get(module_id).copied().unwrap_or(self.config(module_id).kl_coeff)
    }

    /// Advantages and value targets of all rows.
    fn advantages(&mut self, cx: UpdateContext<'_>, batch: &TrainBatch) -> Result<[Vec<f32>; 2]> {
        let config = self.config(cx.module_id).clone();
        let gamma = config.gamma as f32;
        let rewards = batch.columns.f32s(Columns::REWARDS)?;
        let (mut advantages, mut targets) = (Vec::new(), Vec::new());
        if !config.use_critic {
            for segment in &batch.segments {
                advantages.extend(returns_to_go(&rewards[segment.rows.clone()], 0.0, gamma));
            }
            return Ok([advantages.clone(), advantages]);
        }
        let (values, after) = batch.values(cx.module, cx.device)?;
        for (segment, bootstrap) in batch.segments.iter().zip(after) {
            let (rewards, values) = (&rewards[segment.rows.clone()], &values[segment.rows.clone()]);
            let (advantage, target) = if config.use_gae {
                gae(rewards, values, bootstrap, gamma, config.lambda_ as f32)?
            } else {
                let returns = returns_to_go(rewards, bootstrap, gamma);
                (returns.iter().zip(values).map(|(r, v)| r - v).collect(), returns)
            };
            advantages.extend(advantage);
            targets.extend(target);
        }
        let explained = explained_variance(&targets, &values);
        self.explained_variance.insert(cx.module_id.into(), explained);
        Ok([advantages, targets])
    }
}

/// Factor by which the divergence may exceed `target_kl`, as in Stable-Baselines3.
const TARGET_KL_TOLERANCE: f64 = 1.5;

/// A column that may be absent.
fn optional<const D: usize>(batch: &Batch, name: &str) -> Result<Option<Tensor<D>>> {
    Ok(if batch.contains(name) { Some(batch.float::<D>(name)?) } else { None })
}

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

impl Objective for PpoObjective {
    fn name(&self) -> &'static str {
        "PPO"
    }

    fn required_roles(&self, module_id: &str) -> Vec<Role> {
        if self.config(module_id).use_critic { vec![Role::ValueFunction] } else { Vec::new() }
    }

    /// PPO needs the entropies and divergences of the action distribution.
    fn check_module(&self, cx: UpdateContext<'_>) -> Result<()> {
        let distribution = cx.module.distribution();
        let inputs = Tensor::zeros([1, distribution.required_input_dim()], cx.device);
        let entropy = distribution.entropy(inputs.clone());
        let divergence = entropy.and_then(|_| distribution.kl(inputs.clone(), inputs));
        divergence.map(|_| ()).map_err(|source| LearnerError::Distribution {
            id: cx.module_id.into(),
            distribution: distribution.name(),
            objective: self.name(),
            source: Box::new(source),
        })
    }

    fn add_module(&mut self, module_id: &str) {
        self.kl_coeffs.insert(module_id.into(), self.config(module_id).kl_coeff);
    }

    fn remove_module(&mut self, module_id: &str) {
        self.kl_coeffs.remove(module_id);
        self.explained_variance.remove(module_id);
    }

    fn build_batch(&mut self, cx: UpdateContext<'_>, rollouts: &[Rollout]) -> Result<LearnerBatch> {
        let batch = TrainBatch::from_rollouts(rollouts, cx.module.max_seq_len())?;
        for column in [Columns::ACTION_DIST_INPUTS, Columns::ACTION_LOGP] {
            if !batch.columns.contains(column) {
                return Err(LearnerError::MissingColumn {
                    module: cx.module.spec().module().into(),
                    column,
                    objective: self.name(),
                    hint: "return `action_dist_inputs` from `forward_exploration`",
                });
            }
        }
        let [mut advantages, targets] = self.advantages(cx, &batch)?;
        standardize(&mut advantages);
        let mut columns = batch.columns;
        columns.insert_f32(Columns::ADVANTAGES, advantages)?;
        columns.insert_f32(Columns::VALUE_TARGETS, targets)?;
        // Columns that the loss does not read are not uploaded.
        columns.remove(Columns::REWARDS);
        columns.remove(Columns::ACTION_PROB);
        Ok(LearnerBatch { columns, sequences: batch.states.map(|states| states.sequences) })
    }

    fn compute_loss(
        &mut self,
        cx: UpdateContext<'_>,
        batch: &Batch,
        outputs: &Batch,
    ) -> Result<Loss> {
        let config = self.config(cx.module_id);
        let distribution = cx.module.distribution();
        let inputs = outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?;
        let old_inputs = batch.float::<2>(Columns::ACTION_DIST_INPUTS)?;
        let actions = batch.column(Columns::ACTIONS)?;
        let columns = LossColumns {
            old_logp: batch.float::<1>(Columns::ACTION_LOGP)?,
            advantages: batch.float::<1>(Columns::ADVANTAGES)?,
            critic: match config.use_critic {
                true => {
                    let embeddings = optional(outputs, Columns::EMBEDDINGS)?;
                    let values = cx.module.compute_values(batch, embeddings)?;
                    Some([values, batch.float::<1>(Columns::VALUE_TARGETS)?])
                }
                false => None,
            },
            mask: optional(batch, Columns::LOSS_MASK)?,
        };
        let coefficients = Coefficients {
            clip_param: config.clip_param as f32,
            vf_clip_param: config.vf_clip_param as f32,
            vf_loss: config.vf_loss_coeff,
            entropy: config.entropy_coeff.value(cx.env_steps),
            kl: if config.use_kl_loss { self.kl_coeff(cx.module_id) } else { 0.0 },
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

    fn stops_early(&mut self, cx: UpdateContext<'_>, loss: &Loss) -> Result<bool> {
        let Some(target) = self.config(cx.module_id).target_kl else { return Ok(false) };
        let kl = loss.metrics.iter().find(|(name, _)| *name == keys::MEAN_KL_LOSS);
        let Some((_, kl)) = kl else { return Ok(false) };
        let kl = to_f32(kl.clone().inner())?;
        Ok(kl.iter().any(|kl| f64::from(*kl) > TARGET_KL_TOLERANCE * target))
    }

    fn after_update(
        &mut self,
        last_epoch: &BTreeMap<ModuleId, BTreeMap<&'static str, f64>>,
        env_steps: u64,
    ) -> Vec<(ModuleId, &'static str, f64)> {
        let mut extra = Vec::new();
        for (id, metrics) in last_epoch {
            let config = self.config(id);
            let entropy_coeff = config.entropy_coeff.value(env_steps);
            if config.use_kl_loss
                && let Some(kl) = metrics.get(keys::MEAN_KL_LOSS)
            {
                let coeff = adapt_kl_coeff(self.kl_coeff(id), *kl, config.kl_target);
                self.kl_coeffs.insert(id.clone(), coeff);
                extra.push((id.clone(), CURR_KL_COEFF, coeff));
            }
            if let Some(explained) = self.explained_variance.get(id) {
                extra.push((id.clone(), VF_EXPLAINED_VAR, *explained));
            }
            extra.push((id.clone(), CURR_ENTROPY_COEFF, entropy_coeff));
        }
        extra
    }

    fn get_state(&self) -> Value {
        let coeffs = self.kl_coeffs.iter().map(|(id, c)| (id.clone(), Value::from(*c)));
        serde_json::json!({ "kl_coeffs": coeffs.collect::<serde_json::Map<_, _>>() })
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        let coeffs = state.get("kl_coeffs").cloned().unwrap_or_default();
        self.kl_coeffs =
            serde_json::from_value(coeffs).map_err(|error| LearnerError::InvalidState {
                component: self.name().into(),
                reason: format!("`kl_coeffs`: {error}"),
            })?;
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
        let mut objective = PpoObjective::new(PpoTraining::default());
        objective.add_module("a");
        objective.kl_coeffs.insert("a".into(), 0.45);
        let mut restored = PpoObjective::new(PpoTraining::default());
        restored.set_state(&objective.get_state()).unwrap();
        assert_eq!(restored.kl_coeff("a"), 0.45);
        assert!(restored.set_state(&serde_json::json!({"kl_coeffs": "no"})).is_err());
    }
}
