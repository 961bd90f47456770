//! The head that turns features into the inputs of an action distribution.

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_core::Column;

use crate::{CatalogError, DefaultModelConfig, Encoder, Mlp, MlpConfig, ModelBuilder, Result};

/// A policy head: an [`Mlp`], with the two specialities of Gaussian policies.
///
/// # Shapes
/// `[B, features]` to `[B, inputs]`, for a Gaussian policy `inputs = [means, log_stds]`.
#[derive(Module, Debug)]
pub struct PolicyHead {
    mlp: Mlp,
    /// Log standard deviations that do not depend on the observation, `[actions]`.
    log_std: Option<Param<Tensor<1>>>,
    /// Bound on the absolute log standard deviation, for Gaussian policies.
    log_std_clip: Option<f64>,
}

impl PolicyHead {
    /// Builds a head with `output_dim` outputs; `gaussian` says that they are means and log
    /// standard deviations.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] if `free_log_std` is set and the policy is not Gaussian.
    pub fn new(
        config: &DefaultModelConfig,
        input_dim: usize,
        output_dim: usize,
        gaussian: bool,
        builder: &ModelBuilder,
    ) -> Result<Self> {
        if config.free_log_std && !gaussian {
            return Err(CatalogError::Inapplicable {
                field: "free_log_std".into(),
                reason: "the action distribution has no standard deviation (it is not Gaussian)"
                    .into(),
            });
        }
        let free = config.free_log_std.then_some(output_dim / 2);
        let weights = config.head_fcnet_kernel_initializer;
        let mlp = builder.mlp(&MlpConfig {
            hidden_layer_activation: config.head_fcnet_activation,
            hidden_layer_use_layernorm: config.head_fcnet_use_layernorm,
            hidden_layer_weights: weights,
            hidden_layer_bias: config.head_fcnet_bias_initializer,
            output_layer_weights: config.pi_output_kernel_initializer.unwrap_or(weights),
            output_layer_bias: config.head_fcnet_bias_initializer,
            ..MlpConfig::new(
                input_dim,
                &config.head_fcnet_hiddens,
                Some(free.unwrap_or(output_dim)),
            )
        });
        Ok(Self {
            mlp,
            log_std: free.map(|dim| builder.param(vec![0.0; dim], [dim])),
            log_std_clip: (gaussian && config.log_std_clip_param.is_finite())
                .then_some(config.log_std_clip_param),
        })
    }

    /// The inputs of the action distribution.
    ///
    /// # Shapes
    /// `[B, features]` to `[B, inputs]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.bound(self.mlp.forward(features))
    }

    /// The inputs of the action distribution, from what an encoder makes of observations
    /// ([`Mlp::forward_from`]).
    ///
    /// # Shapes
    /// `[B, …]` to `[B, inputs]`.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn forward_from(&self, encoder: &dyn Encoder, observations: &Column) -> Result<Tensor<2>> {
        Ok(self.bound(self.mlp.forward_from(encoder, observations)?))
    }

    /// Adds free log standard deviations and clips them.
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

    use super::*;

    fn head(config: &DefaultModelConfig, gaussian: bool) -> Result<PolicyHead> {
        let builder = ModelBuilder::new(&Device::flex(), Generator::from_seed(0));
        PolicyHead::new(config, 3, 4, gaussian, &builder)
    }

    #[test]
    fn a_free_log_std_is_the_same_for_every_observation_and_trained_alone() {
        let config = DefaultModelConfig { free_log_std: true, ..Default::default() };
        let head = head(&config, true).unwrap();
        assert_eq!(head.num_params(), 3 * 2 + 2 + 2);
        let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [-4.0, 0.0, 9.0]], &Device::flex());
        let out = to_f32(head.forward(x)).unwrap();
        assert_eq!((&out[2..4], &out[6..8]), (&[0.0, 0.0][..], &[0.0, 0.0][..]));
        assert_ne!(out[0], out[4]);
    }

    #[test]
    fn log_stds_are_clipped_and_means_are_not() {
        let config = DefaultModelConfig { log_std_clip_param: 0.5, ..Default::default() };
        let x = Tensor::<2>::from_floats([[100.0, -100.0, 100.0]], &Device::flex());
        let out = to_f32(head(&config, true).unwrap().forward(x.clone())).unwrap();
        assert!(out[2].abs() <= 0.5 && out[3].abs() <= 0.5 && out[0].abs() > 0.5, "{out:?}");
        let out = to_f32(head(&config, false).unwrap().forward(x)).unwrap();
        assert!(out[2].abs() > 0.5, "{out:?}");
    }

    #[test]
    fn a_free_log_std_is_refused_where_there_is_no_gaussian() {
        let config = DefaultModelConfig { free_log_std: true, ..Default::default() };
        let message = head(&config, false).unwrap_err().to_string();
        assert!(message.contains("`free_log_std` does not apply"), "{message}");
    }
}
