//! The default module of TD3 and DDPG.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, CatalogError, Critics, CriticsConfig, Deterministic, Distribution, PolicyHead,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::settings::finite_and_not_negative;
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, PolicyOutputs, Values};
use serde::{Deserialize, Serialize};

use crate::context::ModuleContext;
use crate::critics_input::{self, CriticsInput, build_encoder, check_settings, shaped};
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::memory::{Memory, policy_outputs};
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
/// With recurrent encoders (`use_lstm`), policy and critics have a state each, a Dict of `"actor"` and `"critic"`,
/// and learn from sequences of `max_seq_len` steps.
///
/// Its model config has the fields of `DefaultModelConfig` and of [`DeterministicActorCriticConfig`].
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
    #[module(skip)]
    memory: Memory,
    max_seq_len: usize,
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

impl DeterministicActorCritic {
    /// Computes the actions of an encoder and a head, and their state after the batch if they have memory.
    fn policy(
        &self,
        encoder: &BoxEncoder,
        pi: &PolicyHead,
        batch: &Batch,
    ) -> Result<(Tensor<2>, Option<Column>)> {
        let (seen, state) = (batch.column(Columns::OBS)?, self.memory.of_policy(batch)?);
        let (outputs, after) = policy_outputs(encoder, pi, seen, state)?;
        Ok((rekindle_kernels::tanh(outputs), after))
    }

    /// Runs the policy, and with `critics` also computes their state after the batch. Returns the actions, and the
    /// outputs without them.
    fn act(&self, batch: &Batch, critics: bool) -> Result<(Tensor<2>, Batch)> {
        let (actions, after) = self.policy(&self.encoder, &self.pi, batch)?;
        let (mut outputs, seen) = (Batch::new(), batch.column(Columns::OBS)?);
        let critics = self.qf.as_ref().filter(|_| critics).map(|qf| (qf, seen));
        self.memory.insert_after(&mut outputs, batch, after, critics)?;
        Ok((actions, outputs))
    }

    /// Returns the encoder and the head of the target policy.
    fn target_policy(&self) -> Result<(&BoxEncoder, &PolicyHead)> {
        self.target_encoder.as_ref().zip(self.target_pi.as_ref()).ok_or_else(|| {
            ModuleError::Mismatch(
                "a module that was built for inference only has no target policy; build it without `inference_only`".into(),
            )
        })
    }

    /// Computes the values of the actions of a batch by some critics, and their state after it if they have
    /// memory.
    fn values(&self, qf: Option<&Critics>, batch: &Batch) -> Result<(Tensor<3>, Option<Column>)> {
        let (seen, state) = (batch.column(Columns::OBS)?, self.memory.of_critics(batch)?);
        critics_input::values(qf, self.input, batch, seen, state)
    }
}

impl RLModule for DeterministicActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let (config, own) = cx.extended_model_config::<DeterministicActorCriticConfig>()?;
        finite_and_not_negative("exploration_noise", &own.exploration_noise)
            .map_err(CatalogError::from)?;
        let dim = CriticsInput::dim(cx)?;
        let (_, seen) = CriticsInput::divide(cx)?;
        check_settings(cx, &config, &seen, [own.num_critics, 1])?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        let policy = || -> Result<(BoxEncoder, PolicyHead)> {
            let encoder = build_encoder(cx, &config, &seen)?;
            let features = encoder.output_dim();
            let pi = catalog.build_pi_head(build, features, &Deterministic::new(dim))?;
            Ok((encoder, pi))
        };
        let of_critics = critics_input::config(&config, own.critics_use_layernorm);
        let critics = || {
            let critics = CriticsConfig::new(dim, own.num_critics, 1);
            catalog.build_critics(cx.catalog_context(&of_critics), &seen, critics)
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
            memory: Memory::None,
            max_seq_len: config.max_seq_len,
        };
        if !cx.inference_only() {
            let (target_encoder, target_pi) = policy()?;
            (module.target_encoder, module.target_pi) = (Some(target_encoder), Some(target_pi));
            (module.qf, module.target_qf) = (Some(critics()?), Some(critics()?));
        }
        module.memory = Memory::of(&module.encoder, module.qf.as_ref())?;
        Ok(module)
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let (actions, outputs) = self.act(batch, true)?;
        Ok(outputs.with(Columns::ACTION_DIST_INPUTS, actions))
    }

    /// Updates the recurrent state of the critics as well, because training sequences start from it.
    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let (actions, outputs) = self.act(batch, true)?;
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
        Ok(outputs.with(Columns::ACTIONS, shaped(actions, &self.shape, &device)?))
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        let (actions, outputs) = self.act(batch, false)?;
        let device = actions.device();
        Ok(outputs.with(Columns::ACTIONS, shaped(to_f32(actions)?, &self.shape, &device)?))
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        self.memory.initial_state(&self.encoder, self.qf.as_ref())
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        let features = self.encoder.export_onnx(graph, observations)?;
        let outputs = self.pi.export_onnx(graph, &features)?;
        Ok(PolicyOutputs::of_actions(graph.node("Tanh", &[&outputs], &[])))
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
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
        Ok(self.values(self.qf.as_ref(), batch)?.0)
    }
}

impl DeterministicPolicy for DeterministicActorCritic {
    fn compute_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        Ok(self.policy(&self.encoder, &self.pi, batch)?.0)
    }

    fn compute_target_actions(&self, batch: &Batch) -> Result<Tensor<2>> {
        let (encoder, pi) = self.target_policy()?;
        Ok(self.policy(encoder, pi, batch)?.0)
    }
}

impl TargetNetwork for DeterministicActorCritic {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("pi", "target_pi"), ("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let (values, critics) = self.values(self.target_qf.as_ref(), batch)?;
        let outputs = Batch::new().with(Columns::QF_PREDS, values);
        let Some(critics) = critics else { return Ok(outputs) };
        let (encoder, pi) = self.target_policy()?;
        let policy = self.policy(encoder, pi, batch)?.1;
        Ok(match policy {
            Some(policy) => outputs.with(Columns::STATE_OUT, Memory::joined(policy, Some(critics))),
            None => outputs,
        })
    }
}
