//! The default module of SAC and TQC.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, Critics, CriticsConfig, Distribution, PolicyHead, SquashedGaussian,
};
use rekindle_core::{Batch, Columns};
use serde::{Deserialize, Serialize};

use crate::context::ModuleContext;
use crate::critics_input::{self, CriticsInput, build_encoder, check_settings};
use crate::error::{ModuleError, Result};
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

impl RLModule for SoftActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let (config, own) = cx.extended_model_config::<SoftActorCriticConfig>()?;
        check_settings(cx, &config, own.num_critics, own.num_quantiles)?;
        let input = CriticsInput::of(cx)?;
        if let (CriticsInput::All { .. }, true) = (input, own.num_quantiles > 1) {
            return Err(ModuleError::ActionSpace {
                module: Self::type_name(),
                space: cx.action_space().to_string(),
                reason: "quantiles of values are those of given actions; use a bounded float Box, or set `num_quantiles` to 1",
            });
        }
        let catalog = cx.catalog();
        let encoder = build_encoder(cx, &config)?;
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
            catalog.build_critics(cx.catalog_context(&of_critics), cx.observation_space(), critics)
        };
        let (qf, target_qf) = match cx.inference_only() {
            true => (None, None),
            false => (Some(critics()?), Some(critics()?)),
        };
        Ok(Self { encoder, pi, qf, target_qf, input, squashed: squashed(input)? })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let inputs = self.pi.forward_from(&*self.encoder, batch.column(Columns::OBS)?)?;
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs))
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
        critics_input::values(self.qf.as_ref(), self.input, batch)
    }
}

impl StochasticPolicy for SoftActorCritic {
    fn rsample(&self, batch: &Batch, noise: Tensor<2>) -> Result<(Tensor<2>, Tensor<1>)> {
        let Some(squashed) = &self.squashed else {
            let (module, role) = (Self::type_name(), Role::StochasticPolicy);
            return Err(ModuleError::MissingRole { module, role, needed_by: "rsample".into() });
        };
        let inputs = self.pi.forward_from(&*self.encoder, batch.column(Columns::OBS)?)?;
        Ok(squashed.rsample_and_logp(inputs, noise)?)
    }
}

impl TargetNetwork for SoftActorCritic {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let values = critics_input::values(self.target_qf.as_ref(), self.input, batch)?;
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }
}
