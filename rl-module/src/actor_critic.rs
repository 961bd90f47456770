//! The default actor-critic module.

use std::borrow::Cow;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, Mlp, PolicyHead, check_encoder, export_mask_logits, mask_logits,
};
use rekindle_core::{Batch, Column, Columns};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, PolicyOutputs, Values};

use crate::action_mask::{ActionMask, number_of_choices};
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::memory::{ACTOR, CRITIC, ONE_IS_RECURRENT};
use crate::module::RLModule;
use crate::policy_pass::PolicyPass;
use crate::roles::{Role, ValueFunction};

/// Encoders and heads of a policy and a value function; RLlib's `DefaultPPOTorchRLModule`.
///
/// As a module type it reads a `DefaultModelConfig` and builds its parts by the catalog, which also
/// decides whether policy and value function share an encoder
/// ([`Catalog::build_actor_critic_encoder`](rekindle_catalog::Catalog::build_actor_critic_encoder)).
/// Built for inference only, it has no value head and no encoder of the critic.
///
/// To replace one part, build it yourself and put the module together with [`ActorCritic::new`]:
///
/// ```
/// use rekindle_catalog::{BoxEncoder, MlpConfig, MlpEncoderConfig, PolicyHeadConfig};
/// use rekindle_env::Space;
/// use rekindle_rl_module::{ActorCritic, RLModuleSpec};
///
/// let spec = RLModuleSpec::from_fn("NarrowActorCritic", |cx| {
///     let encoder = MlpEncoderConfig::new(MlpConfig::new(4, &[16], None)).build(cx.builder());
///     let logits = cx.action_space().as_discrete()?.n();
///     let pi = PolicyHeadConfig::from_layers(MlpConfig::new(16, &[], Some(logits)));
///     let vf = MlpConfig::new(16, &[], Some(1)).build(cx.builder());
///     Ok(ActorCritic::new(BoxEncoder::new(encoder), pi.build(cx.builder())?).with_vf(vf))
/// });
/// let module = spec
///     .observation_space(Space::boxed(-1.0, 1.0, &[4])?)
///     .action_space(Space::discrete(2)?)
///     .build(&burn::prelude::Device::flex())?;
/// # Ok::<(), rekindle_rl_module::ModuleError>(())
/// ```
///
/// Recurrent encoders make the module stateful. With two of them, the state is a Dict of `"actor"`
/// and `"critic"`.
///
/// Observations may be a Dict with an action mask: a part `action_mask` of one number per action of a `Discrete` space,
/// or per choice of a `MultiDiscrete` one, 1 for allowed and 0 for masked. The encoders see the other parts: the part
/// itself if there is one, otherwise a Dict of them. Masked actions have probability 0
/// ([`mask_logits`]). A mask that allows nothing is an error where an action is to be chosen. A module that is put
/// together by [`ActorCritic::new`] masks nothing.
#[derive(Module, Debug)]
pub struct ActorCritic {
    encoder: BoxEncoder,
    critic_encoder: Option<BoxEncoder>,
    pi: PolicyHead,
    vf: Option<Mlp>,
    #[module(skip)]
    mask: Option<ActionMask>,
    is_stateful: bool,
    max_seq_len: usize,
}

/// Longest training sequence unless set, in steps; RLlib's default.
const MAX_SEQ_LEN: usize = 20;

impl ActorCritic {
    /// Creates a module that acts, without a value function.
    #[must_use]
    pub fn new(encoder: BoxEncoder, pi: PolicyHead) -> Self {
        Self {
            // An encoder whose state cannot be created fails in `initial_state`.
            is_stateful: !matches!(encoder.initial_state(), Ok(None)),
            encoder,
            critic_encoder: None,
            pi,
            vf: None,
            mask: None,
            max_seq_len: MAX_SEQ_LEN,
        }
    }

    /// Adds the value head. It reads the features of the critic's own encoder if there is one,
    /// otherwise those of the policy's encoder. Its output is one value per row.
    #[must_use]
    pub fn with_vf(mut self, vf: Mlp) -> Self {
        self.vf = Some(vf);
        self
    }

    /// Adds the critic's own encoder. It must be recurrent if and only if the policy's encoder is.
    #[must_use]
    pub fn with_critic_encoder(mut self, encoder: BoxEncoder) -> Self {
        self.critic_encoder = Some(encoder);
        self
    }

    /// Sets the longest sequence that a stateful module is trained on, in steps.
    #[must_use]
    pub fn with_max_seq_len(mut self, max_seq_len: usize) -> Self {
        self.max_seq_len = max_seq_len;
        self
    }

    /// Whether the value head reads the features of the policy's encoder.
    fn shares_encoder(&self) -> bool {
        self.vf.is_some() && self.critic_encoder.is_none()
    }

    /// Returns what the encoders see, and the action mask if observations have one.
    fn seen<'b>(&self, batch: &'b Batch) -> Result<(Cow<'b, Column>, Option<Tensor<2>>)> {
        ActionMask::read_if(self.mask.as_ref(), batch.column(Columns::OBS)?)
    }

    /// Computes the features of the policy from what the encoders see, and the state after them if the module is
    /// stateful. Without `critic`, the state of the critic's own encoder is unchanged.
    fn encode(
        &self,
        batch: &Batch,
        observations: &Column,
        critic: bool,
    ) -> Result<(Tensor<2>, Option<Column>)> {
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
        let (seen, mask) = self.seen(batch)?;
        if !self.is_stateful {
            let inputs = masked(self.pi.forward_from(&*self.encoder, &seen)?, mask);
            return Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs));
        }
        let (features, state) = self.encode(batch, &seen, critic)?;
        let inputs = masked(self.pi.forward(features), mask);
        let mut out = Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs);
        if let Some(state) = state {
            out.insert(Columns::STATE_OUT, state);
        }
        Ok(out)
    }
}

