//! The catalog: a decision tree from spaces to models that can be edited branch by branch.

use std::fmt::Debug;
use std::sync::Arc;

use rekindle_env::{BoxDType, Space};

use crate::{
    Bernoulli, BoxEncoder, CatalogError, Categorical, DefaultModelConfig, DiagGaussian,
    Distribution, Mlp, MlpConfig, ModelBuilder, MultiCategorical, MultiDistribution, PolicyHead,
    Result, encoder,
};

/// What a catalog builds with.
#[derive(Debug, Clone, Copy)]
pub struct CatalogContext<'a> {
    /// Creates parameters on the right device from the right stream.
    pub builder: &'a ModelBuilder,
    /// The model's settings.
    pub config: &'a DefaultModelConfig,
}

/// Decides which models read a space and which distribution draws from it.
///
/// Every method has a default: override one decision and keep the others.
///
/// ```
/// use std::sync::Arc;
/// use rekindle_catalog::{Catalog, CatalogContext, BoxEncoder, MlpConfig, MlpEncoder, Result};
/// use rekindle_env::Space;
///
/// /// Narrow encoders for short observations, the default ones otherwise.
/// #[derive(Debug)]
/// struct NarrowCatalog;
///
/// impl Catalog for NarrowCatalog {
///     fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
///         match space {
///             Space::Box(b) if b.shape() == [2] => {
///                 let config = MlpConfig::new(2, &[8], None);
///                 Ok(BoxEncoder::new(MlpEncoder::new(&config, cx.builder)))
///             }
///             _ => self.default_encoder(cx, space),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a catalog",
    label = "this type does not implement `Catalog`",
    note = "implement `Catalog` for `{Self}`: every method has a default, override those to change"
)]
pub trait Catalog: Debug + Send + Sync {
    /// The encoder of an observation space, and of every part of a Dict or Tuple in it.
    ///
    /// # Errors
    /// As [`Catalog::default_encoder`].
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        self.default_encoder(cx, space)
    }

    /// The encoder with memory of an observation space, which modules take in place of
    /// [`Catalog::build_encoder`] when `use_lstm` is set.
    ///
    /// # Errors
    /// As [`Catalog::default_recurrent_encoder`].
    fn build_recurrent_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        self.default_recurrent_encoder(cx, space)
    }

    /// The distribution over the actions of a space.
    ///
    /// # Errors
    /// [`CatalogError::NoDistribution`] where there is no default.
    fn action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        self.default_action_distribution(space)
    }

    /// The head from features to the inputs of the action distribution.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] if a setting means nothing for the distribution.
    fn build_pi_head(
        &self,
        cx: CatalogContext<'_>,
        features: usize,
        distribution: &dyn Distribution,
    ) -> Result<PolicyHead> {
        let (outputs, gaussian) = (distribution.required_input_dim(), distribution.is_gaussian());
        PolicyHead::new(cx.config, features, outputs, gaussian, cx.builder)
    }

    /// The head from features to one value.
    ///
    /// # Errors
    /// None by default.
    fn build_vf_head(&self, cx: CatalogContext<'_>, features: usize) -> Result<Mlp> {
        let config = cx.config;
        let hiddens = config.vf_head_fcnet_hiddens.as_ref().unwrap_or(&config.head_fcnet_hiddens);
        Ok(cx.builder.mlp(&MlpConfig {
            hidden_layer_activation: config.head_fcnet_activation,
            hidden_layer_use_layernorm: config.head_fcnet_use_layernorm,
            hidden_layer_weights: config.head_fcnet_kernel_initializer,
            hidden_layer_bias: config.head_fcnet_bias_initializer,
            output_layer_weights: config.head_fcnet_kernel_initializer,
            output_layer_bias: config.head_fcnet_bias_initializer,
            ..MlpConfig::new(features, hiddens, Some(1))
        }))
    }

    /// Checks that every setting which was changed has an effect on the encoders of a space.
    ///
    /// The default knows the default encoders: a vector has no use for `conv_filters`. Override it
    /// in a catalog whose own encoders read settings that the default ones would not.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] naming the first setting that has none.
    fn check_model_config(&self, config: &DefaultModelConfig, space: &Space) -> Result<()> {
        encoder::check_applies(config, space)
    }

    /// The default branch of [`Catalog::build_encoder`]; call it for the spaces you do not change.
    ///
    /// | space | encoder |
    /// |---|---|
    /// | Box of 3 dimensions, or of 2 that are at least 32 | [`CnnEncoder`](crate::CnnEncoder) on `[height, width, channels]` |
    /// | any other Box, flattened | [`MlpEncoder`](crate::MlpEncoder) |
    /// | MultiBinary | [`MlpEncoder`](crate::MlpEncoder) |
    /// | Discrete, MultiDiscrete | [`DiscreteEncoder`](crate::DiscreteEncoder): one-hot vectors or embeddings |
    /// | Dict, Tuple | [`MultiStreamEncoder`](crate::MultiStreamEncoder) over [`Catalog::build_encoder`] of every part |
    ///
    /// A `uint8` Box is divided by 255 (RLlib leaves that to its users): raw bytes saturate the
    /// first layer. A `float32` Box is read as it is.
    ///
    /// # Errors
    /// [`CatalogError::NoEncoder`] for a Box of more dimensions than tensors have here and for
    /// choices among more than 2²⁰; [`CatalogError::InvalidConfig`] if the filters do not fit.
    fn default_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        encoder::default_encoder(self, cx, space)
    }

    /// The default branch of [`Catalog::build_recurrent_encoder`]: an LSTM or GRU on top of what
    /// [`Catalog::build_encoder`] says of the space.
    ///
    /// With `lstm_use_prev_action` or `lstm_use_prev_reward` the space is that of the connector
    /// `PrevActionsPrevRewards`, whose additions go to the recurrent layer directly.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] if the space lacks previous actions or rewards that the
    /// settings ask for; otherwise as [`Catalog::build_encoder`].
    fn default_recurrent_encoder(
        &self,
        cx: CatalogContext<'_>,
        space: &Space,
    ) -> Result<BoxEncoder> {
        encoder::default_recurrent_encoder(self, cx, space)
    }

    /// The default branch of [`Catalog::action_distribution`].
    ///
    /// | space | distribution |
    /// |---|---|
    /// | `Discrete` | [`Categorical`] |
    /// | `Box` of floats, any shape | [`DiagGaussian`] |
    /// | `MultiDiscrete` | [`MultiCategorical`] |
    /// | `MultiBinary` | [`Bernoulli`] |
    /// | `Dict`, `Tuple` | [`MultiDistribution`] of what [`Catalog::action_distribution`] says of the parts |
    ///
    /// # Errors
    /// [`CatalogError::NoDistribution`] where there is no default: a `Box` of bytes.
    fn default_action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        Ok(match space {
            Space::Discrete(discrete) => Arc::new(Categorical::new(discrete)),
            Space::MultiDiscrete(discrete) => Arc::new(MultiCategorical::new(discrete)),
            Space::MultiBinary(bits) => Arc::new(Bernoulli::new(bits)),
            Space::Box(b) => match b.dtype() {
                BoxDType::Float32 => Arc::new(DiagGaussian::new(b.size())),
                BoxDType::Uint8 => {
                    return Err(CatalogError::NoDistribution {
                        space: space.to_string(),
                        reason: "bytes are whole numbers, over which a Gaussian has no \
                                 probabilities; use a float32 Box, or MultiDiscrete",
                    });
                }
            },
            Space::Dict(dict) => {
                let part = |(key, part): (&str, &Space)| {
                    Ok((key.to_string(), self.action_distribution(part)?))
                };
                Arc::new(MultiDistribution::dict(dict.iter().map(part).collect::<Result<_>>()?))
            }
            Space::Tuple(tuple) => {
                let parts = tuple.spaces().iter().map(|part| self.action_distribution(part));
                Arc::new(MultiDistribution::tuple(parts.collect::<Result<Vec<_>>>()?))
            }
        })
    }
}

