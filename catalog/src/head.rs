//! The policy head: from features to the inputs of an action distribution.

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Column, ConfigError};
use rekindle_kernels::HostPass;
use rekindle_onnx::{Graph, Value};

use crate::builder::ModelBuilder;
use crate::distribution::Distribution;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::mlp::{Mlp, MlpConfig};
use crate::model_config::DefaultModelConfig;
use crate::state_dependent_noise::{StateDependentNoise, StateDependentNoiseConfig};
use crate::unused_setting::unused_std_setting;

/// Returns the layers of a head: hidden layers and a linear output.
pub(crate) fn head_layers(
    config: &DefaultModelConfig,
    input_dim: usize,
    hiddens: &[usize],
    output_dim: usize,
) -> MlpConfig {
    MlpConfig {
        hidden_layer_activation: config.head_fcnet_activation,
        hidden_layer_use_layernorm: config.head_fcnet_use_layernorm,
        hidden_layer_weights: config.head_fcnet_kernel_initializer,
        hidden_layer_bias: config.head_fcnet_bias_initializer,
        output_layer_weights: config.head_fcnet_kernel_initializer,
        output_layer_bias: config.head_fcnet_bias_initializer,
        ..MlpConfig::new(input_dim, hiddens, Some(output_dim))
    }
}

/// Settings of a [`PolicyHead`]; RLlib's `MLPHeadConfig` and `FreeLogStdMLPHeadConfig`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PolicyHeadConfig {
    /// Layers. Their outputs are the inputs of the action distribution; with `free_log_std` they
    /// are the means only.
    pub mlp: MlpConfig,
    /// Whether the log standard deviations are free parameters, initially 0, instead of outputs of
    /// the layers.
    pub free_log_std: bool,
    /// Bound on the absolute log standard deviations; `None` for none.
    pub log_std_clip: Option<f64>,
}

impl PolicyHeadConfig {
    /// Creates a configuration of layers whose outputs are the inputs of the action distribution.
    #[must_use]
    pub fn from_layers(mlp: MlpConfig) -> Self {
        Self { mlp, free_log_std: false, log_std_clip: None }
    }

    /// Creates the configuration of the default policy head.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`](crate::CatalogError::Inapplicable) if `free_log_std` or `log_std_clip_param` is set and the
    /// distribution is not Gaussian.
    pub fn new(
        config: &DefaultModelConfig,
        input_dim: usize,
        distribution: &dyn Distribution,
    ) -> Result<Self> {
        if let Some(unused) = unused_std_setting(config, distribution)? {
            return Err(unused.into());
        }
        let inputs = distribution.required_input_dim();
        let outputs = if config.free_log_std { inputs / 2 } else { inputs };
        let mut mlp = head_layers(config, input_dim, &config.head_fcnet_hiddens, outputs);
        if let Some(weights) = config.pi_output_kernel_initializer {
            mlp.output_layer_weights = weights;
        }
        let clips = distribution.is_gaussian() && config.log_std_clip_param.is_finite();
        Ok(Self {
            mlp,
            free_log_std: config.free_log_std,
            log_std_clip: clips.then_some(config.log_std_clip_param),
        })
    }

    /// Builds the head, with parameters drawn from the builder's stream.
    ///
    /// # Errors
    /// [`CatalogError::Config`](crate::CatalogError::Config) if the outputs of the layers must be means and log standard
    /// deviations and their number is odd.
    pub fn build(&self, builder: &ModelBuilder) -> Result<PolicyHead> {
        let outputs = self.mlp.output_dim();
        if self.log_std_clip.is_some() && !self.free_log_std && !outputs.is_multiple_of(2) {
            return Err(ConfigError::new(
                "output_layer_dim",
                outputs.to_string(),
                "a mean and a log standard deviation per action need an even number",
            )
            .into());
        }
        let mlp = self.mlp.build(builder);
        let log_std = self.free_log_std.then(|| builder.param(vec![0.0; outputs], [outputs]));
        Ok(PolicyHead { mlp, log_std, log_std_clip: self.log_std_clip, noise: None })
    }
}

