//! APPO's loss, with its target policy and adaptive coefficient.

use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_learner::losses::ppo_surrogate;
use rekindle_learner::{
    AfterUpdate, LearnerError, Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result,
    TrainData,
};
use rekindle_rl_module::{AnyRLModule, Role};
use serde::{Deserialize, Serialize};

use burn::module::Module;

use super::AppoTraining;
use crate::config::one_optimizer;
use crate::kl_coeff::KlCoeff;

/// APPO's loss of one module: PPO's clipped surrogate against the target policy, with V-trace's advantages
/// under that policy, the value loss, an entropy bonus, and an optional penalty on the divergence.
#[derive(Debug, Clone)]
pub struct AppoLoss {
    config: AppoTraining,
    kl_coeff: KlCoeff,
    /// The target policy: a copy of the module, without gradients.
    target: Option<AnyRLModule>,
    /// Updates since the target policy was renewed.
    updates: u64,
    /// Restored weights of the target policy, until the first call that knows the module.
    saved_target: Option<State>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedAppo {
    kl_coeff: f64,
    updates: u64,
}

const TARGET: &str = "target";

impl AppoLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: AppoTraining) -> Self {
        let kl_coeff = KlCoeff::new(config.kl_coeff, config.kl_target);
        Self { config, kl_coeff, target: None, updates: 0, saved_target: None }
    }

    /// Returns the target policy; that of the first update is the module itself.
    fn target(&mut self, module: &AnyRLModule) -> Result<&AnyRLModule> {
        if self.target.is_none() {
            let mut target = module.valid();
            if let Some(saved) = &self.saved_target {
                target.load_state_dict(&saved.tensors)?;
            }
            self.target = Some(target);
            self.saved_target = None;
        }
        self.target.as_ref().ok_or_else(|| {
            LearnerError::custom("the target policy is missing, which is a defect of this library")
        })
    }
}

impl Loss for AppoLoss {
    fn name(&self) -> &str {
        "APPO"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ValueFunction]
    }

    fn required_columns(&self) -> &'static [&'static str] {
        &[Columns::ACTION_LOGP]
    }

    fn check_module(&self, cx: &PrepareContext<'_>) -> Result<()> {
        cx.check_entropy(self.name())?;
        if self.config.use_kl_loss { cx.check_kl(self.name()) } else { Ok(()) }
    }

    /// The target policy is a copy of the module that acted in earlier updates.
    fn gradients_apart(&self) -> bool {
        false
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let AppoTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        data.require(cx, self.name(), Columns::ACTION_LOGP)?;
        data.add_sequence_ends(self.config.fragment_length)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let config = self.config.clone();
        let batch = cx.batch();
        let distribution = cx.module.distribution();
        let old_inputs = self.target(cx.module)?.forward_train(batch)?;
        let old_inputs = old_inputs.float::<2>(Columns::ACTION_DIST_INPUTS)?.detach();
        let actions = batch.column(Columns::ACTIONS)?;
        let old_logp = distribution.logp(old_inputs.clone(), actions)?;
        let acted_logp = batch.float::<1>(Columns::ACTION_LOGP)?;
        let (logp, values) = (cx.logp()?, cx.values()?);

        let log_ratios = old_logp.clone() - acted_logp.clone();
        let [targets, advantages] =
            cx.vtrace(log_ratios.clone(), values.clone(), &config.vtrace())?;
        // The ratio to the target policy, where the policy that acted is not too far from it.
        let is_ratio = log_ratios.neg().clamp_max(config.target_worker_clipping.ln());
        let surrogate =
            ppo_surrogate(logp + is_ratio, acted_logp, advantages, config.clip_param as f32);
        let policy_loss = cx.mean(surrogate)?.neg();
        let vf_loss = cx.mean((values - targets).square() * 0.5)?;
        let mut total = policy_loss.clone() + vf_loss.clone() * config.vf_loss_coeff;
        let entropy_coeff = config.entropy_coeff.value(cx.env_steps);
        let entropy = cx.mean_entropy(entropy_coeff > 0.0)?;
        if entropy_coeff > 0.0 {
            total = total - entropy.clone() * entropy_coeff;
        }
        let mut losses = Losses::new(total)
            .metric("policy_loss", policy_loss)
            .metric("vf_loss", vf_loss)
            .metric("entropy", entropy);
        if config.use_kl_loss {
            let kl = cx.mean(distribution.kl(old_inputs, cx.action_dist_inputs()?)?)?;
            losses.total = losses.total + kl.clone() * self.kl_coeff.value();
            losses = losses.metric("mean_kl_loss", kl);
        }
        Ok(losses)
    }

    fn after_update(&mut self, cx: &mut AfterUpdate<'_>) -> Result<()> {
        if self.config.use_kl_loss
            && let Some(kl) = cx.metrics.get("mean_kl_loss")
        {
            self.kl_coeff.adapt(*kl);
            cx.report("curr_kl_coeff", self.kl_coeff.value());
        }
        self.updates += 1;
        if self.updates < self.config.target_updates() {
            return Ok(());
        }
        self.updates = 0;
        let tau = self.config.tau;
        let main = cx.module.valid();
        if tau < 1.0 {
            self.target(&main)?;
        }
        match &mut self.target {
            Some(target) if tau < 1.0 => target.follow(&main, tau)?,
            target => *target = Some(main),
        }
        self.saved_target = None;
        cx.report("num_target_updates", 1.0);
        Ok(())
    }

    fn get_state(&self) -> Result<State> {
        let saved = SavedAppo { kl_coeff: self.kl_coeff.value(), updates: self.updates };
        let mut state = State::from_data(&saved)?;
        match (&self.target, &self.saved_target) {
            (Some(target), _) => {
                let mut weights = State::new();
                for (name, weight) in target.state_dict()? {
                    weights.insert_tensor(name, weight);
                }
                state.insert_component(TARGET, weights);
            }
            (None, Some(saved)) => {
                state.insert_component(TARGET, saved.clone());
            }
            (None, None) => {}
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        let saved: SavedAppo = state.data_as()?;
        self.kl_coeff.set(saved.kl_coeff);
        self.updates = saved.updates;
        self.target = None;
        self.saved_target = state.components.get(TARGET).cloned();
        Ok(())
    }
}
