//! Networks and action distributions for observation and action spaces.
//!
//! A [`Catalog`] decides which encoder reads an observation space and which [`Distribution`] draws
//! from an action space. [`DefaultCatalog`] decides by a [`DefaultModelConfig`]. A custom catalog
//! overrides one method and keeps the others.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod activation;
mod batch_renorm;
mod builder;
mod catalog;
mod conv;
mod critics;
pub mod distribution;
mod dueling;
mod encoder;
mod ensemble;
mod error;
mod head;
mod initializer;
mod mlp;
mod model_config;
mod noisy;
mod precision;
mod recurrent;
mod state_dependent_noise;
mod unused_setting;

pub use activation::Activation;
pub use batch_renorm::{EnsembleBatchRenorm, RunningStatistics};
pub use builder::ModelBuilder;
pub use catalog::{Catalog, CatalogContext, DefaultCatalog};
pub use conv::{Cnn, CnnConfig, CnnTransposeHead, CnnTransposeHeadConfig, ConvFilter, ConvPadding};
pub use critics::{Critics, CriticsConfig};
pub use distribution::{
    Bernoulli, Categorical, Deterministic, DiagGaussian, Distribution, MultiCategorical,
    MultiDistribution, SquashedGaussian, export_mask_logits, mask_logits,
};
pub use dueling::{dueling, dueling_logits};
pub use encoder::{
    ActorCriticEncoder, BoxEncoder, CnnEncoder, CnnEncoderConfig, DiscreteEncoder,
    DiscreteEncoderConfig, Encoder, EncoderFamily, InputScale, MlpEncoder, MlpEncoderConfig,
    MultiStreamEncoder, MultiStreamEncoderConfig, RecurrentEncoder, RecurrentEncoderConfig,
    Streams, check_encoder,
};
pub use ensemble::{EnsembleLinear, EnsembleMlp, EnsembleNorm};
pub use error::{CatalogError, Result};
pub use head::{PolicyHead, PolicyHeadConfig};
pub use initializer::Initializer;
pub use mlp::{Mlp, MlpConfig};
pub use model_config::DefaultModelConfig;
pub use noisy::NoisyLayers;
pub use precision::ComputeDType;
pub use recurrent::{Recurrent, RecurrentConfig, RecurrentLayerType};
pub use state_dependent_noise::{StateDependentNoise, StateDependentNoiseConfig};
pub use unused_setting::UnusedSetting;
