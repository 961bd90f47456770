//! The settings of the default models.

use rekindle_core::{ConfigError, CoreError, settings};
use serde_json::Value;

use crate::activation::Activation;
use crate::conv::ConvFilter;
use crate::conv::validate_filters;
use crate::error::Result;
use crate::initializer::Initializer;
use crate::precision::ComputeDType;
use crate::recurrent::RecurrentLayerType;

settings! {
    /// Settings of the default encoders and heads; RLlib's `DefaultModelConfig`.
    ///
    /// Unknown fields are rejected when the configuration is read. A field that differs from its
    /// default and has no effect with the spaces or the other fields is rejected when the model is
    /// built ([`Catalog::unused_settings`](crate::Catalog::unused_settings)). An algorithm's `model`
    /// settings are shared by all its modules: at least one module must use each setting. Of these, the
    /// `fcnet_*` settings may even be unused, with a warning, so that one configuration serves images
    /// and vectors.
    pub struct DefaultModelConfig {
        /// Widths of the layers of the encoders of vectors, choices and bits.
        into fcnet_hiddens: Vec<usize> = vec![256, 256];
        /// Activation after each layer of these encoders.
        set fcnet_activation: Activation = Activation::Tanh;
        /// Initial weights of these encoders.
        set fcnet_kernel_initializer: Initializer = Initializer::TorchDefault;
        /// Initial biases of these encoders.
        set fcnet_bias_initializer: Initializer = Initializer::TorchDefault;
        /// Whether each layer of these encoders is normalized before its activation.
        set fcnet_use_layernorm: bool = false;
        /// Widths of `fcnet_hiddens` in the value function's own encoder; `None` for the policy's.
        /// Requires `vf_share_layers: false`.
        into vf_fcnet_hiddens: Option<Vec<usize>> = None;
        /// Layers of the encoder of images. `None` for the defaults: RLlib's if it has some for the
        /// size, else layers that halve the image until its longer side is at most 4.
        into conv_filters: Option<Vec<ConvFilter>> = None;
        /// Activation after each convolution.
        set conv_activation: Activation = Activation::Relu;
        /// Initial weights of the convolutions.
        set conv_kernel_initializer: Initializer = Initializer::TorchDefault;
        /// Initial biases of the convolutions.
        set conv_bias_initializer: Initializer = Initializer::TorchDefault;
        /// Whether each convolution is normalized over its channels before its activation.
        set conv_use_layernorm: bool = false;
        /// Number format of the convolutions: `"f32"`, `"bf16"` or `"f16"`. The lower precisions are
        /// faster on GPUs with matrix units for them. Parameters and optimizer keep single precision.
        set conv_compute_dtype: ComputeDType = ComputeDType::F32;
        /// Widths of fully connected layers between the convolutions and the heads (NatureCNN has
        /// `[512]`). They have the activation, normalization and initializers of the convolutions.
        into conv_fcnet_hiddens: Vec<usize> = Vec::new();
        /// Widths of the layers that fuse the features of the parts of a Dict or Tuple.
        into fusionnet_hiddens: Vec<usize> = vec![256, 256];
        /// Activation after each of these layers.
        set fusionnet_activation: Activation = Activation::Tanh;
        /// Initial weights of the fusing layers.
        set fusionnet_kernel_initializer: Initializer = Initializer::TorchDefault;
        /// Initial biases of the fusing layers.
        set fusionnet_bias_initializer: Initializer = Initializer::TorchDefault;
        /// Widths of the hidden layers of the policy and value heads.
        into head_fcnet_hiddens: Vec<usize> = Vec::new();
        /// Widths of the hidden layers of the value head; `None` for `head_fcnet_hiddens`.
        into vf_head_fcnet_hiddens: Option<Vec<usize>> = None;
        /// Activation after each hidden layer of a head.
        set head_fcnet_activation: Activation = Activation::Relu;
        /// Initial weights of the heads, except for the policy head's output layer if
        /// `pi_output_kernel_initializer` is set.
        set head_fcnet_kernel_initializer: Initializer = Initializer::TorchDefault;
        /// Initial biases of the heads.
        set head_fcnet_bias_initializer: Initializer = Initializer::TorchDefault;
        /// Initial weights of the policy head's output layer; `None` for
        /// `head_fcnet_kernel_initializer`. Small values start near a uniform policy.
        into pi_output_kernel_initializer: Option<Initializer> = None;
        /// Whether each hidden layer of a head is normalized before its activation.
        set head_fcnet_use_layernorm: bool = false;
        /// Whether the standard deviations of a Gaussian policy are free parameters instead of outputs
        /// of the policy head.
        set free_log_std: bool = false;
        /// Bound on the absolute log standard deviation of a Gaussian policy; infinity for none.
        #[serde(with = "rekindle_core::settings::infinity")]
        set log_std_clip_param: f64 = 20.0;
        /// Whether policy and value function share one encoder, which RLlib's PPO does not do either.
        set vf_share_layers: bool = false;
        /// Whether the encoders have a recurrent layer on top.
        set use_lstm: bool = false;
        /// Kind of the recurrent layer, LSTM or GRU.
        set recurrent_layer_type: RecurrentLayerType = RecurrentLayerType::Lstm;
        /// Number of stacked recurrent layers.
        set recurrent_num_layers: usize = 1;
        /// Longest sequence that gradients flow through in training, in steps.
        set max_seq_len: usize = 20;
        /// Number of features of the recurrent layer, and the size of its state.
        set lstm_cell_size: usize = 256;
        /// Whether the recurrent layer also reads the previous action.
        set lstm_use_prev_action: bool = false;
        /// Whether the recurrent layer also reads the previous reward.
        set lstm_use_prev_reward: bool = false;
        /// Initial weights of the recurrent layer.
        set lstm_kernel_initializer: Initializer = Initializer::TorchDefault;
        /// Initial biases of the recurrent layer.
        set lstm_bias_initializer: Initializer = Initializer::TorchDefault;
    }
}