/// A policy head: an [`Mlp`], and the log standard deviations of Gaussian policies.
///
/// # Shapes
/// `[B, features]` to `[B, inputs]`. For a Gaussian policy, `inputs = [means, log_stds]`.
#[derive(Module, Debug)]
pub struct PolicyHead {
    mlp: Mlp,
    /// Log standard deviations that do not depend on the observation, `[actions]`.
    log_std: Option<Param<Tensor<1>>>,
    /// Bound on the absolute log standard deviation of Gaussian policies.
    log_std_clip: Option<f64>,
    /// Standard deviations that depend on the state.
    noise: Option<StateDependentNoise>,
}

impl PolicyHead {
    /// Adds noise that depends on the state to a head whose outputs are means alone. The features of the noise are the
    /// inputs of the last layer.
    ///
    /// # Errors
    /// [`CatalogError::Config`](crate::CatalogError::Config) for a number out of range.
    pub fn with_state_dependent_noise(
        mut self,
        config: &StateDependentNoiseConfig,
        builder: &ModelBuilder,
    ) -> Result<Self> {
        config.check_fields()?;
        let dims = self.mlp.layer_dims().last();
        self.noise = dims.map(|dims| StateDependentNoise::new(builder, config, dims));
        Ok(self)
    }

    /// Returns the noise that depends on the state, if the head has any.
    #[must_use]
    pub fn noise(&self) -> Option<&StateDependentNoise> {
        self.noise.as_ref()
    }

    /// Computes means with noise that depends on the state, from standard normal numbers. Without such noise, computes
    /// the inputs of the action distribution.
    ///
    /// # Shapes
    /// `[B, features]` and `[B, features · actions]` to `[B, actions]`.
    #[must_use]
    pub fn explore(&self, features: Tensor<2>, numbers: Tensor<2>) -> Tensor<2> {
        let Some(noise) = &self.noise else { return self.forward(features) };
        let (features, means) = self.mlp.forward_with_features(features);
        noise.explore(features, means, numbers)
    }

