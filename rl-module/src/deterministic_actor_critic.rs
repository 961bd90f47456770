//! The default module of TD3 and DDPG.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, CatalogError, Critics, CriticsConfig, Deterministic, Distribution, PolicyHead,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::settings::finite_and_not_negative;
use rekindle_core::{Batch, Columns};
use serde::{Deserialize, Serialize};

use crate::context::ModuleContext;
use crate::critics_input::{self, CriticsInput, build_encoder, check_settings, shaped};
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::module::RLModule;
use crate::roles::{ActionCritic, DeterministicPolicy, TargetNetwork};

/// A policy that is a function of the observation, critics of its actions, and slow copies of both (Fujimoto et
/// al., 2018).
///
/// Actions are in [−1, 1], the units of `normalize_actions`. Exploration adds Gaussian noise and clips the
/// result. Policy and critics have encoders of their own; see
/// [`Catalog::default_critics`](rekindle_catalog::Catalog::default_critics). Built for inference only, it has
/// neither critics nor targets.
///
/// Its model config is a `DefaultModelConfig` with the fields of [`DeterministicActorCriticConfig`] beside.
#[derive(Module, Debug)]
pub struct DeterministicActorCritic {
    encoder: BoxEncoder,
    pi: PolicyHead,
    qf: Option<Critics>,
    target_encoder: Option<BoxEncoder>,
    target_pi: Option<PolicyHead>,
    target_qf: Option<Critics>,
    exploration_noise: f64,
    /// The shape of an action.
    #[module(skip)]
    shape: Vec<usize>,
    #[module(skip)]
    input: CriticsInput,
}

/// The settings that a [`DeterministicActorCritic`] has beside those of a `DefaultModelConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DeterministicActorCriticConfig {
    /// Number of critics.
    ///
    /// Default: `2`.
    pub num_critics: usize,
    /// Standard deviation of the noise of exploration, in the units of the module.
    ///
    /// Default: `0.1`.
    pub exploration_noise: f64,
    /// Whether each hidden layer of the critics is normalized before its activation.
    ///
    /// Default: `false`.
    pub critics_use_layernorm: bool,
}

impl Default for DeterministicActorCriticConfig {
    fn default() -> Self {
        Self { num_critics: 2, exploration_noise: 0.1, critics_use_layernorm: false }
    }
}

/// Computes the actions of an encoder and a head.
fn actions(encoder: &BoxEncoder, pi: &PolicyHead, batch: &Batch) -> Result<Tensor<2>> {
    let outputs = pi.forward_from(&**encoder, batch.column(Columns::OBS)?)?;
    Ok(rekindle_kernels::tanh(outputs))
}

impl RLModule for DeterministicActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let (config, own) = cx.extended_model_config::<DeterministicActorCriticConfig>()?;
        finite_and_not_negative("exploration_noise", &own.exploration_noise)
            .map_err(CatalogError::from)?;
        check_settings(cx, &config, own.num_critics, 1)?;
        let dim = CriticsInput::dim(cx)?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        let policy = || -> Result<(BoxEncoder, PolicyHead)> {
            let encoder = build_encoder(cx, &config)?;
            let features = encoder.output_dim();
            let pi = catalog.build_pi_head(build, features, &Deterministic::new(dim))?;
            Ok((encoder, pi))
        };
        let of_critics = critics_input::config(&config, own.critics_use_layernorm);
        let critics = || {
            let critics = CriticsConfig::new(dim, own.num_critics, 1);
            catalog.build_critics(cx.catalog_context(&of_critics), cx.observation_space(), critics)
        };
        let (encoder, pi) = policy()?;
        let mut module = Self {
            encoder,
            pi,
            qf: None,
            target_encoder: None,
            target_pi: None,
            target_qf: None,
            exploration_noise: own.exploration_noise,
            shape: cx.action_space().as_box()?.shape().to_vec(),
            input: CriticsInput::Given { dim },
        };
        if !cx.inference_only() {
            let (target_encoder, target_pi) = policy()?;
            (module.target_encoder, module.target_pi) = (Some(target_encoder), Some(target_pi));
            (module.qf, module.target_qf) = (Some(critics()?), Some(critics()?));
        }
        Ok(module)
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let actions = self.compute_actions(batch)?;
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, actions))
    }

    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let actions = self.compute_actions(batch)?;
        let ([_, dim], device) = (actions.dims(), actions.device());
        let mut actions = to_f32(actions)?;
        if self.exploration_noise > 0.0 {
            for (row, actions) in actions.chunks_mut(dim.max(1)).enumerate() {
                let rng = cx.rng(row)?;
                for action in actions {
                    let noise = self.exploration_noise * rng.standard_normal();
                    *action = (*action + noise as f32).clamp(-1.0, 1.0);
                }
            }
        }
        Ok(Batch::new().with(Columns::ACTIONS, shaped(actions, &self.shape, &device)?))
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        let actions = self.compute_actions(batch)?;
        let device = actions.device();
        Ok(Batch::new().with(Columns::ACTIONS, shaped(to_f32(actions)?, &self.shape, &device)?))
    }

    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>> {
        Ok(Arc::new(Deterministic::new(CriticsInput::dim(cx)?)))
    }

    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        self.qf.as_ref().map(|_| self as &dyn ActionCritic)
    }

    fn as_deterministic_policy(&self) -> Option<&dyn DeterministicPolicy> {
        self.target_pi.as_ref().map(|_| self as &dyn DeterministicPolicy)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.target_qf.as_ref().map(|_| self as &dyn TargetNetwork)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["qf", "target_encoder", "target_pi", "target_qf"]
    }

    fn type_name() -> String {
        "rekindle.DeterministicActorCritic".into()
    }
}

impl ActionCritic for DeterministicActorCritic {
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        critics_input::values(self.qf.as_ref(), self.input, batch)
    }
}

impl DeterministicPolicy for DeterministicActorCritic {
    fn compute_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        actions(&self.encoder, &self.pi, batch)
    }

    fn compute_target_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        match (&self.target_encoder, &self.target_pi) {
            (Some(encoder), Some(pi)) => actions(encoder, pi, batch),
            _ => Err(ModuleError::Mismatch(
                "a module that was built for inference only has no target policy; build it without `inference_only`".into(),
            )),
        }
    }
}

impl TargetNetwork for DeterministicActorCritic {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("pi", "target_pi"), ("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let values = critics_input::values(self.target_qf.as_ref(), self.input, batch)?;
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }
}