/// Largest width of a layer. Larger ones are mistakes that memory would not hold.
pub(crate) const MAX_UNITS: usize = 1 << 16;

/// Largest number of weights between two layers: devices number elements by 32-bit integers.
pub(crate) const MAX_WEIGHTS: usize = i32::MAX as usize;

/// Largest number of recurrent layers.
const MAX_LAYERS: usize = 1000;

/// Largest size of a recurrent layer, whose four gates have a square matrix each.
const MAX_CELLS: usize = 1 << 14;

impl DefaultModelConfig {
    /// Reads a configuration from data. Missing fields take their defaults.
    ///
    /// # Errors
    /// An error that names the first field that is unknown or has a value of the wrong type.
    pub fn from_value(value: &Value) -> serde_json::Result<Self> {
        settings::from_value(value)
    }

    /// Checks the value of each field.
    ///
    /// # Errors
    /// [`CatalogError::Config`](crate::CatalogError::Config) with field, value and constraint.
    pub fn validate(&self) -> Result<()> {
        let positive = |field, dims: &[usize]| -> Result<()> {
            let constraint = if dims.contains(&0) {
                "every layer needs at least one unit"
            } else if dims.iter().any(|&d| d > MAX_UNITS) {
                "a layer has at most 65536 units"
            } else if dims.windows(2).any(|pair| pair[0] * pair[1] > MAX_WEIGHTS) {
                "a layer has at most 2147483647 weights"
            } else {
                return Ok(());
            };
            Err(ConfigError::new(field, format!("{dims:?}"), constraint).into())
        };
        fn given(dims: &Option<Vec<usize>>) -> &[usize] {
            dims.as_deref().unwrap_or_default()
        }
        positive("fcnet_hiddens", &self.fcnet_hiddens)?;
        positive("vf_fcnet_hiddens", given(&self.vf_fcnet_hiddens))?;
        positive("conv_fcnet_hiddens", &self.conv_fcnet_hiddens)?;
        positive("fusionnet_hiddens", &self.fusionnet_hiddens)?;
        positive("head_fcnet_hiddens", &self.head_fcnet_hiddens)?;
        positive("vf_head_fcnet_hiddens", given(&self.vf_head_fcnet_hiddens))?;
        for (field, value) in [
            ("recurrent_num_layers", self.recurrent_num_layers),
            ("max_seq_len", self.max_seq_len),
            ("lstm_cell_size", self.lstm_cell_size),
        ] {
            if value == 0 {
                let constraint = "it must be at least 1";
                return Err(ConfigError::new(field, "0", constraint).into());
            }
        }
        for (field, value, most) in [
            ("recurrent_num_layers", self.recurrent_num_layers, MAX_LAYERS),
            ("lstm_cell_size", self.lstm_cell_size, MAX_CELLS),
        ] {
            if value > most {
                let constraint = format!("it must be at most {most}");
                return Err(ConfigError::new(field, value, constraint).into());
            }
        }
        if let Some(filters) = &self.conv_filters {
            validate_filters("conv_filters", filters)?;
        }
        // Also where it rounds to 0 in single precision.
        let clip = self.log_std_clip_param as f32;
        if clip.is_nan() || clip <= 0.0 {
            return Err(ConfigError::new(
                "log_std_clip_param",
                self.log_std_clip_param.to_string(),
                "it must be positive (infinity disables clipping)",
            )
            .into());
        }
        Ok(())
    }

