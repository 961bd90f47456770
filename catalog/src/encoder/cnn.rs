//! The encoder of images.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Column, CoreError};

use super::{Encoder, MAX_BYTE, flat_rows};
use crate::{Cnn, CnnConfig, Mlp, MlpConfig, ModelBuilder, Result};

/// A convolutional network over images `[height, width, channels]`; RLlib's `CNNEncoder`.
///
/// Images of one channel may come without their last dimension. Fully connected layers may follow
/// the convolutions.
#[derive(Module, Debug)]
pub struct CnnEncoder {
    cnn: Cnn,
    mlp: Option<Mlp>,
    #[module(skip)]
    input_dims: [usize; 3],
    output_dim: usize,
    bytes: bool,
}

impl CnnEncoder {
    /// Builds the layers.
    ///
    /// # Errors
    /// As [`CnnConfig::output_dims`].
    pub fn new(config: &CnnConfig, builder: &ModelBuilder) -> Result<Self> {
        Ok(Self {
            cnn: builder.cnn(config)?,
            mlp: None,
            input_dims: config.input_dims,
            output_dim: config.output_dims()?.iter().product(),
            bytes: false,
        })
    }

    /// Adds fully connected layers after the convolutions. Their `input_dim` is set to the number
    /// of features so far.
    #[must_use]
    pub fn with_mlp(self, config: MlpConfig, builder: &ModelBuilder) -> Self {
        let config = MlpConfig { input_dim: self.output_dim, ..config };
        Self { mlp: Some(builder.mlp(&config)), output_dim: config.output_dim(), ..self }
    }

    /// Reads bytes: divides what it reads by 255.
    #[must_use]
    pub fn of_bytes(self) -> Self {
        Self { bytes: true, ..self }
    }
}

impl Encoder for CnnEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let [height, width, channels] = self.input_dims;
        let tensor = observations.tensor()?;
        let rows = tensor.rows();
        let grey = channels == 1 && tensor.shape() == [rows, height, width];
        if tensor.shape() != [rows, height, width, channels] && !grey {
            let expected = format!("a float tensor of shape [_, {height}, {width}, {channels}]");
            return Err(CoreError::TensorKind { expected, found: tensor.describe() }.into());
        }
        let images = flat_rows(observations, height * width * channels)?
            .reshape([rows, height, width, channels]);
        let features = self.cnn.forward(if self.bytes { images / MAX_BYTE } else { images });
        Ok(match &self.mlp {
            Some(mlp) => mlp.forward(features),
            None => features,
        })
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }
}
