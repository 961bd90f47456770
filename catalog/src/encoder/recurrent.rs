//! The encoder with memory.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Column, Columns, CoreError};
use rekindle_env::{Buffer, Space};

use super::{BoxEncoder, Encoder, flat_rows};
use crate::{
    Catalog, CatalogContext, CatalogError, ModelBuilder, Recurrent, RecurrentConfig, Result,
};

/// An LSTM or GRU on top of any encoder; RLlib's `RecurrentEncoder`.
///
/// The encoder under it (RLlib's tokenizer) reads single steps; previous actions and rewards, where
/// the layer takes them, bypass it.
#[derive(Module, Debug)]
pub struct RecurrentEncoder {
    tokenizer: BoxEncoder,
    rnn: Recurrent,
    /// Keys and widths of what the layer reads beside the features; with any, the tokenizer reads
    /// [`Columns::ORIG_OBS`].
    #[module(skip)]
    beside: Vec<(&'static str, usize)>,
}

impl RecurrentEncoder {
    /// A recurrent layer over the features of `tokenizer`; its `input_dim` is set by them.
    pub fn new(tokenizer: BoxEncoder, config: RecurrentConfig, builder: &ModelBuilder) -> Self {
        Self::with_beside(tokenizer, Vec::new(), config, builder)
    }

    fn with_beside(
        tokenizer: BoxEncoder,
        beside: Vec<(&'static str, usize)>,
        config: RecurrentConfig,
        builder: &ModelBuilder,
    ) -> Self {
        let widths: usize = beside.iter().map(|(_, width)| width).sum();
        let config = RecurrentConfig { input_dim: tokenizer.output_dim() + widths, ..config };
        Self { tokenizer, rnn: Recurrent::new(&config, builder), beside }
    }

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
    let encoder = RecurrentEncoder::with_beside(tokenizer, beside, recurrent, cx.builder);
    Ok(BoxEncoder::new(encoder))
}

/// A part of the observations that the connector `PrevActionsPrevRewards` puts out.
fn part<'a>(space: &'a Space, field: &'static str, key: &str) -> Result<&'a Space> {
    let part = match space {
        Space::Dict(dict) => dict.iter().find(|(name, _)| *name == key).map(|(_, part)| part),
        _ => None,
    };
    part.ok_or_else(|| CatalogError::Inapplicable {
        field: field.into(),
        reason: format!(
            "the observation space {space} has no part `{key}`; put the connector \
             `PrevActionsPrevRewards` into the env-to-module pipeline (algorithms do it by \
             themselves), or leave the setting out"
        ),
    })
}
