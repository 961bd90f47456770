//! The encoder of vectors.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::Column;
use rekindle_kernels::DenseLayer;

use super::{Encoder, MAX_BYTE, flat_rows};
use crate::{Mlp, MlpConfig, ModelBuilder, Result};

/// A perceptron over observations of numbers, flattened if they have several dimensions or none.
#[derive(Module, Debug)]
pub struct MlpEncoder {
    mlp: Mlp,
    input_dim: usize,
    output_dim: usize,
    bytes: bool,
}

impl MlpEncoder {
    /// Builds the layers.
    pub fn new(config: &MlpConfig, builder: &ModelBuilder) -> Self {
        let (input_dim, output_dim) = (config.input_dim, config.output_dim());
        Self { mlp: builder.mlp(config), input_dim, output_dim, bytes: false }
    }

    /// Reads bytes: divides what it reads by 255.
    #[must_use]
    pub fn of_bytes(self) -> Self {
        Self { bytes: true, ..self }
    }
}

impl MlpEncoder {
    fn rows(&self, observations: &Column) -> Result<Tensor<2>> {
        let x = flat_rows(observations, self.input_dim)?;
        Ok(if self.bytes { x / MAX_BYTE } else { x })
    }
}

impl Encoder for MlpEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        Ok(self.mlp.forward(self.rows(observations)?))
    }

    fn as_dense(&self, observations: &Column) -> Result<Option<(Tensor<2>, Vec<DenseLayer>)>> {
        let Some(layers) = self.mlp.dense_layers() else { return Ok(None) };
        Ok(Some((self.rows(observations)?, layers)))
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }
}
