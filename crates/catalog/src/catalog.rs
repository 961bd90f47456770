//! The catalog: a decision tree from spaces to models that can be edited branch by branch.

use std::fmt::Debug;
use std::sync::Arc;

use rekindle_env::Space;

use crate::{
    BoxEncoder, CatalogError, Categorical, DefaultModelConfig, DiagGaussian, Distribution, Mlp,
    MlpConfig, ModelBuilder, PolicyHead, Result, encoder,
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
pub trait Catalog: Debug + Send + Sync {
    /// The encoder of an observation space, and of every part of a Dict or Tuple in it.
    ///
    /// # Errors
    /// As [`Catalog::default_encoder`].
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        self.default_encoder(cx, space)
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
        Ok(cx.builder.mlp(&MlpConfig {
            hidden_layer_activation: config.head_fcnet_activation,
            hidden_layer_use_layernorm: config.head_fcnet_use_layernorm,
            hidden_layer_weights: config.head_fcnet_kernel_initializer,
            hidden_layer_bias: config.head_fcnet_bias_initializer,
            output_layer_weights: config.head_fcnet_kernel_initializer,
            output_layer_bias: config.head_fcnet_bias_initializer,
            ..MlpConfig::new(features, &config.head_fcnet_hiddens, Some(1))
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

    /// The default branch of [`Catalog::action_distribution`].
    ///
    /// # Errors
    /// [`CatalogError::NoDistribution`] where there is no default.
    fn default_action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        match space {
            Space::Discrete(discrete) => Ok(Arc::new(Categorical::new(discrete))),
            Space::Box(b) if b.dtype() == rekindle_env::BoxDType::Float32 => {
                Ok(Arc::new(DiagGaussian::new(b.shape().iter().product())))
            }
            _ => Err(CatalogError::NoDistribution { space: space.to_string() }),
        }
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
        let space = Space::tuple(vec![Space::discrete(2).unwrap()]).unwrap();
        let message = DefaultCatalog.action_distribution(&space).unwrap_err().to_string();
        assert!(message.contains("Catalog::action_distribution"), "{message}");
    }
}
