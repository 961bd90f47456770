//! The default module of action values.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{BoxEncoder, CatalogError, Mlp, check_encoder, dueling};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Batch, Columns, Generator, Schedule};
use rekindle_env::Buffer;
use serde::{Deserialize, Serialize};

use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::module::RLModule;
use crate::roles::{QNet, TargetNetwork};

/// An encoder and a head of action values, and slow copies of both; RLlib's `DefaultDQNTorchRLModule`.
///
/// It explores ε-greedily: with the probability that [`QNetworkConfig::epsilon`] has after the environment
/// steps so far, an action is drawn from all with equal probability; otherwise the action of the largest value
/// is taken. Greedy actions of inference are those of the largest value. Built for inference only, it has no
/// target networks.
///
/// With a recurrent encoder (`use_lstm`) it has memory, and learns from sequences of `max_seq_len` steps.
///
/// Its model config is a `DefaultModelConfig` with the fields of [`QNetworkConfig`] beside.
#[derive(Module, Debug)]
pub struct QNetwork {
    encoder: BoxEncoder,
    qf: QHead,
    target_encoder: Option<BoxEncoder>,
    target_qf: Option<QHead>,
    #[module(skip)]
    epsilon: Schedule,
    /// The number of actions, and the first of them.
    actions: usize,
    first_action: i64,
    is_stateful: bool,
    max_seq_len: usize,
}

/// The settings that a [`QNetwork`] has beside those of a `DefaultModelConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QNetworkConfig {
    /// Whether action values are the sum of a value and of advantages with mean 0 (Wang et al., 2016).
    ///
    /// Default: `true`.
    pub dueling: bool,
    /// Probability of a random action over environment steps.
    ///
    /// Default: 1 at the start, 0.05 from step 10 000 on.
    pub epsilon: Schedule,
}

impl Default for QNetworkConfig {
    fn default() -> Self {
        Self { dueling: true, epsilon: Schedule::from([(0, 1.0), (10_000, 0.05)]) }
    }
}

/// A head of action values: advantages, and the value that is added to them in a dueling network.
#[derive(Module, Debug)]
pub struct QHead {
    af: Mlp,
    vf: Option<Mlp>,
}

impl QHead {
    /// Creates a head of action values.
    #[must_use]
    pub fn new(af: Mlp) -> Self {
        Self { af, vf: None }
    }

    /// Adds a value, with one output: the first layers compute advantages.
    #[must_use]
    pub fn dueling(mut self, vf: Mlp) -> Self {
        self.vf = Some(vf);
        self
    }

    /// Computes the values of all actions.
    ///
    /// # Shapes
    /// `[B, features]` to `[B, actions]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.vf {
            None => self.af.forward(features),
            Some(vf) => {
                let values = vf.forward(features.clone()).squeeze_dim(1);
                dueling(self.af.forward(features), values)
            }
        }
    }

    /// Computes the values of all actions, and the state after them if the encoder is recurrent.
    fn outputs(&self, encoder: &BoxEncoder, batch: &Batch, is_stateful: bool) -> Result<Batch> {
        if !is_stateful {
            return Ok(Batch::new().with(Columns::QF_PREDS, self.forward_from(encoder, batch)?));
        }
        let (observations, state) = (batch.column(Columns::OBS)?, batch.column(Columns::STATE_IN)?);
        let (features, state) = encoder.forward_recurrent(observations, state)?;
        Ok(Batch::new()
            .with(Columns::QF_PREDS, self.forward(features))
            .with(Columns::STATE_OUT, state))
    }

    fn forward_from(&self, encoder: &BoxEncoder, batch: &Batch) -> Result<Tensor<2>> {
        let observations = batch.column(Columns::OBS)?;
        Ok(match &self.vf {
            None => self.af.forward_from(&**encoder, observations)?,
            Some(_) => self.forward(encoder.forward(observations)?),
        })
    }
}

