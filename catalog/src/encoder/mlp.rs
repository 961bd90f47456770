//! The encoder of vectors.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::Column;
use rekindle_kernels::{DenseLayer, HostPass};
use rekindle_onnx::{Graph, Value, Values};

use super::{Encoder, InputScale, flat_rows};
use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::mlp::{Mlp, MlpConfig};

/// Settings of an [`MlpEncoder`]; RLlib's `MLPEncoderConfig`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MlpEncoderConfig {
    /// Layers. `input_dim` is the number of elements of an observation.
    pub mlp: MlpConfig,
    /// Map of the observations before the first layer.
    pub scale: InputScale,
}

impl MlpEncoderConfig {
    /// Creates a configuration whose layers read observations as they are.
    #[must_use]
    pub fn new(mlp: MlpConfig) -> Self {
        Self { mlp, scale: InputScale::Identity }
    }

    /// Sets the map of the observations before the first layer.
    #[must_use]
    pub fn with_scale(mut self, scale: InputScale) -> Self {
        self.scale = scale;
        self
    }

    /// Builds the encoder.
    #[must_use]
    pub fn build(&self, builder: &ModelBuilder) -> MlpEncoder {
        MlpEncoder { mlp: self.mlp.build(builder), config: self.clone() }
    }
}

/// An MLP over observations of numbers. Observations with several dimensions, or none, are
/// flattened.
///
/// # Shapes
/// `[B, …]` to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct MlpEncoder {
    mlp: Mlp,
    #[module(skip)]
    config: MlpEncoderConfig,
}

impl MlpEncoder {
    /// Returns the settings it was built from.
    #[must_use]
    pub fn config(&self) -> &MlpEncoderConfig {
        &self.config
    }

    fn rows(&self, observations: &Column) -> Result<Tensor<2>> {
        Ok(self.config.scale.apply(flat_rows(observations, self.config.mlp.input_dim)?))
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

    fn host_pass(&self) -> Option<HostPass> {
        let reads_as_they_are = self.config.scale == InputScale::Identity;
        self.mlp.host_pass().filter(|_| reads_as_they_are)
    }

    fn output_dim(&self) -> usize {
        self.config.mlp.output_dim()
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<Value> {
        let rows = graph.rows(observations.one()?, self.config.mlp.input_dim);
        let rows = self.config.scale.export_onnx(graph, &rows);
        self.mlp.export_onnx(graph, &rows)
    }
}
