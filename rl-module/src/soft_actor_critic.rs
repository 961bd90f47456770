//! The default module of SAC and TQC.

use std::borrow::Cow;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, Critics, CriticsConfig, Distribution, PolicyHead, SquashedGaussian, mask_logits,
};
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use crate::action_mask::ActionMask;
use crate::context::ModuleContext;
use crate::critics_input::{self, CriticsInput, build_encoder, check_settings};
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::memory::{Memory, policy_outputs};
use crate::module::RLModule;
use crate::roles::{ActionCritic, Role, StochasticPolicy, TargetNetwork};

/// A stochastic policy, critics of its actions, and slow copies of the critics; RLlib's
/// `DefaultSACTorchRLModule`.
///
/// In a `Box`, the policy is a Gaussian squashed into [−1, 1], the units of `normalize_actions`, whatever the
/// bounds of the space. In a `Discrete` space, it has the catalog's distribution, and each critic estimates the
/// values of all actions. Policy and critics have encoders of their own; see
/// [`Catalog::default_critics`](rekindle_catalog::Catalog::default_critics). Built for inference only, it has no
/// critics.
///
/// In a `Discrete` space, observations may be a Dict with an action mask, as those of a
/// [`QNetwork`](crate::QNetwork). Masked actions have probability 0.
///
/// With recurrent encoders (`use_lstm`), policy and critics have a state each, a Dict of `"actor"` and `"critic"`,
/// and learn from sequences of `max_seq_len` steps.
///
/// Its model config has the fields of `DefaultModelConfig` and of [`SoftActorCriticConfig`].
#[derive(Module, Debug)]
pub struct SoftActorCritic {
    encoder: BoxEncoder,
    pi: PolicyHead,
    qf: Option<Critics>,
    target_qf: Option<Critics>,
    #[module(skip)]
    input: CriticsInput,
    /// The distribution of a `Box`.
    #[module(skip)]
    squashed: Option<SquashedGaussian>,
    #[module(skip)]
    mask: Option<ActionMask>,
    #[module(skip)]
    memory: Memory,
    max_seq_len: usize,
}

/// The settings that a [`SoftActorCritic`] has beside those of a `DefaultModelConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SoftActorCriticConfig {
    /// Number of critics.
    ///
    /// Default: `2`.
    pub num_critics: usize,
    /// Quantiles of the distribution of values that each critic estimates; 1 for the value itself.
    ///
    /// Default: `1`.
    pub num_quantiles: usize,
    /// Whether each hidden layer of the critics is normalized before its activation.
    ///
    /// Default: `false`.
    pub critics_use_layernorm: bool,
}

impl Default for SoftActorCriticConfig {
    fn default() -> Self {
        Self { num_critics: 2, num_quantiles: 1, critics_use_layernorm: false }
    }
}

/// The distribution itself bounds absolute log standard deviations by this number, so that a head that does so, too,
/// would only take time.
const LARGEST_LOG_STD: f64 = 5.0;

/// Returns the squashed Gaussian of a `Box`.
fn squashed(input: CriticsInput) -> Result<Option<SquashedGaussian>> {
    Ok(match input {
        CriticsInput::Given { dim } => {
            Some(SquashedGaussian::new(vec![-1.0; dim], vec![1.0; dim])?)
        }
        CriticsInput::All { .. } => None,
    })
}

impl SoftActorCritic {
    /// Computes the inputs of the action distribution, and the state of the policy after the batch if it has
    /// memory.
    fn policy(&self, batch: &Batch) -> Result<(Tensor<2>, Option<Column>)> {
        let (seen, mask) = self.seen(batch)?;
        let state = self.memory.of_policy(batch)?;
        let (inputs, after) = policy_outputs(&self.encoder, &self.pi, &seen, state)?;
        Ok(match mask {
            Some(mask) => (mask_logits(inputs, mask), after),
            None => (inputs, after),
        })
    }

    fn seen<'b>(&self, batch: &'b Batch) -> Result<(Cow<'b, Column>, Option<Tensor<2>>)> {
        ActionMask::read_if(self.mask.as_ref(), batch.column(Columns::OBS)?)
    }

    /// Runs the policy, and with `critics` also computes their state after the batch.
    fn act(&self, batch: &Batch, critics: bool) -> Result<Batch> {
        let (inputs, after) = self.policy(batch)?;
        let mut outputs = Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs);
        let seen = self.seen(batch)?.0;
        let critics = self.qf.as_ref().filter(|_| critics).map(|qf| (qf, &*seen));
        self.memory.insert_after(&mut outputs, batch, after, critics)?;
        Ok(outputs)
    }

    /// Computes the values of the actions of a batch by some critics, and their state after it if they have
    /// memory.
    fn values(&self, qf: Option<&Critics>, batch: &Batch) -> Result<(Tensor<3>, Option<Column>)> {
        let (seen, state) = (self.seen(batch)?.0, self.memory.of_critics(batch)?);
        critics_input::values(qf, self.input, batch, &seen, state)
    }
}