    /// Returns the settings of the value function's own encoder, in which `vf_fcnet_hiddens` takes
    /// the place of `fcnet_hiddens`.
    #[must_use]
    pub fn of_value_function(&self) -> Self {
        let mut config = self.clone();
        if let Some(hiddens) = config.vf_fcnet_hiddens.take() {
            config.fcnet_hiddens = hiddens;
        }
        config
    }

    /// Returns the names of the fields that differ from their defaults, sorted.
    ///
    /// # Errors
    /// None in practice: every field serializes.
    pub(crate) fn changed_fields(&self) -> Result<Vec<String>> {
        // As JSON, so that no field can be forgotten.
        let json = |config: &Self| {
            let what = "the model config";
            serde_json::to_value(config)
                .map_err(|source| CoreError::Json { what: what.into(), source })
        };
        let (mine, default) = (json(self)?, json(&Self::default())?);
        let fields = mine.as_object().into_iter().flatten();
        let changed = fields.filter(|(name, value)| default.get(name) != Some(value));
        Ok(changed.map(|(name, _)| name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused_and_missing_ones_take_their_default() {
        let config: DefaultModelConfig =
            serde_json::from_str(r#"{"fcnet_hiddens": [32], "log_std_clip_param": null}"#).unwrap();
        assert_eq!(config.fcnet_hiddens, [32]);
        assert_eq!(config.log_std_clip_param, f64::INFINITY);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DefaultModelConfig>(&json).unwrap(), config);
        let error = serde_json::from_str::<DefaultModelConfig>(r#"{"fcnet_hidden": [32]}"#);
        assert!(error.unwrap_err().to_string().contains("unknown field `fcnet_hidden`"));
    }

    #[test]
    fn values_outside_their_range_name_field_value_and_constraint() {
        let config = DefaultModelConfig::default().fcnet_hiddens(vec![64, 0]);
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(
            message,
            "model config: `fcnet_hiddens` is [64, 0], but every layer needs at least one unit"
        );
    }

    #[test]
    fn no_network_has_a_layer_without_units() {
        for field in [
            "fcnet_hiddens",
            "vf_fcnet_hiddens",
            "conv_fcnet_hiddens",
            "fusionnet_hiddens",
            "head_fcnet_hiddens",
            "vf_head_fcnet_hiddens",
        ] {
            let config = serde_json::json!({ field: [4, 0] });
            let config = DefaultModelConfig::from_value(&config).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}` is [4, 0]")), "{message}");
        }
    }

    #[test]
    fn every_field_that_differs_counts_as_changed() {
        assert!(DefaultModelConfig::default().changed_fields().unwrap().is_empty());
        let config = DefaultModelConfig::default()
            .use_lstm(true)
            .log_std_clip_param(f64::INFINITY)
            .fcnet_hiddens(vec![256]);
        let changed = config.changed_fields().unwrap();
        assert_eq!(changed, ["fcnet_hiddens", "log_std_clip_param", "use_lstm"]);
    }
}
