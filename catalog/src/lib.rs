//! From spaces to models and action distributions.
//!
//! A [`Catalog`] answers two questions: which encoder reads this observation space, and which
//! [`Distribution`] draws from this action space. [`DefaultCatalog`] answers both from a
//! [`DefaultModelConfig`]; a custom catalog overrides one method and keeps the others.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod activation;
mod builder;
mod catalog;
mod conv;
pub mod distribution;
mod dueling;
mod encoder;
mod error;
mod head;
mod initializer;
mod mlp;
mod model_config;
mod precision;
mod recurrent;

pub use activation::Activation;
pub use builder::ModelBuilder;
pub use catalog::{Catalog, CatalogContext, DefaultCatalog};
pub use conv::{Cnn, CnnConfig, CnnTransposeHead, CnnTransposeHeadConfig, ConvFilter, ConvPadding};
pub use distribution::{
    Bernoulli, Categorical, Deterministic, DiagGaussian, Distribution, MultiCategorical,
    MultiDistribution, SquashedGaussian, mask_logits,
};
pub use dueling::{dueling, dueling_logits};
pub use encoder::{
    BoxEncoder, CnnEncoder, DiscreteEncoder, Encoder, EncoderFamily, MlpEncoder,
    MultiStreamEncoder, RecurrentEncoder, Streams, check_encoder,
};
pub use error::{CatalogError, Result};
pub use head::PolicyHead;
pub use initializer::Initializer;
pub use mlp::{Mlp, MlpConfig};
pub use model_config::DefaultModelConfig;
pub use precision::ComputeDType;
pub use recurrent::{Recurrent, RecurrentConfig, RecurrentLayerType};