/// The catalog that keeps every default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultCatalog;

impl Catalog for DefaultCatalog {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_without_a_default_are_named_with_what_to_override() {
        let bytes = Space::tuple(vec![Space::image(&[2]).unwrap()]).unwrap();
        let message = DefaultCatalog.action_distribution(&bytes).unwrap_err().to_string();
        assert!(message.contains("Catalog::action_distribution"), "{message}");
        assert!(message.contains("bytes are whole numbers, over which"), "{message}");
    }

    #[test]
    fn a28_required_input_dims() {
        let discrete = Space::discrete(5).unwrap();
        let arm = Space::unbounded(&[2, 3]).unwrap();
        let levers = Space::multi_discrete([2, 3, 4]).unwrap();
        let lights = Space::multi_binary(6).unwrap();
        let tuple = Space::tuple([arm.clone(), lights.clone()]).unwrap();
        let dict = Space::dict([("b", tuple.clone()), ("a", levers.clone())]).unwrap();
        let dims = [discrete, Space::unbounded(&[]).unwrap(), arm, levers, lights, tuple, dict]
            .map(|s| DefaultCatalog.action_distribution(&s).unwrap().required_input_dim());
        assert_eq!(dims, [5, 2, 12, 9, 6, 18, 27]);
        assert_eq!(crate::Deterministic::new(7).required_input_dim(), 7);
        let squashed = crate::SquashedGaussian::new([0.0; 7], [1.0; 7]).unwrap();
        assert_eq!(squashed.required_input_dim(), 14);
    }

    /// Coins in place of every two-way choice, wherever it is.
    #[derive(Debug)]
    struct Coins;

    impl Catalog for Coins {
        fn action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
            match space {
                Space::Discrete(d) if d.n() == 2 => Ok(Arc::new(crate::Deterministic::new(1))),
                _ => self.default_action_distribution(space),
            }
        }
    }

    #[test]
    fn an_overridden_distribution_is_used_for_parts_too() {
        let two = || Space::discrete(2).unwrap();
        let space = Space::tuple([two(), Space::dict([("x", two())]).unwrap()]).unwrap();
        assert_eq!(Coins.action_distribution(&space).unwrap().required_input_dim(), 2);
        assert_eq!(DefaultCatalog.action_distribution(&space).unwrap().required_input_dim(), 4);
    }
}
