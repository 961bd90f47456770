//! The default module of SAC and TQC.

use std::borrow::Cow;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{
    BoxEncoder, CatalogError, Critics, CriticsConfig, Deterministic, Distribution, PolicyHead,
    RunningStatistics, SquashedGaussian, StateDependentNoise, StateDependentNoiseConfig,
    export_mask_logits, mask_logits,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Column, Columns, ConfigError};
use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, PolicyOutputs, Values};
use serde::{Deserialize, Serialize};

use crate::action_mask::ActionMask;
use crate::context::ModuleContext;
use crate::critics_input::{self, CriticsInput, build_encoder, check_settings};
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::memory::{Memory, policy_features, policy_outputs};
use crate::module::RLModule;
use crate::policy_pass::PolicyPass;
use crate::roles::{ActionCritic, Role, StochasticPolicy, TargetNetwork, ValueFunction};

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
/// With `use_sde`, exploration adds [`StateDependentNoise`](rekindle_catalog::StateDependentNoise) instead of noise
/// of each step. Learning draws actions from their distribution given the state.
///
/// Its model config has the fields of `DefaultModelConfig` and of [`SoftActorCriticConfig`].
#[derive(Module, Debug)]
pub struct SoftActorCritic {
    encoder: BoxEncoder,
    pi: PolicyHead,
    qf: Option<Critics>,
    target_qf: Option<Critics>,
    vf: Option<Critics>,
    #[module(skip)]
    input: CriticsInput,
    /// The distribution of a `Box`.
    #[module(skip)]
    squashed: Option<SquashedGaussian>,
    /// The shape of an action of a `Box`.
    #[module(skip)]
    shape: Vec<usize>,
    /// Passes that the noise of gSDE lasts for.
    #[module(skip)]
    sde_sample_freq: Option<u64>,
    #[module(skip)]
    mask: Option<ActionMask>,
    #[module(skip)]
    memory: Memory,
    max_seq_len: usize,
}

/// The settings that a [`SoftActorCritic`] has beside those of a `DefaultModelConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Whether the critics renormalize the inputs of each layer by batches
    /// ([`EnsembleBatchRenorm`](rekindle_catalog::EnsembleBatchRenorm)). They have no targets then: next values are
    /// those of the critics themselves, from a pass over current and next actions together (CrossQ).
    ///
    /// Default: `false`.
    pub critics_use_batch_renorm: bool,
    /// Whether there is a value function with networks of its own, as IQL needs.
    ///
    /// Default: `false`.
    pub use_value_function: bool,
    /// Whether the Gaussian of a `Box` is squashed into [−1, 1]. Without, it is the catalog's distribution, and the
    /// module has no role [`StochasticPolicy`].
    ///
    /// Default: `true`.
    pub squash_policy: bool,
    /// Updates after which batch renormalization corrects the statistics of a batch towards the running ones.
    ///
    /// Default: `100_000`.
    pub batch_renorm_warmup_steps: u64,
    /// Whether the policy explores with [`StateDependentNoise`](rekindle_catalog::StateDependentNoise), in a
    /// `Box`.
    ///
    /// Default: `false`.
    pub use_sde: bool,
    /// Steps of an environment that this noise lasts for; `None` draws it anew when new weights are published.
    ///
    /// Default: `None`.
    pub sde_sample_freq: Option<u64>,
    /// Logarithm of the standard deviations of this noise at the start.
    ///
    /// Default: `-3`.
    pub log_std_init: f64,
    /// Bound on the absolute means of a policy with this noise; 0 for none.
    ///
    /// Default: `2`.
    pub clip_mean: f64,
    /// Whether standard deviations of this noise above 1 grow as the logarithm of their parameters.
    ///
    /// Default: `false`.
    pub use_expln: bool,
}

impl Default for SoftActorCriticConfig {
    fn default() -> Self {
        let StateDependentNoiseConfig { log_std_init, clip_mean, use_expln, .. } =
            StateDependentNoiseConfig::default();
        Self {
            num_critics: 2,
            num_quantiles: 1,
            critics_use_layernorm: false,
            critics_use_batch_renorm: false,
            use_value_function: false,
            squash_policy: true,
            batch_renorm_warmup_steps: 100_000,
            use_sde: false,
            sde_sample_freq: None,
            log_std_init,
            clip_mean,
            use_expln,
        }
    }
}

fn refuse<T>(field: &str, reason: &str) -> Result<T> {
    let (field, reason) = (field.into(), reason.into());
    Err(CatalogError::Inapplicable { field, reason }.into())
}

