//! Encoders: from observations to features.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Column, Erase, Erased, ErasedModule, Family};

use crate::{Mlp, MlpConfig, ModelBuilder, Result};

/// The family of erased encoders.
#[derive(Debug, Clone, Copy)]
pub enum EncoderFamily {}

impl Family for EncoderFamily {
    type Dyn = dyn Encoder;
}

/// A boxed encoder; itself a Burn module.
pub type BoxEncoder = Erased<EncoderFamily>;

/// Reads observations of one space into a feature vector.
///
/// Derive [`Module`] on a struct, implement this, and return it from
/// [`Catalog::build_encoder`](crate::Catalog::build_encoder).
pub trait Encoder: ErasedModule<EncoderFamily> {
    /// Features of each observation.
    ///
    /// # Shapes
    /// `[B, …]` (or nested columns of it) to `[B, output_dim]`.
    ///
    /// # Errors
    /// If the observations are of another kind or shape than the encoder was built for.
    fn forward(&self, observations: &Column) -> Result<Tensor<2>>;

    /// The number of features.
    fn output_dim(&self) -> usize;
}

impl<M: Encoder + Module + Sync + 'static> Erase<M> for EncoderFamily {
    fn erase(module: M) -> Box<dyn Encoder> {
        Box::new(module)
    }
}

/// The encoder of vector observations.
#[derive(Module, Debug)]
pub struct MlpEncoder {
    mlp: Mlp,
    output_dim: usize,
}

impl MlpEncoder {
    /// Builds the layers.
    pub fn new(config: &MlpConfig, builder: &ModelBuilder) -> Self {
        Self { mlp: builder.mlp(config), output_dim: config.output_dim() }
    }
}

impl Encoder for MlpEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        Ok(self.mlp.forward(observations.tensor()?.float::<2>()?))
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }
}
