//! Critics: networks that estimate the values of actions.

use std::any::Any;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::Column;
use rekindle_env::{Buffer, Space};

use crate::batch_renorm::RunningStatistics;
use crate::catalog::{Catalog, CatalogContext};
use crate::encoder::{BoxEncoder, InputScale, MlpEncoder, check_encoder, flat_rows};
use crate::ensemble::EnsembleMlp;
use crate::error::{CatalogError, Result};
use crate::mlp::{Mlp, MlpConfig};
use crate::model_config::DefaultModelConfig;

/// Units of the layer between actions and values, where the encoder reads observations alone and the heads have
/// no hidden layer of their own.
const HIDDEN: usize = 256;

/// Several critics of equal shape, each with one or several outputs per row: the values of given actions, or of
/// all actions of a `Discrete` space.
///
/// Observations that an [`MlpEncoder`] reads go into the layers of each critic together with the actions. Any
/// other encoder, such as a CNN or an LSTM, is common to the critics, and the actions join its features.
#[derive(Module, Debug)]
pub struct Critics {
    encoder: Option<BoxEncoder>,
    layers: EnsembleMlp,
    /// Numbers of an observation, for critics without an encoder.
    observation_dim: usize,
    #[module(skip)]
    scale: InputScale,
}

/// What critics estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CriticsConfig {
    /// Numbers of a given action; 0 if the outputs are those of all actions.
    pub action_dim: usize,
    /// Number of critics.
    pub critics: usize,
    /// Outputs of each critic per row.
    pub outputs: usize,
    /// Training passes after which batch renormalization corrects the statistics of a batch; `None` without batch
    /// renormalization.
    pub batch_renorm_warmup_steps: Option<u64>,
}

impl CriticsConfig {
    /// Creates the settings of critics.
    #[must_use]
    pub fn new(action_dim: usize, critics: usize, outputs: usize) -> Self {
        Self { action_dim, critics, outputs, batch_renorm_warmup_steps: None }
    }

    /// Renormalizes the inputs of each layer by batches ([`EnsembleBatchRenorm`](crate::EnsembleBatchRenorm)), with a
    /// warm-up of some training passes; CrossQ's critics.
    #[must_use]
    pub fn batch_renorm(self, warmup_steps: u64) -> Self {
        Self { batch_renorm_warmup_steps: Some(warmup_steps), ..self }
    }
}

impl Critics {
    /// Estimates the values of actions.
    ///
    /// # Shapes
    /// Observations `[B, …]`; actions `[B, action_dim]`, `None` for critics of all actions; result
    /// `[critics, B, outputs]`.
    ///
    /// # Errors
    /// If kind or shape of the observations differs from those the critics were built for.
    pub fn forward(&self, observations: &Column, actions: Option<Tensor<2>>) -> Result<Tensor<3>> {
        Ok(self.layers.forward(self.inputs(observations, actions)?))
    }

    /// Estimates the values of actions in training, where batch renormalization takes the statistics of these rows.
    /// Also returns the running statistics after it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward).
    pub fn forward_in_training(
        &self,
        observations: &Column,
        actions: Option<Tensor<2>>,
    ) -> Result<(Tensor<3>, RunningStatistics)> {
        Ok(self.layers.forward_in_training(self.inputs(observations, actions)?))
    }

    fn inputs(&self, observations: &Column, actions: Option<Tensor<2>>) -> Result<Tensor<2>> {
        let features = match &self.encoder {
            Some(encoder) => encoder.forward(observations)?,
            None => self.scale.apply(flat_rows(observations, self.observation_dim)?),
        };
        Ok(joined(features, actions))
    }

    /// Returns the recurrent state before the first step of an episode, one row; `None` for critics whose encoder
    /// is not recurrent.
    ///
    /// # Errors
    /// If the state cannot be created.
    pub fn initial_state(&self) -> Result<Option<Buffer>> {
        self.encoder.as_ref().map_or(Ok(None), |encoder| encoder.initial_state())
    }