impl QNetwork {
    /// Draws the actions of an exploration pass.
    ///
    /// # Shapes
    /// `q`: `[B, actions]`; result `[B]`.
    fn explore(&self, q: &Tensor<2>, cx: &mut ExplorationContext) -> Result<Tensor<1, Int>> {
        let epsilon = self.epsilon.value(cx.env_steps());
        let values = to_f32(q.clone())?;
        let rows = values.chunks(self.actions).enumerate();
        let actions = rows.map(|(row, values)| {
            let rng: &mut Generator = cx.rng(row)?;
            let action = match rng.random() < epsilon {
                true => rng.integers(0, self.actions as i64),
                false => largest(values),
            };
            Ok(action + self.first_action)
        });
        let actions = actions.collect::<Result<Vec<i64>>>()?;
        Ok(Tensor::from_data(TensorData::new(actions, [q.dims()[0]]), &q.device()))
    }
}

/// The first index of the largest value.
fn largest(values: &[f32]) -> i64 {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best as i64
}

impl RLModule for QNetwork {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let actions = cx.action_space().as_discrete()?;
        let (config, own) = cx.extended_model_config::<QNetworkConfig>()?;
        own.epsilon.validate("epsilon").map_err(CatalogError::from)?;
        cx.check_model_config(&config)?;
        let build = cx.catalog_context(&config);
        let catalog = cx.catalog();
        let new_encoder = || -> Result<BoxEncoder> {
            let encoder = match config.use_lstm {
                true => catalog.build_recurrent_encoder(build, cx.observation_space())?,
                false => catalog.build_encoder(build, cx.observation_space())?,
            };
            check_encoder(&*encoder, cx.observation_space(), cx.device())?;
            Ok(encoder)
        };
        let new_head = |features| -> Result<QHead> {
            let head = QHead::new(catalog.build_q_head(build, features, actions.n())?);
            Ok(match own.dueling {
                true => head.dueling(catalog.build_q_head(build, features, 1)?),
                false => head,
            })
        };
        let encoder = new_encoder()?;
        let features = encoder.output_dim();
        let qf = new_head(features)?;
        let (target_encoder, target_qf) = match cx.inference_only() {
            true => (None, None),
            false => (Some(new_encoder()?), Some(new_head(features)?)),
        };
        let (first_action, actions, epsilon) = (actions.start(), actions.n(), own.epsilon);
        let is_stateful = encoder.initial_state()?.is_some();
        let max_seq_len = config.max_seq_len;
        Ok(Self {
            encoder,
            qf,
            target_encoder,
            target_qf,
            epsilon,
            actions,
            first_action,
            is_stateful,
            max_seq_len,
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        self.compute_q_values(batch)
    }

    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let outputs = self.compute_q_values(batch)?;
        let actions = self.explore(&outputs.float::<2>(Columns::QF_PREDS)?, cx)?;
        Ok(outputs.with(Columns::ACTIONS, actions))
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        let mut outputs = self.compute_q_values(batch)?;
        let q = outputs.float::<2>(Columns::QF_PREDS)?;
        let actions = q.argmax(1).squeeze_dim::<1>(1) + self.first_action;
        outputs.remove(Columns::QF_PREDS);
        Ok(outputs.with(Columns::ACTIONS, actions))
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(self.encoder.initial_state()?)
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.target_qf.as_ref().map(|_| self as &dyn TargetNetwork)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &["target_encoder", "target_qf"]
    }
}

impl QNet for QNetwork {
    fn compute_q_values(&self, batch: &Batch) -> Result<Batch> {
        self.qf.outputs(&self.encoder, batch, self.is_stateful)
    }
}

impl TargetNetwork for QNetwork {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("encoder", "target_encoder"), ("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> Result<Batch> {
        let (Some(encoder), Some(qf)) = (&self.target_encoder, &self.target_qf) else {
            return Err(ModuleError::Mismatch(
                "a module that was built for inference only has no target networks".into(),
            ));
        };
        qf.outputs(encoder, batch, self.is_stateful)
    }
}
