//! The catalog: replaceable decisions that map spaces to models.

use std::fmt::Debug;
use std::sync::Arc;

use rekindle_env::{BoxDType, Space};

use crate::builder::ModelBuilder;
use crate::critics::{self, Critics, CriticsConfig};
use crate::distribution::{
    Bernoulli, Categorical, DiagGaussian, Distribution, MultiCategorical, MultiDistribution,
};
use crate::encoder::{self, ActorCriticEncoder, BoxEncoder};
use crate::error::{CatalogError, Result};
use crate::head::{PolicyHead, PolicyHeadConfig, head_layers};
use crate::mlp::Mlp;
use crate::model_config::DefaultModelConfig;
use crate::unused_setting::{UnusedSetting, unused_settings};

/// Largest number of choices that a default head has outputs for.
const MAX_CHOICES: usize = 1 << 20;

/// Settings of a model, and the builder of its parameters.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CatalogContext<'a> {
    /// Builder of the parameters: the device, and the stream of their initial values.
    pub builder: &'a ModelBuilder,
    /// Settings of the model.
    pub config: &'a DefaultModelConfig,
}

impl<'a> CatalogContext<'a> {
    /// Creates a context.
    #[must_use]
    pub fn new(builder: &'a ModelBuilder, config: &'a DefaultModelConfig) -> Self {
        Self { builder, config }
    }
}

