//! Critics: networks that estimate the values of actions.

use std::any::Any;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::Column;
use rekindle_env::{Buffer, Space};

use crate::catalog::{Catalog, CatalogContext};
use crate::encoder::{BoxEncoder, InputScale, MlpEncoder, check_encoder, flat_rows};
use crate::ensemble::EnsembleMlp;
use crate::error::Result;
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
}

impl CriticsConfig {
    /// Creates the settings of critics.
    #[must_use]
    pub fn new(action_dim: usize, critics: usize, outputs: usize) -> Self {
        Self { action_dim, critics, outputs }
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
        let features = match &self.encoder {
            Some(encoder) => encoder.forward(observations)?,
            None => self.scale.apply(flat_rows(observations, self.observation_dim)?),
        };
        Ok(self.values(features, actions))
    }

    fn values(&self, features: Tensor<2>, actions: Option<Tensor<2>>) -> Tensor<3> {
        self.layers.forward(match actions {
            Some(actions) => Tensor::cat(vec![features, actions], 1),
            None => features,
        })
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
        Ok((self.values(features, actions), state))
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
    let (features, CriticsConfig { action_dim, critics, outputs }) = (encoder.output_dim(), config);
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
        let layers = EnsembleMlp::stack(&members, cx.builder)?;
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
    let layers = EnsembleMlp::stack(&members, cx.builder)?;
    Ok(Critics { encoder: Some(encoder), layers, observation_dim: 0, scale: InputScale::Identity })
}