impl SoftActorCriticConfig {
    /// Adds batch renormalization to the settings of critics, if it is on.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] for its warm-up without it.
    fn normalized(&self, critics: CriticsConfig) -> Result<CriticsConfig> {
        let steps = self.batch_renorm_warmup_steps;
        match self.critics_use_batch_renorm {
            true => Ok(critics.batch_renorm(steps)),
            false if steps == Self::default().batch_renorm_warmup_steps => Ok(critics),
            false => refuse(
                "batch_renorm_warmup_steps",
                "it is the warm-up of batch renormalization; set `critics_use_batch_renorm`, or remove the setting",
            ),
        }
    }

    /// Returns the settings of noise that depends on the state, if the policy explores with it.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] for one of these settings without `use_sde`, and for `use_sde` in a `Discrete`
    /// space.
    fn noise(&self, input: CriticsInput) -> Result<Option<StateDependentNoiseConfig>> {
        if self.use_sde {
            if let CriticsInput::All { .. } = input {
                let reason = "gSDE adds noise to the numbers of a Box; remove the setting for a Discrete space";
                return refuse("use_sde", reason);
            }
            if self.sde_sample_freq == Some(0) {
                let constraint = "noise lasts for at least 1 step; leave it out to draw noise when new weights are published";
                return Err(
                    CatalogError::from(ConfigError::new("sde_sample_freq", 0, constraint)).into()
                );
            }
            let config = StateDependentNoiseConfig::default()
                .log_std_init(self.log_std_init)
                .clip_mean(self.clip_mean)
                .use_expln(self.use_expln);
            return Ok(Some(config));
        }
        let default = Self::default();
        let changed = [
            ("sde_sample_freq", self.sde_sample_freq != default.sde_sample_freq),
            ("log_std_init", self.log_std_init != default.log_std_init),
            ("clip_mean", self.clip_mean != default.clip_mean),
            ("use_expln", self.use_expln != default.use_expln),
        ];
        match changed.into_iter().find(|(_, changed)| *changed) {
            Some((field, _)) => {
                refuse(field, "it is a setting of gSDE; set `use_sde`, or remove the setting")
            }
            None => Ok(None),
        }
    }
}

/// The distribution itself bounds absolute log standard deviations by this number, so that a head that does so, too,
/// would only take time.
const LARGEST_LOG_STD: f64 = 5.0;

/// Bounds of log standard deviations with gSDE, whose own smallest one is `½·log 10⁻⁶ ≈ −6.9`.
const SDE_LOG_STD: [f32; 2] = [-20.0, 20.0];

/// Returns the squashed Gaussian of a `Box`.
fn squashed(input: CriticsInput, own: &SoftActorCriticConfig) -> Result<Option<SquashedGaussian>> {
    let use_sde = own.use_sde;
    let dim = match input {
        CriticsInput::Given { dim } if own.squash_policy => dim,
        CriticsInput::Given { .. } if use_sde => {
            return refuse(
                "use_sde",
                "gSDE is noise of a squashed policy; set `squash_policy` to true, or remove the setting",
            );
        }
        _ => return Ok(None),
    };
    let squashed = SquashedGaussian::new(vec![-1.0; dim], vec![1.0; dim])?;
    Ok(Some(match use_sde {
        true => squashed.with_log_std_bounds(SDE_LOG_STD)?,
        false => squashed,
    }))
}