impl RLModule for SoftActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let (config, own) = cx.extended_model_config::<SoftActorCriticConfig>()?;
        let (mask, seen) = CriticsInput::divide(cx)?;
        check_settings(cx, &config, &seen, [own.num_critics, own.num_quantiles])?;
        let input = CriticsInput::of(cx)?;
        if let (CriticsInput::All { .. }, true) = (input, own.num_quantiles > 1) {
            return Err(ModuleError::ActionSpace {
                module: Self::type_name(),
                space: cx.action_space().to_string(),
                reason: "quantiles of values are those of given actions; use a bounded float Box, or set `num_quantiles` to 1",
            });
        }
        let catalog = cx.catalog();
        let encoder = build_encoder(cx, &config, &seen)?;
        let distribution = Self::action_distribution(cx)?;
        let mut of_policy = config.clone();
        if distribution.is_gaussian() && of_policy.log_std_clip_param >= LARGEST_LOG_STD {
            of_policy.log_std_clip_param = f64::INFINITY;
        }
        let build = cx.catalog_context(&of_policy);
        let pi = catalog.build_pi_head(build, encoder.output_dim(), &*distribution)?;
        let (action_dim, outputs) = match input {
            CriticsInput::Given { dim } => (dim, own.num_quantiles),
            CriticsInput::All { actions } => (0, actions),
        };
        let of_critics = critics_input::config(&config, own.critics_use_layernorm);
        let critics = || {
            let critics = CriticsConfig::new(action_dim, own.num_critics, outputs);
            catalog.build_critics(cx.catalog_context(&of_critics), &seen, critics)
        };
        let (qf, target_qf) = match cx.inference_only() {
            true => (None, None),
            false => (Some(critics()?), Some(critics()?)),
        };
        let memory = Memory::of(&encoder, qf.as_ref())?;
        let (squashed, max_seq_len) = (squashed(input)?, config.max_seq_len);
        Ok(Self { encoder, pi, qf, target_qf, input, squashed, mask, memory, max_seq_len })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, true)
    }

    /// Updates the recurrent state of the critics as well, because training sequences start from it.
    fn forward_exploration(&self, batch: &Batch, _cx: &mut ExplorationContext) -> Result<Batch> {
        self.act(batch, true)
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, false)
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        self.memory.initial_state(&self.encoder, self.qf.as_ref())
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>> {
        match squashed(CriticsInput::of(cx)?)? {
            Some(squashed) => Ok(Arc::new(squashed)),
            None => Ok(cx.catalog().action_distribution(cx.action_space())?),
        }
    }

    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        self.qf.as_ref().map(|_| self as &dyn ActionCritic)
    }

    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        self.squashed.as_ref().map(|_| self as &dyn StochasticPolicy)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.target_qf.as_ref().map(|_| self as &dyn TargetNetwork)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["qf", "target_qf"]
    }

    fn type_name() -> String {
        "rekindle.SoftActorCritic".into()
    }
}

impl ActionCritic for SoftActorCritic {
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        Ok(self.values(self.qf.as_ref(), batch)?.0)
    }
}

impl StochasticPolicy for SoftActorCritic {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)> {
        let Some(squashed) = &self.squashed else {
            return Err(ModuleError::MissingRole {
                module: Self::type_name(),
                role: Role::StochasticPolicy,
                needed_by: "rsample".into(),
                is_shared: false,
            });
        };
        Ok(squashed.rsample_and_logp(self.policy(batch)?.0, noise)?)
    }
}

impl TargetNetwork for SoftActorCritic {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let (values, critics) = self.values(self.target_qf.as_ref(), batch)?;
        let outputs = Batch::new().with(Columns::QF_PREDS, values);
        // The policy has no target: its state is the one before the batch.
        Ok(match (self.memory.of_policy(batch)?, critics) {
            (Some(policy), Some(critics)) => {
                outputs.with(Columns::STATE_OUT, Memory::joined(policy.clone(), Some(critics)))
            }
            _ => outputs,
        })
    }
}
