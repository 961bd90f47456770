//! The default encoder of every space.

use rekindle_core::Columns;
use rekindle_core::any_tensor::MAX_RANK;
use rekindle_env::{BoxDType, BoxSpace, Space};

use super::{BoxEncoder, CnnEncoder, DiscreteEncoder, MlpEncoder, MultiStreamEncoder};
use crate::conv::default_filters;
use crate::{
    Catalog, CatalogContext, CatalogError, CnnConfig, DefaultModelConfig, MlpConfig, Result,
};

/// A Box of two dimensions is an image if neither side is shorter, else a list of numbers.
const SHORTEST_IMAGE_SIDE: usize = 32;

/// The most choices a default encoder makes an embedding for (256 MiB of parameters).
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
            Ok(BoxEncoder::new(MlpEncoder::new(&fcnet(cx.config, bits.n()), cx.builder)))
        }
        Space::Discrete(choice) => discrete_encoder(cx, &[choice.n()], choice.start(), space),
        Space::MultiDiscrete(choices) => discrete_encoder(cx, choices.nvec(), 0, space),
        Space::Dict(_) | Space::Tuple(_) => {
            let build =
                |(name, part): (String, &Space)| Ok((name, catalog.build_encoder(cx, part)?));
            let streams = parts(space).into_iter().map(build).collect::<Result<_>>()?;
            let encoder = MultiStreamEncoder::new(streams, fusionnet(cx.config), cx.builder);
            Ok(BoxEncoder::new(encoder))
        }
    }
}

fn box_encoder(cx: CatalogContext<'_>, b: &BoxSpace, space: &Space) -> Result<BoxEncoder> {
    let bytes = b.dtype() == BoxDType::Uint8;
    if let Some(dims) = image_dims(b) {
        let mut encoder = CnnEncoder::new(&cnn(cx.config, dims), cx.builder)?;
        if !cx.config.conv_fcnet_hiddens.is_empty() {
            encoder = encoder.with_mlp(conv_fcnet(cx.config), cx.builder);
        }
        return Ok(BoxEncoder::new(if bytes { encoder.of_bytes() } else { encoder }));
    }
    // A batch has one dimension more.
    if b.shape().len() >= MAX_RANK {
        return Err(CatalogError::NoEncoder { space: space.to_string() });
    }
    let encoder = MlpEncoder::new(&fcnet(cx.config, b.size()), cx.builder);
    Ok(BoxEncoder::new(if bytes { encoder.of_bytes() } else { encoder }))
}

fn discrete_encoder(
    cx: CatalogContext<'_>,
    nvec: &[usize],
    start: i64,
    space: &Space,
) -> Result<BoxEncoder> {
    if nvec.iter().any(|&n| n > MAX_CHOICES) {
        return Err(CatalogError::NoEncoder { space: space.to_string() });
    }
    Ok(BoxEncoder::new(DiscreteEncoder::new(nvec, start, fcnet(cx.config, 0), cx.builder)))
}

/// The parts of a Dict by key or of a Tuple by position, in the order of the space.
fn parts(space: &Space) -> Vec<(String, &Space)> {
    match space {
        Space::Dict(dict) => dict.iter().map(|(key, part)| (key.into(), part)).collect(),
        Space::Tuple(tuple) => {
            tuple.spaces().iter().enumerate().map(|(i, part)| (i.to_string(), part)).collect()
        }
        _ => Vec::new(),
    }
}

/// Height, width and channels, if the box is an image.
fn image_dims(b: &BoxSpace) -> Option<[usize; 3]> {
    match *b.shape() {
        [height, width, channels] => Some([height, width, channels]),
        [height, width] if height.min(width) >= SHORTEST_IMAGE_SIDE => Some([height, width, 1]),
        _ => None,
    }
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

/// The layers after the convolutions; the number of their inputs is not known yet.
fn conv_fcnet(config: &DefaultModelConfig) -> MlpConfig {
    MlpConfig {
        hidden_layer_activation: config.conv_activation,
        hidden_layer_use_layernorm: config.conv_use_layernorm,
        hidden_layer_weights: config.conv_kernel_initializer,
        hidden_layer_bias: config.conv_bias_initializer,
        ..MlpConfig::new(0, &config.conv_fcnet_hiddens, None)
    }
}

/// Checks [`Catalog::check_model_config`] for the default encoders.
pub(crate) fn check_applies(config: &DefaultModelConfig, space: &Space) -> Result<()> {
    let changed = config.changed_fields()?;
    let find = |groups: &[&str]| {
        changed.iter().find(|field| groups.iter().any(|group| field.starts_with(group))).cloned()
    };
    let recurrent = find(&["recurrent_", "lstm_", "max_seq_len"]);
    if let (Some(field), false) = (recurrent, config.use_lstm) {
        let reason = "the model has no recurrent layer; set `use_lstm`, or leave it out".into();
        return Err(CatalogError::Inapplicable { field, reason });
    }
    if config.vf_share_layers && config.vf_fcnet_hiddens.is_some() {
        let reason = "policy and value function share one encoder; set `vf_share_layers` to false, \
                      or size the value head with `vf_head_fcnet_hiddens`";
        return Err(CatalogError::Inapplicable {
            field: "vf_fcnet_hiddens".into(),
            reason: reason.into(),
        });
    }
    let mut used = Used::default();
    used.collect(observed(config, space));
    for (groups, used, reads) in [
        (
            &["fcnet_", "vf_fcnet_"][..],
            used.fcnet,
            "is a vector, a choice or bits, and only those are read by an MLP",
        ),
        (&["conv_"][..], used.cnn, "is an image"),
        (&["fusionnet_"][..], used.fusionnet, "is a Dict or Tuple, whose parts would be fused"),
    ] {
        if let (Some(field), false) = (find(groups), used) {
            let reason = format!(
                "no part of the observation space {space} {reads}; leave it out, or override \
                 `Catalog::check_model_config` in a catalog that reads it"
            );
            return Err(CatalogError::Inapplicable { field, reason });
        }
    }
    Ok(())
}

/// The part of the observations that the encoders read: with previous actions or rewards, these go
/// to the recurrent layer.
fn observed<'a>(config: &DefaultModelConfig, space: &'a Space) -> &'a Space {
    let beside = config.lstm_use_prev_action || config.lstm_use_prev_reward;
    let original = parts(space).into_iter().find(|(name, _)| beside && name == Columns::ORIG_OBS);
    original.map_or(space, |(_, part)| part)
}

/// Which networks the default encoders of a space consist of.
#[derive(Debug, Default)]
struct Used {
    fcnet: bool,
    cnn: bool,
    fusionnet: bool,
}

impl Used {
    fn collect(&mut self, space: &Space) {
        match space {
            Space::Box(b) if image_dims(b).is_some() => self.cnn = true,
            Space::Dict(_) | Space::Tuple(_) => {
                self.fusionnet = true;
                parts(space).into_iter().for_each(|(_, part)| self.collect(part));
            }
            _ => self.fcnet = true,
        }
    }
}
