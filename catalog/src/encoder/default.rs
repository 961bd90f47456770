//! The default encoder of every space.

use rekindle_core::any_tensor::MAX_RANK;
use rekindle_env::{BoxSpace, Space};

use super::{
    BoxEncoder, CnnEncoderConfig, DiscreteEncoderConfig, InputScale, MlpEncoderConfig,
    MultiStreamEncoderConfig,
};
use crate::catalog::{Catalog, CatalogContext};
use crate::conv::{CnnConfig, default_filters};
use crate::error::{CatalogError, Result};
use crate::mlp::MlpConfig;
use crate::model_config::DefaultModelConfig;

/// Shortest side of an image whose channels may have been put first by mistake.
const SHORTEST_IMAGE_SIDE: usize = 32;

/// Largest number of choices that a default encoder has an embedding for (256 MiB of parameters).
const MAX_CHOICES: usize = 1 << 20;

/// Builds [`Catalog::default_encoder`].
pub(crate) fn default_encoder<C: Catalog + ?Sized>(
    catalog: &C,
    cx: CatalogContext<'_>,
    space: &Space,
) -> Result<BoxEncoder> {
    match space {
        Space::Box(b) => box_encoder(cx, b, space),
        Space::MultiBinary(bits) => {
            let config = MlpEncoderConfig::new(fcnet(cx.config, bits.n()));
            Ok(BoxEncoder::new(config.build(cx.builder)))
        }
        Space::Discrete(choice) => discrete_encoder(cx, &[choice.n()], choice.start(), space),
        Space::MultiDiscrete(choices) => discrete_encoder(cx, choices.nvec(), 0, space),
        Space::Dict(_) | Space::Tuple(_) => {
            let build =
                |(name, part): (String, &Space)| Ok((name, catalog.build_encoder(cx, part)?));
            let streams = parts(space).into_iter().map(build).collect::<Result<_>>()?;
            let config = MultiStreamEncoderConfig::new(fusionnet(cx.config));
            Ok(BoxEncoder::new(config.build(streams, cx.builder)))
        }
    }
}

fn box_encoder(cx: CatalogContext<'_>, b: &BoxSpace, space: &Space) -> Result<BoxEncoder> {
    if let Some(dims) = image_dims(b).filter(|_| !b.dtype().is_int()) {
        if has_channels_first(dims) {
            return Err(CatalogError::ChannelsFirst { space: space.to_string() });
        }
        let mut config = CnnEncoderConfig::new(cnn(cx.config, dims)).with_scale(InputScale::of(b));
        if !cx.config.conv_fcnet_hiddens.is_empty() {
            config = config.with_mlp(conv_fcnet(cx.config));
        }
        return Ok(BoxEncoder::new(config.build(cx.builder)?));
    }
    if b.dtype().is_int() {
        let reason = "its integers may be choices or quantities; declare choices as Discrete or \
                      MultiDiscrete and quantities as a `float32` Box, convert them with the \
                      connector `FlattenObservations`";
        return Err(CatalogError::NoEncoder { space: space.to_string(), reason });
    }
    // A batch has one more dimension.
    if b.shape().len() >= MAX_RANK {
        let reason = "it has more dimensions than a batch of tensors supports; flatten it with the \
                      connector `FlattenObservations`";
        return Err(CatalogError::NoEncoder { space: space.to_string(), reason });
    }
    let config = MlpEncoderConfig::new(fcnet(cx.config, b.size())).with_scale(InputScale::of(b));
    Ok(BoxEncoder::new(config.build(cx.builder)))
}

fn discrete_encoder(
    cx: CatalogContext<'_>,
    nvec: &[usize],
    start: i64,
    space: &Space,
) -> Result<BoxEncoder> {
    if nvec.iter().any(|&n| n > MAX_CHOICES) {
        let reason = "an embedding of more than 2²⁰ choices takes too much memory; observe numbers \
                      that describe the choice";
        return Err(CatalogError::NoEncoder { space: space.to_string(), reason });
    }
    let config = DiscreteEncoderConfig::new(nvec, fcnet(cx.config, 0)).with_start(start);
    Ok(BoxEncoder::new(config.build(cx.builder)))
}

/// Returns the parts of a Dict by key or of a Tuple by position, in the order of the space.
pub(crate) fn parts(space: &Space) -> Vec<(String, &Space)> {
    match space {
        Space::Dict(dict) => dict.iter().map(|(key, part)| (key.into(), part)).collect(),
        Space::Tuple(tuple) => {
            tuple.spaces().iter().enumerate().map(|(i, part)| (i.to_string(), part)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns height, width and channels if the box is an image.
pub(crate) fn image_dims(b: &BoxSpace) -> Option<[usize; 3]> {
    match *b.shape() {
        [height, width, channels] => Some([height, width, channels]),
        [height, width] if BoxSpace::is_gray_image(b.shape()) => Some([height, width, 1]),
        _ => None,
    }
}

/// Whether a shape looks like `[channels, height, width]`: as few rows as an image has channels, and
/// more channels than pixels have in practice.
fn has_channels_first([height, width, channels]: [usize; 3]) -> bool {
    matches!(height, 1 | 3 | 4) && width.min(channels) >= SHORTEST_IMAGE_SIDE
}

fn fcnet(config: &DefaultModelConfig, input_dim: usize) -> MlpConfig {
    MlpConfig {
        hidden_layer_activation: config.fcnet_activation,
        hidden_layer_use_layernorm: config.fcnet_use_layernorm,
        hidden_layer_weights: config.fcnet_kernel_initializer,
        hidden_layer_bias: config.fcnet_bias_initializer,
        ..MlpConfig::new(input_dim, &config.fcnet_hiddens, None)
    }
}

fn fusionnet(config: &DefaultModelConfig) -> MlpConfig {
    MlpConfig {
        hidden_layer_activation: config.fusionnet_activation,
        hidden_layer_weights: config.fusionnet_kernel_initializer,
        hidden_layer_bias: config.fusionnet_bias_initializer,
        ..MlpConfig::new(0, &config.fusionnet_hiddens, None)
    }
}

fn cnn(config: &DefaultModelConfig, dims: [usize; 3]) -> CnnConfig {
    let [height, width, _] = dims;
    let filters = config.conv_filters.clone().unwrap_or_else(|| default_filters([height, width]));
    CnnConfig {
        activation: config.conv_activation,
        use_layernorm: config.conv_use_layernorm,
        compute_dtype: config.conv_compute_dtype,
        weights: config.conv_kernel_initializer,
        bias: config.conv_bias_initializer,
        ..CnnConfig::new(dims, &filters)
    }
}

/// Returns the layers after the convolutions. The encoder sets their `input_dim`.
fn conv_fcnet(config: &DefaultModelConfig) -> MlpConfig {
    MlpConfig {
        hidden_layer_activation: config.conv_activation,
        hidden_layer_use_layernorm: config.conv_use_layernorm,
        hidden_layer_weights: config.conv_kernel_initializer,
        hidden_layer_bias: config.conv_bias_initializer,
        ..MlpConfig::new(0, &config.conv_fcnet_hiddens, None)
    }
}