impl SoftActorCritic {
    /// Draws the numbers of gSDE for each row of a batch.
    ///
    /// # Shapes
    /// Result `[rows, features · actions]`.
    fn held_noise(&self, rows: usize, len: usize, cx: &mut ExplorationContext) -> Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(rows * len);
        for row in 0..rows {
            numbers.extend_from_slice(cx.held_noise(row, len, self.sde_sample_freq)?);
        }
        Ok(numbers)
    }

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

    /// Acts with gSDE, and computes the states after the batch if the networks have memory.
    fn explore(
        &self,
        noise: &StateDependentNoise,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> Result<Batch> {
        let (seen, state) = (self.seen(batch)?.0, self.memory.of_policy(batch)?);
        let (rows, len) = (seen.rows(), noise.noise_dims().into_iter().product());
        let numbers = TensorData::new(self.held_noise(rows, len, cx)?, [rows, len]);
        let numbers = Tensor::from_data(numbers, &noise.device());
        let (features, after) = policy_features(&self.encoder, &seen, state)?;
        let actions = self.pi.explore(features, numbers);
        let device = actions.device();
        let actions = critics_input::shaped(to_f32(actions.tanh())?, &self.shape, &device)?;
        let mut outputs = Batch::new().with(Columns::ACTIONS, actions);
        let critics = self.qf.as_ref().map(|qf| (qf, &*seen));
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
        let (distribution, noise) = (Self::action_distribution(cx)?, own.noise(input)?);
        let mut of_policy = config.clone();
        if distribution.is_gaussian() && of_policy.log_std_clip_param >= LARGEST_LOG_STD {
            of_policy.log_std_clip_param = f64::INFINITY;
        }
        let features = encoder.output_dim();
        let pi = match (&noise, input) {
            (Some(noise), CriticsInput::Given { dim }) => {
                let means = Deterministic::new(dim);
                let head = catalog.build_pi_head(cx.catalog_context(&config), features, &means)?;
                head.with_state_dependent_noise(noise, cx.builder())?
            }
            _ => catalog.build_pi_head(cx.catalog_context(&of_policy), features, &*distribution)?,
        };
        let (action_dim, outputs) = match input {
            CriticsInput::Given { dim } => (dim, own.num_quantiles),
            CriticsInput::All { actions } => (0, actions),
        };
        let of_critics = critics_input::config(&config, own.critics_use_layernorm);
        let networks = own.normalized(CriticsConfig::new(action_dim, own.num_critics, outputs))?;
        let critics = || catalog.build_critics(cx.catalog_context(&of_critics), &seen, networks);
        let vf = match own.use_value_function && !cx.inference_only() {
            true => {
                if config.use_lstm {
                    return refuse(
                        "use_lstm",
                        "the value function has no memory, which policy and critics would have; remove the setting, or learn with an algorithm without a value function, such as TD3+BC",
                    );
                }
                let one = CriticsConfig::new(0, 1, 1);
                Some(catalog.build_critics(cx.catalog_context(&of_critics), &seen, one)?)
            }
            false => None,
        };
        let (qf, target_qf) = match (cx.inference_only(), own.critics_use_batch_renorm) {
            (true, _) => (None, None),
            (false, true) => (Some(critics()?), None),
            (false, false) => (Some(critics()?), Some(critics()?)),
        };
        let memory = Memory::of(&encoder, qf.as_ref())?;
        let shape = match cx.action_space() {
            Space::Box(space) => space.shape().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self {
            encoder,
            pi,
            qf,
            target_qf,
            vf,
            input,
            squashed: squashed(input, &own)?,
            mask,
            memory,
            max_seq_len: config.max_seq_len,
            shape,
            sde_sample_freq: own.sde_sample_freq,
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, true)
    }

    /// Updates the recurrent state of the critics as well, because training sequences start from it.
    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        match self.pi.noise() {
            Some(noise) => self.explore(noise, batch, cx),
            None => self.act(batch, true),
        }
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.act(batch, false)
    }

    fn policy_pass(&self) -> Option<PolicyPass> {
        if self.mask.is_some() || self.memory != Memory::None {
            return None;
        }
        Some(PolicyPass::new(self.encoder.host_pass()?.then(self.pi.host_pass()?)?))
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        self.memory.initial_state(&self.encoder, self.qf.as_ref())
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        let (seen, mask) = ActionMask::export_if(self.mask.as_ref(), observations)?;
        let features = self.encoder.export_onnx(graph, &seen)?;
        let inputs = self.pi.export_onnx(graph, &features)?;
        Ok(PolicyOutputs::of_distribution(match mask {
            Some(mask) => export_mask_logits(graph, &inputs, &mask),
            None => inputs,
        }))
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>> {
        let (_, own) = cx.extended_model_config::<SoftActorCriticConfig>()?;
        match squashed(CriticsInput::of(cx)?, &own)? {
            Some(squashed) => Ok(Arc::new(squashed)),
            None => Ok(cx.catalog().action_distribution(cx.action_space())?),
        }
    }

    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        self.qf.as_ref().map(|_| self as &dyn ActionCritic)
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        self.vf.as_ref().map(|_| self as &dyn ValueFunction)
    }

    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        self.squashed.as_ref().map(|_| self as &dyn StochasticPolicy)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.target_qf.as_ref().map(|_| self as &dyn TargetNetwork)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["qf", "target_qf", "vf"]
    }

    fn type_name() -> String {
        "rekindle.SoftActorCritic".into()
    }
}

impl ActionCritic for SoftActorCritic {
    fn compute_action_values(&self, batch: &Batch) -> Result<Tensor<3>> {
        Ok(self.values(self.qf.as_ref(), batch)?.0)
    }

    fn compute_action_values_in_training(
        &self,
        batch: &Batch,
    ) -> Result<(Tensor<3>, RunningStatistics)> {
        critics_input::values_in_training(self.qf.as_ref(), self.input, batch, &self.seen(batch)?.0)
    }
}

impl ValueFunction for SoftActorCritic {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> Result<Tensor<1>> {
        let Some(vf) = &self.vf else {
            return Err(ModuleError::MissingRole {
                module: Self::type_name(),
                role: Role::ValueFunction,
                needed_by: "compute_values".into(),
                is_shared: false,
            });
        };
        let values = vf.forward(&self.seen(batch)?.0, None)?;
        let [_, rows, _] = values.dims();
        Ok(values.reshape([rows]))
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
