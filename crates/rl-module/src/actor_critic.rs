//! The default actor-critic module.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{BoxEncoder, Mlp, PolicyHead};
use rekindle_core::{Batch, Columns};

use crate::{ModuleContext, ModuleError, RLModule, Result, ValueFunction};

/// Encoders and heads of a policy and a value function, from the catalog.
///
/// RLlib's `DefaultPPOTorchRLModule`, used by PPO and other actor-critic algorithms. Reads a
/// `DefaultModelConfig`. With `vf_share_layers` one encoder serves both; without, each has its own.
/// Built for inference only, it has no value head and no critic encoder.
#[derive(Module, Debug)]
pub struct ActorCritic {
    encoder: BoxEncoder,
    critic_encoder: Option<BoxEncoder>,
    pi: PolicyHead,
    vf: Option<Mlp>,
    shares_encoder: bool,
}

impl RLModule for ActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config = cx.default_model_config()?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        catalog.check_model_config(&config, cx.observation_space())?;
        let encoder = catalog.build_encoder(build, cx.observation_space())?;
        let distribution = catalog.action_distribution(cx.action_space())?;
        let pi = catalog.build_pi_head(build, encoder.output_dim(), &*distribution)?;
        let own_critic = !cx.inference_only() && !config.vf_share_layers;
        let critic_encoder = if own_critic {
            Some(catalog.build_encoder(build, cx.observation_space())?)
        } else {
            None
        };
        let vf = if cx.inference_only() {
            None
        } else {
            let features = critic_encoder.as_ref().unwrap_or(&encoder).output_dim();
            Some(catalog.build_vf_head(build, features)?)
        };
        Ok(Self { encoder, critic_encoder, pi, vf, shares_encoder: config.vf_share_layers })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let features = self.encoder.forward(batch.column(Columns::OBS)?)?;
        let inputs = self.pi.forward(features.clone());
        let out = Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs);
        Ok(if self.shares_encoder { out.with(Columns::EMBEDDINGS, features) } else { out })
    }

    fn forward_exploration(&self, batch: &Batch) -> Result<Batch> {
        let features = self.encoder.forward(batch.column(Columns::OBS)?)?;
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, self.pi.forward(features)))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["vf", "critic_encoder"]
    }

    fn type_name() -> String {
        "rekindle.ActorCritic".into()
    }
}

impl ValueFunction for ActorCritic {
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>> {
        let Some(vf) = &self.vf else {
            return Err(ModuleError::InferenceOnly { module: Self::type_name() });
        };
        let features = match (&self.critic_encoder, embeddings) {
            (None, Some(features)) => features,
            (None, None) => self.encoder.forward(batch.column(Columns::OBS)?)?,
            (Some(encoder), _) => encoder.forward(batch.column(Columns::OBS)?)?,
        };
        Ok(vf.forward(features).squeeze_dim(1))
    }
}