fn masked(logits: Tensor<2>, mask: Option<Tensor<2>>) -> Tensor<2> {
    match mask {
        None => logits,
        Some(mask) => mask_logits(logits, mask),
    }
}

impl RLModule for ActorCritic {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config = cx.default_model_config()?;
        let (mask, seen) = ActionMask::divide_choices(cx.observation_space(), cx.action_space())?;
        cx.check_model_config_for(&config, &seen)?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        // Check encoders here, so that a custom encoder's mistake is not reported by a head.
        let check = |encoder: BoxEncoder| -> Result<_> {
            check_encoder(&*encoder, &seen, cx.device())?;
            Ok(encoder)
        };
        let encoders = catalog.build_actor_critic_encoder(build, &seen)?;
        let (encoder, build_critic) = encoders.into_parts();
        let encoder = check(encoder)?;
        let mut features = encoder.output_dim();
        let distribution = catalog.action_distribution(cx.action_space())?;
        let inputs = distribution.required_input_dim();
        if mask.is_some() && number_of_choices(cx.action_space()) != Some(inputs) {
            return Err(ModuleError::Mismatch(format!(
                "the action distribution reads {inputs} numbers, which the part `action_mask` of the observations cannot mask; keep the default distribution, or rename the part if it is no mask"
            )));
        }
        let pi = catalog.build_pi_head(build, features, &*distribution)?;
        let module = Self::new(encoder, pi).with_max_seq_len(config.max_seq_len);
        let module = Self { mask, ..module };
        if cx.inference_only() {
            return Ok(module);
        }
        let critic_encoder = match build_critic {
            Some(build) => Some(check(build()?)?),
            None => None,
        };
        features = critic_encoder.as_ref().map_or(features, |encoder| encoder.output_dim());
        let vf = catalog.build_vf_head(build, features)?;
        Ok(Self { critic_encoder, ..module }.with_vf(vf))
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        if !self.shares_encoder() && !self.is_stateful {
            return self.act(batch, false);
        }
        let (seen, mask) = self.seen(batch)?;
        let (features, _) = self.encode(batch, &seen, false)?;
        let inputs = masked(self.pi.forward(features.clone()), mask);
        let out = Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs);
        Ok(if self.shares_encoder() { out.with(Columns::EMBEDDINGS, features) } else { out })
    }

    /// Updates the critic's recurrent state as well, because training sequences start from it.
    fn forward_exploration(&self, batch: &Batch, _cx: &mut ExplorationContext) -> Result<Batch> {
        self.act(batch, true)
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, false)
    }

    fn policy_pass(&self) -> Option<PolicyPass> {
        let encoder = self.encoder.host_pass().filter(|_| self.mask.is_none())?;
        if encoder.is_recurrent() != self.is_stateful {
            return None;
        }
        let actor = PolicyPass::new(encoder.then(self.pi.host_pass()?)?);
        match self.critic_encoder.as_ref().filter(|_| self.is_stateful) {
            Some(critic) => Some(actor.with_critic(critic.host_pass()?)),
            None => Some(actor),
        }
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        let actor = self.encoder.initial_state()?;
        let Some(critic) = &self.critic_encoder else { return Ok(actor) };
        match (actor, critic.initial_state()?) {
            (Some(actor), Some(critic)) => {
                Ok(Some(Buffer::from_dict([(ACTOR, actor), (CRITIC, critic)])?))
            }
            (None, None) => Ok(None),
            _ => Err(ModuleError::Mismatch(ONE_IS_RECURRENT.into())),
        }
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        let (seen, mask) = ActionMask::export_if(self.mask.as_ref(), observations)?;
        let features = self.encoder.export_onnx(graph, &seen)?;
        let logits = self.pi.export_onnx(graph, &features)?;
        Ok(PolicyOutputs::of_distribution(match &mask {
            None => logits,
            Some(mask) => export_mask_logits(graph, &logits, mask),
        }))
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        self.vf.is_some().then_some(self)
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
            return Err(ModuleError::MissingRole {
                module: Self::type_name(),
                role: Role::ValueFunction,
                needed_by: "compute_values".into(),
                is_shared: false,
            });
        };
        let features = match (&self.critic_encoder, embeddings) {
            (None, Some(features)) => features,
            (None, None) => self.encode(batch, &self.seen(batch)?.0, false)?.0,
            (Some(encoder), _) => {
                let (seen, _) = self.seen(batch)?;
                if self.is_stateful {
                    let states = batch.nested(Columns::STATE_IN)?;
                    encoder.forward_recurrent(&seen, states.column(CRITIC)?)?.0
                } else {
                    return Ok(vf.forward_from(&**encoder, &seen)?.squeeze_dim(1));
                }
            }
        };
        Ok(vf.forward(features).squeeze_dim(1))
    }
}
