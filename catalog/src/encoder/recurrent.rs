//! The recurrent encoder.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Column, Columns, CoreError};
use rekindle_env::{Buffer, Space};
use rekindle_kernels::HostPass;
use rekindle_onnx::{Graph, Value, Values};

use super::{BoxEncoder, Encoder, flat_rows};
use crate::builder::ModelBuilder;
use crate::catalog::{Catalog, CatalogContext};
use crate::error::{CatalogError, Result};
use crate::recurrent::{Recurrent, RecurrentConfig};

/// Settings of a [`RecurrentEncoder`]; RLlib's `RecurrentEncoderConfig`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RecurrentEncoderConfig {
    /// Recurrent layers. The encoder sets `input_dim`.
    pub recurrent: RecurrentConfig,
}

impl RecurrentEncoderConfig {
    /// Creates a configuration with these recurrent layers.
    #[must_use]
    pub fn new(recurrent: RecurrentConfig) -> Self {
        Self { recurrent }
    }

    /// Builds the encoder on top of `tokenizer`, which encodes single steps.
    #[must_use]
    pub fn build(&self, tokenizer: BoxEncoder, builder: &ModelBuilder) -> RecurrentEncoder {
        self.build_beside(tokenizer, Vec::new(), builder)
    }

    fn build_beside(
        &self,
        tokenizer: BoxEncoder,
        beside: Vec<(&'static str, usize)>,
        builder: &ModelBuilder,
    ) -> RecurrentEncoder {
        let widths: usize = beside.iter().map(|(_, width)| width).sum();
        let input_dim = tokenizer.output_dim() + widths;
        let config = RecurrentConfig { input_dim, ..self.recurrent.clone() };
        RecurrentEncoder { tokenizer, rnn: config.build(builder), beside }
    }
}

/// An LSTM or GRU on top of another encoder; RLlib's `RecurrentEncoder`.
///
/// The encoder under it (RLlib's tokenizer) reads single steps. Previous actions and rewards go to
/// the recurrent layer directly.
#[derive(Module, Debug)]
pub struct RecurrentEncoder {
    tokenizer: BoxEncoder,
    rnn: Recurrent,
    /// Keys and widths of the recurrent layer's inputs besides the features. If there are any, the
    /// tokenizer reads [`Columns::ORIG_OBS`].
    #[module(skip)]
    beside: Vec<(&'static str, usize)>,
}

impl RecurrentEncoder {
    fn features(&self, observations: &Column) -> Result<Tensor<2>> {
        if self.beside.is_empty() {
            return self.tokenizer.forward(observations);
        }
        let Column::Nested(parts) = observations else {
            let expected = "a nested batch with previous actions or rewards".into();
            return Err(CoreError::TensorKind { expected, found: observations.describe() }.into());
        };
        let mut features = vec![self.tokenizer.forward(parts.column(Columns::ORIG_OBS)?)?];
        for (key, width) in &self.beside {
            features.push(flat_rows(parts.column(key)?, *width)?);
        }
        Ok(Tensor::cat(features, 1))
    }
}

impl Encoder for RecurrentEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let features = self.features(observations)?;
        let (rows, device) = (features.dims()[0], features.device());
        let state = self.rnn.initial_state()?.gather(&vec![0; rows])?;
        let state = rekindle_core::host_batch::upload(&state, &device)?;
        Ok(self.rnn.forward(features, &state)?.0)
    }

    fn host_pass(&self) -> Option<HostPass> {
        let tokenizer = self.tokenizer.host_pass().filter(|_| self.beside.is_empty())?;
        tokenizer.then(self.rnn.host_pass()?)
    }

    fn output_dim(&self) -> usize {
        self.rnn.output_dim()
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(Some(self.rnn.initial_state()?))
    }

    fn forward_recurrent(
        &self,
        observations: &Column,
        state: &Column,
    ) -> Result<(Tensor<2>, Column)> {
        self.rnn.forward(self.features(observations)?, state)
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<Value> {
        if self.beside.is_empty() {
            let features = self.tokenizer.export_onnx(graph, observations)?;
            return self.rnn.export_onnx(graph, &features);
        }
        let original = observations.part(Columns::ORIG_OBS)?;
        let mut features = vec![self.tokenizer.export_onnx(graph, original)?];
        for (key, width) in &self.beside {
            features.push(graph.rows(observations.part(key)?.one()?, *width));
        }
        let features = graph.concat(&features);
        self.rnn.export_onnx(graph, &features)
    }
}

/// Builds [`Catalog::default_recurrent_encoder`].
pub(crate) fn default_recurrent_encoder<C: Catalog + ?Sized>(
    catalog: &C,
    cx: CatalogContext<'_>,
    space: &Space,
) -> Result<BoxEncoder> {
    let config = cx.config;
    let recurrent = RecurrentConfig {
        layer_type: config.recurrent_layer_type,
        num_layers: config.recurrent_num_layers,
        weights: config.lstm_kernel_initializer,
        bias: config.lstm_bias_initializer,
        ..RecurrentConfig::new(0, config.lstm_cell_size)
    };
    let mut beside = Vec::new();
    for (wanted, field, key) in [
        (config.lstm_use_prev_action, "lstm_use_prev_action", Columns::PREV_N_ACTIONS),
        (config.lstm_use_prev_reward, "lstm_use_prev_reward", Columns::PREV_N_REWARDS),
    ] {
        if wanted {
            beside.push((key, part(space, field, key)?.flat_dim()));
        }
    }
    let observed = match beside.is_empty() {
        true => space,
        false => part(space, "lstm_use_prev_action", Columns::ORIG_OBS)?,
    };
    let tokenizer = catalog.build_encoder(cx, observed)?;
    let config = RecurrentEncoderConfig::new(recurrent);
    Ok(BoxEncoder::new(config.build_beside(tokenizer, beside, cx.builder)))
}

/// Returns a part of the observations of the connector `PrevActionsPrevRewards`.
fn part<'a>(space: &'a Space, field: &'static str, key: &str) -> Result<&'a Space> {
    let part = match space {
        Space::Dict(dict) => dict.iter().find(|(name, _)| *name == key).map(|(_, part)| part),
        _ => None,
    };
    part.ok_or_else(|| CatalogError::Inapplicable {
        field: field.into(),
        reason: format!(
            "the observation space {space} has no part `{key}`; add the connector \
             `PrevActionsPrevRewards` to the env-to-module pipeline (algorithms add it \
             automatically), or remove the setting"
        ),
    })
}