/// A map from spaces to networks and action distributions.
///
/// Every method has a default. Override one decision and keep the others.
///
/// ```
/// use std::sync::Arc;
/// use rekindle_catalog::{Catalog, CatalogContext, BoxEncoder, MlpConfig, MlpEncoderConfig, Result};
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
///                 let config = MlpEncoderConfig::new(MlpConfig::new(2, &[8], None));
///                 Ok(BoxEncoder::new(config.build(cx.builder)))
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
    /// Builds the encoder of an observation space, or of a part of a Dict or Tuple.
    ///
    /// # Errors
    /// The errors of [`Catalog::default_encoder`].
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        self.default_encoder(cx, space)
    }

    /// Builds the recurrent encoder of an observation space. Modules call it instead of
    /// [`Catalog::build_encoder`] when `use_lstm` is set.
    ///
    /// # Errors
    /// The errors of [`Catalog::default_recurrent_encoder`].
    fn build_recurrent_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        self.default_recurrent_encoder(cx, space)
    }

    /// Builds the encoders of an actor-critic, and decides whether the two share one.
    ///
    /// By default, `vf_share_layers` decides. Each encoder comes from
    /// [`Catalog::build_recurrent_encoder`] if `use_lstm` is set, otherwise from
    /// [`Catalog::build_encoder`]. The critic's own encoder has the settings of
    /// [`DefaultModelConfig::of_value_function`].
    ///
    /// # Errors
    /// The errors of these two methods.
    fn build_actor_critic_encoder<'a>(
        &'a self,
        cx: CatalogContext<'a>,
        space: &'a Space,
    ) -> Result<ActorCriticEncoder<'a>> {
        let build = move |config: &DefaultModelConfig| {
            let cx = CatalogContext { config, ..cx };
            match config.use_lstm {
                true => self.build_recurrent_encoder(cx, space),
                false => self.build_encoder(cx, space),
            }
        };
        let actor = build(cx.config)?;
        Ok(match cx.config.vf_share_layers {
            true => ActorCriticEncoder::shared(actor),
            false => {
                ActorCriticEncoder::separate(actor, move || build(&cx.config.of_value_function()))
            }
        })
    }

    /// Returns the distribution over the actions of a space.
    ///
    /// # Errors
    /// [`CatalogError::NoDistribution`] if there is no default.
    fn action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        self.default_action_distribution(space)
    }

    /// Builds the head that maps features to the inputs of the action distribution.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] if a setting has no effect with the distribution.
    fn build_pi_head(
        &self,
        cx: CatalogContext<'_>,
        features: usize,
        distribution: &dyn Distribution,
    ) -> Result<PolicyHead> {
        PolicyHeadConfig::new(cx.config, features, distribution)?.build(cx.builder)
    }

    /// Builds the head that maps features to one value.
    ///
    /// # Errors
    /// None by default.
    fn build_vf_head(&self, cx: CatalogContext<'_>, features: usize) -> Result<Mlp> {
        self.build_q_head(cx, features, 1)
    }

    /// Builds a head that maps features to the values or advantages of actions, or to the value that a dueling
    /// network adds to them. It has the settings of the value head.
    ///
    /// # Errors
    /// None by default.
    fn build_q_head(&self, cx: CatalogContext<'_>, features: usize, outputs: usize) -> Result<Mlp> {
        let config = cx.config;
        let hiddens = config.vf_head_fcnet_hiddens.as_ref().unwrap_or(&config.head_fcnet_hiddens);
        Ok(head_layers(config, features, hiddens, outputs).build(cx.builder))
    }

    /// Builds critics of the actions of SAC, TD3 and their relatives.
    ///
    /// # Errors
    /// The errors of [`Catalog::default_critics`].
    fn build_critics(
        &self,
        cx: CatalogContext<'_>,
        space: &Space,
        critics: CriticsConfig,
    ) -> Result<Critics> {
        self.default_critics(cx, space, critics)
    }

    /// Returns the settings that differ from their defaults and have no effect on a model for
    /// these spaces. Modules reject them.
    ///
    /// The default describes the default encoders and heads: a vector does not use `conv_filters`.
    /// Override it in a catalog whose own encoders use other settings.
    ///
    /// # Errors
    /// The errors of [`Catalog::action_distribution`].
    fn unused_settings(
        &self,
        config: &DefaultModelConfig,
        observations: &Space,
        actions: &Space,
    ) -> Result<Vec<UnusedSetting>> {
        unused_settings(config, observations, &*self.action_distribution(actions)?)
    }

    /// Returns the name of the type in checkpoints, by default its path. The path begins with the name
    /// of the program or crate, so override the name if another program loads the checkpoints, and to
    /// keep checkpoints when the type is renamed.
    ///
    /// ```
    /// use rekindle_catalog::Catalog;
    ///
    /// #[derive(Debug)]
    /// struct NarrowCatalog;
    ///
    /// impl Catalog for NarrowCatalog {
    ///     fn type_name() -> String {
    ///         "my_project.NarrowCatalog".into()
    ///     }
    /// }
    /// ```
    #[must_use]
    fn type_name() -> String
    where
        Self: Sized,
    {
        std::any::type_name::<Self>().into()
    }

    /// Builds the default encoder of a space. Call it in [`Catalog::build_encoder`] for the spaces
    /// that you do not change.
    ///
    /// | space | encoder |
    /// |---|---|
    /// | Box of 3 dimensions, or of 2 that are at least 32 | [`CnnEncoder`](crate::CnnEncoder) on `[height, width, channels]` |
    /// | any other Box, flattened | [`MlpEncoder`](crate::MlpEncoder) |
    /// | MultiBinary | [`MlpEncoder`](crate::MlpEncoder) |
    /// | Discrete, MultiDiscrete | [`DiscreteEncoder`](crate::DiscreteEncoder): one-hot vectors or embeddings |
    /// | Dict, Tuple | [`MultiStreamEncoder`](crate::MultiStreamEncoder) over [`Catalog::build_encoder`] of every part |
    ///
    /// The elements of a `uint8` Box are mapped from its bounds to `[0, 1]` by
    /// `(x − low)/(high − low)`, because raw bytes saturate the first layer. (RLlib leaves that to
    /// its users.) A `float32` Box is read as it is.
    ///
    /// # Errors
    /// [`CatalogError::NoEncoder`] for a Box of `int32` or `int64`, for a Box with more dimensions than
    /// tensors support, and for choices among more than 2²⁰; [`CatalogError::ChannelsFirst`] for a Box
    /// of the shape `[channels, height, width]` (1, 3 or 4 channels, at least 32 × 32 pixels);
    /// [`CatalogError::Config`] if a filter exceeds the image.
    fn default_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        encoder::default_encoder(self, cx, space)
    }

    /// Builds the default recurrent encoder: an LSTM or GRU on top of the encoder of
    /// [`Catalog::build_encoder`].
    ///
    /// With `lstm_use_prev_action` or `lstm_use_prev_reward`, the space must be the output space of
    /// the connector `PrevActionsPrevRewards`. The previous actions and rewards go directly to the
    /// recurrent layer.
    ///
    /// # Errors
    /// [`CatalogError::Inapplicable`] if the space lacks the previous actions or rewards that the
    /// settings require; the errors of [`Catalog::build_encoder`].
    fn default_recurrent_encoder(
        &self,
        cx: CatalogContext<'_>,
        space: &Space,
    ) -> Result<BoxEncoder> {
        encoder::default_recurrent_encoder(self, cx, space)
    }

    /// Builds the default critics. They have the settings of [`DefaultModelConfig::of_value_function`].
    ///
    /// The layers of the encoder of [`Catalog::build_encoder`], if it is an [`MlpEncoder`](crate::MlpEncoder),
    /// read observations and actions together, in each critic. An encoder of another type is common to all
    /// critics, and the actions join its features. The heads are those of [`Catalog::build_q_head`]. Where
    /// actions join the features of an encoder and `head_fcnet_hiddens` is empty, a hidden layer of 256 units
    /// reads both.
    ///
    /// # Errors
    /// [`CatalogError::Ensemble`] if the encoder is recurrent, or the heads of the critics differ; the errors of
    /// [`Catalog::build_encoder`] and [`Catalog::build_q_head`].
    fn default_critics(
        &self,
        cx: CatalogContext<'_>,
        space: &Space,
        critics: CriticsConfig,
    ) -> Result<Critics> {
        critics::default_critics(self, cx, space, critics)
    }

    /// Returns the default distribution of a space. Call it in [`Catalog::action_distribution`] for
    /// the spaces that you do not change.
    ///
    /// | space | distribution |
    /// |---|---|
    /// | `Discrete` | [`Categorical`] |
    /// | `Box` of floats, any shape | [`DiagGaussian`] |
    /// | `MultiDiscrete` | [`MultiCategorical`] |
    /// | `MultiBinary` | [`Bernoulli`] |
    /// | `Dict`, `Tuple` | [`MultiDistribution`] over [`Catalog::action_distribution`] of every part |
    ///
    /// # Errors
    /// [`CatalogError::NoDistribution`] for a `Box` of bytes, or more than 2²⁰ choices in all.
    fn default_action_distribution(&self, space: &Space) -> Result<Arc<dyn Distribution>> {
        let choices = match space {
            Space::Discrete(discrete) => discrete.n(),
            Space::MultiDiscrete(discrete) => {
                discrete.nvec().iter().fold(0, |sum: usize, n| sum.saturating_add(*n))
            }
            _ => 0,
        };
        if choices > MAX_CHOICES {
            return Err(CatalogError::NoDistribution {
                space: space.to_string(),
                reason: "a head would have an output for each of more than 2²⁰ choices; divide them \
                         into smaller choices of a MultiDiscrete space",
            });
        }
        Ok(match space {
            Space::Discrete(discrete) => Arc::new(Categorical::new(discrete)),
            Space::MultiDiscrete(discrete) => Arc::new(MultiCategorical::new(discrete)),
            Space::MultiBinary(bits) => Arc::new(Bernoulli::new(bits)),
            Space::Box(b) => match b.dtype() {
                BoxDType::Float32 => Arc::new(DiagGaussian::new(b.size())),
                _ => {
                    return Err(CatalogError::NoDistribution {
                        space: space.to_string(),
                        reason: "bytes and integers are whole numbers, over which a Gaussian has no \
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

/// The catalog that keeps every default decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultCatalog;

impl Catalog for DefaultCatalog {
    /// Fixed, because checkpoints have it.
    fn type_name() -> String {
        "rekindle_catalog::catalog::DefaultCatalog".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_without_a_default_are_named_with_what_to_override() {
        let bytes = Space::tuple(vec![Space::image(&[2]).unwrap()]).unwrap();
        let message = DefaultCatalog.action_distribution(&bytes).unwrap_err().to_string();
        assert!(message.contains("Catalog::action_distribution"), "{message}");
        assert!(message.contains("bytes and integers are whole numbers, over which"), "{message}");
    }

    #[test]
    fn distributions_have_rllibs_input_dims() {
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

    /// Replaces every two-way choice, at any depth, by a Bernoulli distribution.
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
