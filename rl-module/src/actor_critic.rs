//! The default actor-critic module.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{BoxEncoder, Mlp, PolicyHead, check_encoder};
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Buffer;

use crate::{ModuleContext, ModuleError, RLModule, Result, ValueFunction};

/// Encoders and heads of a policy and a value function, from the catalog.
///
/// RLlib's `DefaultPPOTorchRLModule`, used by PPO and other actor-critic algorithms. Reads a
/// `DefaultModelConfig`. With `vf_share_layers` one encoder serves both; without, each has its own,
/// and `vf_fcnet_hiddens` may give the value function's other widths.
/// Built for inference only, it has no value head and no critic encoder.
///
/// With `use_lstm` the encoders have memory. Two encoders have two states: the state is then a Dict
/// of `"actor"` and `"critic"`.
#[derive(Module, Debug)]
pub struct ActorCritic {
    encoder: BoxEncoder,
    critic_encoder: Option<BoxEncoder>,
    pi: PolicyHead,
    vf: Option<Mlp>,
    shares_encoder: bool,
    is_stateful: bool,
    max_seq_len: usize,
}

/// The keys of the states of two encoders.
const ACTOR: &str = "actor";
const CRITIC: &str = "critic";

impl ActorCritic {
    /// Features of the policy, and the state of the module after them if it is stateful. Without
    /// `critic`, the state of a critic's own encoder stays as it is.
    fn encode(&self, batch: &Batch, critic: bool) -> Result<(Tensor<2>, Option<Column>)> {
        let observations = batch.column(Columns::OBS)?;
        if !self.is_stateful {
            return Ok((self.encoder.forward(observations)?, None));
        }
        let state = batch.column(Columns::STATE_IN)?;
        let Some(critic_encoder) = &self.critic_encoder else {
            let (features, state) = self.encoder.forward_recurrent(observations, state)?;
            return Ok((features, Some(state)));
        };
        let states = batch.nested(Columns::STATE_IN)?;
        let (features, actor) =
            self.encoder.forward_recurrent(observations, states.column(ACTOR)?)?;
        let mut after = states.column(CRITIC)?.clone();
        if critic {
            after = critic_encoder.forward_recurrent(observations, &after)?.1;
        }
        let after = Batch::new().with(ACTOR, actor).with(CRITIC, after);
        Ok((features, Some(Column::Nested(after))))
    }

    fn act(&self, batch: &Batch, critic: bool) -> Result<Batch> {
        if !self.is_stateful {
            let inputs = self.pi.forward_from(&*self.encoder, batch.column(Columns::OBS)?)?;
            return Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs));
        }
        let (features, state) = self.encode(batch, critic)?;
        let mut out = Batch::new().with(Columns::ACTION_DIST_INPUTS, self.pi.forward(features));
        if let Some(state) = state {
            out.insert(Columns::STATE_OUT, state);
        }
        Ok(out)
    }
}

impl RLModule for ActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config = cx.default_model_config()?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        catalog.check_model_config(&config, cx.observation_space())?;
        let build_encoder = |config| -> Result<_> {
            let build = cx.catalog_context(config);
            let encoder = match config.use_lstm {
                true => catalog.build_recurrent_encoder(build, cx.observation_space()),
                false => catalog.build_encoder(build, cx.observation_space()),
            }?;
            // Told here, a custom encoder's mistake is not found in the heads.
            check_encoder(&*encoder, cx.observation_space(), cx.device())?;
            Ok(encoder)
        };
        let encoder = build_encoder(&config)?;
        let distribution = catalog.action_distribution(cx.action_space())?;
        let pi = catalog.build_pi_head(build, encoder.output_dim(), &*distribution)?;
        let own_critic = !cx.inference_only() && !config.vf_share_layers;
        let critic_encoder =
            if own_critic { Some(build_encoder(&config.of_value_function())?) } else { None };
        let vf = if cx.inference_only() {
            None
        } else {
            let features = critic_encoder.as_ref().unwrap_or(&encoder).output_dim();
            Some(catalog.build_vf_head(build, features)?)
        };
        Ok(Self {
            is_stateful: encoder.initial_state()?.is_some(),
            encoder,
            critic_encoder,
            pi,
            vf,
            shares_encoder: config.vf_share_layers,
            max_seq_len: config.max_seq_len,
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        if !self.shares_encoder && !self.is_stateful {
            return self.act(batch, false);
        }
        let (features, _) = self.encode(batch, false)?;
        let inputs = self.pi.forward(features.clone());
        let out = Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs);
        Ok(if self.shares_encoder { out.with(Columns::EMBEDDINGS, features) } else { out })
    }

    /// The critic's memory goes along: training starts sequences from it.
    fn forward_exploration(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, true)
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, false)
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        let Some(actor) = self.encoder.initial_state()? else { return Ok(None) };
        let critic = match &self.critic_encoder {
            Some(critic) => critic.initial_state()?,
            None => return Ok(Some(actor)),
        };
        let parts = [(ACTOR, Some(actor)), (CRITIC, critic)];
        let parts = parts.into_iter().filter_map(|(key, part)| Some((key, part?)));
        Ok(Some(Buffer::from_dict(parts)?))
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
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
            (None, None) => self.encode(batch, false)?.0,
            (Some(encoder), _) => {
                let observations = batch.column(Columns::OBS)?;
                if self.is_stateful {
                    let states = batch.nested(Columns::STATE_IN)?;
                    encoder.forward_recurrent(observations, states.column(CRITIC)?)?.0
                } else {
                    return Ok(vf.forward_from(&**encoder, observations)?.squeeze_dim(1));
                }
            }
        };
        Ok(vf.forward(features).squeeze_dim(1))
    }
}