    /// Computes the inputs of the action distribution.
    ///
    /// # Shapes
    /// `[B, features]` to `[B, inputs]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.noise {
            None => self.bound(self.mlp.forward(features)),
            Some(noise) => {
                let (features, means) = self.mlp.forward_with_features(features);
                noise.inputs(features, means)
            }
        }
    }

    /// Computes the inputs of the action distribution from observations, if possible in one fused
    /// operation with the encoder ([`Mlp::forward_from`]).
    ///
    /// # Shapes
    /// `[B, …]` to `[B, inputs]`.
    ///
    /// # Errors
    /// The errors of [`Encoder::forward`].
    pub fn forward_from(&self, encoder: &dyn Encoder, observations: &Column) -> Result<Tensor<2>> {
        match &self.noise {
            None => Ok(self.bound(self.mlp.forward_from(encoder, observations)?)),
            Some(_) => Ok(self.forward(encoder.forward(observations)?)),
        }
    }

    /// Returns the head as a pass over slices in host memory, for actions without noise that depends on the state.
    #[must_use]
    pub fn host_pass(&self) -> Option<HostPass> {
        let layers = self.mlp.host_pass().filter(|_| self.noise.is_none())?;
        if self.log_std.is_none() && self.log_std_clip.is_none() {
            return Some(layers);
        }
        let free = self.log_std.as_ref().map(|log_std| to_f32(log_std.val()));
        layers.with_log_stds(free.transpose().ok()?, self.log_std_clip.map(|clip| clip as f32))
    }

    /// Adds the head to an ONNX graph.
    ///
    /// # Shapes
    /// `[B, features]` to `[B, inputs]`.
    ///
    /// # Errors
    /// If a parameter cannot be read from its device.
    pub fn export_onnx(&self, graph: &mut Graph, features: &Value) -> Result<Value> {
        let (features, out) = self.mlp.export_onnx_with_features(graph, features)?;
        if let Some(noise) = &self.noise {
            return noise.export_onnx(graph, &features, &out);
        }
        let (means, log_std) = match &self.log_std {
            Some(log_std) => {
                // A row of the batch for each row of means.
                let zeros = graph.mul_scalar(&out, 0.0);
                let row = graph.floats(&to_f32(log_std.val())?, &log_std.dims());
                (out, graph.add(&zeros, &row))
            }
            None if self.log_std_clip.is_some() => {
                let outputs = self.mlp.output_dim();
                let half = outputs / 2;
                (graph.slice(&out, 0..half), graph.slice(&out, half..outputs))
            }
            None => return Ok(out),
        };
        let log_std = match self.log_std_clip {
            Some(bound) => graph.clip(&log_std, -bound as f32, bound as f32),
            None => log_std,
        };
        Ok(graph.concat(&[means, log_std]))
    }

    /// Appends free log standard deviations, and clips log standard deviations.
    fn bound(&self, out: Tensor<2>) -> Tensor<2> {
        let [rows, outputs] = out.dims();
        let clip = |log_std: Tensor<2>| match self.log_std_clip {
            Some(bound) => log_std.clamp(-bound, bound),
            None => log_std,
        };
        match &self.log_std {
            Some(log_std) => {
                let log_std = log_std.val().unsqueeze::<2>().expand([rows, outputs]);
                Tensor::cat(vec![out, clip(log_std)], 1)
            }
            None if self.log_std_clip.is_some() => {
                let half = outputs / 2;
                let loc = out.clone().slice([0..rows, 0..half]);
                let log_std = out.slice([0..rows, half..outputs]);
                Tensor::cat(vec![loc, clip(log_std)], 1)
            }
            None => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::Discrete;

    use super::*;
    use crate::distribution::{Categorical, DiagGaussian};

    fn head(config: &DefaultModelConfig, distribution: &dyn Distribution) -> Result<PolicyHead> {
        let builder = ModelBuilder::new(&Device::flex(), Generator::from_seed(0));
        PolicyHeadConfig::new(config, 3, distribution)?.build(&builder)
    }

    fn gaussian() -> DiagGaussian {
        DiagGaussian::new(2)
    }

    fn four() -> Categorical {
        Categorical::new(&Discrete::new(4).unwrap())
    }

    #[test]
    fn a_free_log_std_is_the_same_for_every_observation_and_trained_alone() {
        let config = DefaultModelConfig::default().free_log_std(true);
        let head = head(&config, &gaussian()).unwrap();
        assert_eq!(head.num_params(), 3 * 2 + 2 + 2);
        let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [-4.0, 0.0, 9.0]], &Device::flex());
        let out = to_f32(head.forward(x)).unwrap();
        assert_eq!((&out[2..4], &out[6..8]), (&[0.0, 0.0][..], &[0.0, 0.0][..]));
        assert_ne!(out[0], out[4]);
    }

    #[test]
    fn log_stds_are_clipped_and_means_are_not() {
        let config = DefaultModelConfig::default().log_std_clip_param(0.5);
        let x = Tensor::<2>::from_floats([[100.0, -100.0, 100.0]], &Device::flex());
        let out = to_f32(head(&config, &gaussian()).unwrap().forward(x.clone())).unwrap();
        assert!(out[2].abs() <= 0.5 && out[3].abs() <= 0.5 && out[0].abs() > 0.5, "{out:?}");
        let unbounded = config.log_std_clip_param(f64::INFINITY);
        let out = to_f32(head(&unbounded, &gaussian()).unwrap().forward(x)).unwrap();
        assert!(out[2].abs() > 0.5, "{out:?}");
    }

    #[test]
    fn settings_of_standard_deviations_are_refused_where_there_are_none() {
        for (field, config) in [
            ("free_log_std", DefaultModelConfig::default().free_log_std(true)),
            ("log_std_clip_param", DefaultModelConfig::default().log_std_clip_param(0.5)),
        ] {
            let message = head(&config, &four()).unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}` does not apply")), "{message}");
        }
    }

    #[test]
    fn an_odd_number_of_outputs_is_no_mean_and_log_standard_deviation_each() {
        let builder = ModelBuilder::new(&Device::flex(), Generator::from_seed(0));
        let mut config = PolicyHeadConfig::from_layers(MlpConfig::new(3, &[], Some(3)));
        assert!(config.build(&builder).is_ok());
        config.log_std_clip = Some(1.0);
        assert!(config.build(&builder).unwrap_err().to_string().contains("even number"));
    }
}