    /// Estimates the values of the actions in some sequences. Also returns the recurrent state after the last step
    /// of each.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward), with `B = S·T` rows in `S` sequences of `T` steps, one after the other;
    /// `state` and the returned state: `[S, …]`.
    ///
    /// # Errors
    /// If kind or shape of observations or state differs from those the critics were built for.
    pub fn forward_recurrent(
        &self,
        observations: &Column,
        state: &Column,
        actions: Option<Tensor<2>>,
    ) -> Result<(Tensor<3>, Column)> {
        let Some(encoder) = &self.encoder else {
            return Ok((self.forward(observations, actions)?, state.clone()));
        };
        let (features, state) = encoder.forward_recurrent(observations, state)?;
        Ok((self.layers.forward(joined(features, actions)), state))
    }

    /// Returns the recurrent state after the last step of each of some sequences, without estimating values.
    ///
    /// # Shapes
    /// Observations `[S·T, …]`; `state` and the returned state: `[S, …]`.
    ///
    /// # Errors
    /// As [`forward_recurrent`](Self::forward_recurrent).
    pub fn next_state(&self, observations: &Column, state: &Column) -> Result<Column> {
        Ok(match &self.encoder {
            Some(encoder) => encoder.forward_recurrent(observations, state)?.1,
            None => state.clone(),
        })
    }
}

/// The inputs of the critics' layers: features, and actions beside them if they are given.
fn joined(features: Tensor<2>, actions: Option<Tensor<2>>) -> Tensor<2> {
    match actions {
        Some(actions) => Tensor::cat(vec![features, actions], 1),
        None => features,
    }
}

/// Builds [`Catalog::default_critics`].
pub(crate) fn default_critics<C: Catalog + ?Sized>(
    catalog: &C,
    cx: CatalogContext<'_>,
    space: &Space,
    config: CriticsConfig,
) -> Result<Critics> {
    let of_values = cx.config.of_value_function();
    let cx = CatalogContext { config: &of_values, ..cx };
    let encoder = match of_values.use_lstm {
        true => catalog.build_recurrent_encoder(cx, space)?,
        false => catalog.build_encoder(cx, space)?,
    };
    check_encoder(&*encoder, space, cx.builder.device())?;
    if config.batch_renorm_warmup_steps.is_some() && encoder.initial_state()?.is_some() {
        let reason = "batch renormalization takes the statistics of current and next rows together, and critics \
                      with memory learn from sequences; use an encoder without memory, or normalize layers";
        return Err(CatalogError::Ensemble { reason });
    }
    let CriticsConfig { action_dim, critics, outputs, batch_renorm_warmup_steps } = config;
    let features = encoder.output_dim();
    let stack = |members: &[Vec<Mlp>]| -> Result<EnsembleMlp> {
        let layers = EnsembleMlp::stack(members, cx.builder)?;
        Ok(match batch_renorm_warmup_steps {
            Some(warmup_steps) => layers.with_batch_renorm(cx.builder, warmup_steps),
            None => layers,
        })
    };
    let plain: &dyn Any = &*encoder;
    if let Some(encoder) = plain.downcast_ref::<MlpEncoder>() {
        let mlp = encoder.config().mlp.clone();
        let (observation_dim, scale) = (mlp.input_dim, encoder.config().scale.clone());
        let joint = MlpConfig { input_dim: observation_dim + action_dim, ..mlp };
        let features = joint.output_dim();
        let member = |_| -> Result<Vec<Mlp>> {
            Ok(vec![joint.build(cx.builder), catalog.build_q_head(cx, features, outputs)?])
        };
        let members = (0..critics).map(member).collect::<Result<Vec<_>>>()?;
        let layers = stack(&members)?;
        return Ok(Critics { encoder: None, layers, observation_dim, scale });
    }
    let hidden = of_values.vf_head_fcnet_hiddens.as_ref().unwrap_or(&of_values.head_fcnet_hiddens);
    let with_hidden =
        DefaultModelConfig { vf_head_fcnet_hiddens: Some(vec![HIDDEN]), ..of_values.clone() };
    // The value of an action is not linear in it.
    let cx = match hidden.is_empty() && action_dim > 0 {
        true => CatalogContext { config: &with_hidden, ..cx },
        false => cx,
    };
    let member = |_| Ok(vec![catalog.build_q_head(cx, features + action_dim, outputs)?]);
    let members = (0..critics).map(member).collect::<Result<Vec<_>>>()?;
    let layers = stack(&members)?;
    Ok(Critics { encoder: Some(encoder), layers, observation_dim: 0, scale: InputScale::Identity })
}
