//! The encoder of images.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Column, CoreError};
use rekindle_kernels::HostPass;
use rekindle_onnx::{Graph, Value, Values};

use super::{Encoder, InputScale, flat_rows};
use crate::builder::ModelBuilder;
use crate::conv::{Cnn, CnnConfig};
use crate::error::Result;
use crate::mlp::{Mlp, MlpConfig};

/// Settings of a [`CnnEncoder`]; RLlib's `CNNEncoderConfig`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CnnEncoderConfig {
    /// Convolutions. `input_dims` is the shape of an observation.
    pub cnn: CnnConfig,
    /// Fully connected layers after the convolutions. The encoder sets `input_dim`.
    pub mlp: Option<MlpConfig>,
    /// Map of the pixels before the first layer.
    pub scale: InputScale,
}

impl CnnEncoderConfig {
    /// Creates a configuration of convolutions that read pixels as they are.
    #[must_use]
    pub fn new(cnn: CnnConfig) -> Self {
        Self { cnn, mlp: None, scale: InputScale::Identity }
    }

    /// Adds fully connected layers after the convolutions.
    #[must_use]
    pub fn with_mlp(mut self, mlp: MlpConfig) -> Self {
        self.mlp = Some(mlp);
        self
    }

    /// Sets the map of the pixels before the first layer.
    #[must_use]
    pub fn with_scale(mut self, scale: InputScale) -> Self {
        self.scale = scale;
        self
    }

    /// Builds the encoder.
    ///
    /// # Errors
    /// The errors of [`CnnConfig::build`].
    pub fn build(&self, builder: &ModelBuilder) -> Result<CnnEncoder> {
        let cnn = self.cnn.build(builder)?;
        let input_dim = self.cnn.output_dims()?.iter().product();
        let mlp = self.mlp.as_ref().map(|mlp| MlpConfig { input_dim, ..mlp.clone() });
        Ok(CnnEncoder {
            cnn,
            mlp: mlp.as_ref().map(|mlp| mlp.build(builder)),
            input_dims: self.cnn.input_dims,
            output_dim: mlp.as_ref().map_or(input_dim, MlpConfig::output_dim),
            scale: self.scale.clone(),
        })
    }
}

/// A convolutional network over images `[height, width, channels]`; RLlib's `CNNEncoder`.
///
/// Images of one channel may lack their last dimension. Fully connected layers may follow the
/// convolutions.
///
/// # Shapes
/// `[B, height, width, channels]` to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct CnnEncoder {
    cnn: Cnn,
    mlp: Option<Mlp>,
    #[module(skip)]
    input_dims: [usize; 3],
    output_dim: usize,
    #[module(skip)]
    scale: InputScale,
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
        let fused = self
            .scale
            .fused()
            .and_then(|scale| self.cnn.forward_fused(tensor, self.input_dims, scale));
        let features = match fused {
            Some(features) => features,
            None => {
                let pixels = flat_rows(observations, height * width * channels)?;
                let images = self.scale.apply(pixels).reshape([rows, height, width, channels]);
                self.cnn.forward(images)
            }
        };
        Ok(match &self.mlp {
            Some(mlp) => mlp.forward(features),
            None => features,
        })
    }

    fn host_pass(&self) -> Option<HostPass> {
        let convolutions = self.cnn.host_pass(self.input_dims, self.scale.fused()?)?;
        match &self.mlp {
            Some(mlp) => convolutions.then(mlp.host_pass()?),
            None => Some(convolutions),
        }
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<Value> {
        let pixels = graph.rows(observations.one()?, self.input_dims.iter().product());
        let pixels = self.scale.export_onnx(graph, &pixels);
        let features = self.cnn.export_onnx(graph, &pixels, self.input_dims)?;
        match &self.mlp {
            Some(mlp) => mlp.export_onnx(graph, &features),
            None => Ok(features),
        }
    }
}
