//! Multi-layer perceptrons (MLPs).

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::prelude::*;
use rekindle_core::Column;
use rekindle_core::any_tensor::to_f32;
use rekindle_kernels::{DenseActivation, DenseLayer, HostPass};
use rekindle_onnx::{Graph, Value};

use crate::activation::Activation;
use crate::builder::{LAYER_NORM_EPSILON, ModelBuilder};
use crate::encoder::Encoder;
use crate::ensemble::MlpLayer;
use crate::error::Result;
use crate::initializer::Initializer;

/// Settings of an [`Mlp`]; RLlib's `MLPHeadConfig`.
///
/// ```
/// use burn::prelude::Device;
/// use rekindle_catalog::{MlpConfig, ModelBuilder};
/// use rekindle_core::Generator;
///
/// let builder = ModelBuilder::new(&Device::flex(), Generator::from_seed(0));
/// let value_head = MlpConfig::new(64, &[32], Some(1)).build(&builder);
/// assert_eq!(value_head.forward(burn::prelude::Tensor::zeros([5, 64], &Device::flex())).dims(), [5, 1]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MlpConfig {
    /// Number of input features.
    pub input_dim: usize,
    /// Widths of the hidden layers.
    pub hidden_layer_dims: Vec<usize>,
    /// Activation after each hidden layer.
    pub hidden_layer_activation: Activation,
    /// Whether each hidden layer is normalized before its activation.
    pub hidden_layer_use_layernorm: bool,
    /// Initial weights of the hidden layers.
    pub hidden_layer_weights: Initializer,
    /// Initial biases of the hidden layers.
    pub hidden_layer_bias: Initializer,
    /// Width of the output layer; `None` for a network that ends with its last hidden layer.
    pub output_layer_dim: Option<usize>,
    /// Activation after the output layer.
    pub output_layer_activation: Activation,
    /// Initial weights of the output layer.
    pub output_layer_weights: Initializer,
    /// Initial bias of the output layer.
    pub output_layer_bias: Initializer,
}

impl MlpConfig {
    /// Creates a configuration with `tanh` hidden layers and a linear output, initialized as
    /// PyTorch does.
    #[must_use]
    pub fn new(input_dim: usize, hidden: &[usize], output: Option<usize>) -> Self {
        Self {
            input_dim,
            hidden_layer_dims: hidden.to_vec(),
            hidden_layer_activation: Activation::Tanh,
            hidden_layer_use_layernorm: false,
            hidden_layer_weights: Initializer::TorchDefault,
            hidden_layer_bias: Initializer::TorchDefault,
            output_layer_dim: output,
            output_layer_activation: Activation::Linear,
            output_layer_weights: Initializer::TorchDefault,
            output_layer_bias: Initializer::TorchDefault,
        }
    }

    /// Returns the number of output features.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.output_layer_dim
            .or_else(|| self.hidden_layer_dims.last().copied())
            .unwrap_or(self.input_dim)
    }

    /// Builds the network, with parameters drawn from the builder's stream.
    #[must_use]
    pub fn build(&self, builder: &ModelBuilder) -> Mlp {
        let mut fan_in = self.input_dim;
        let (mut layers, mut norms) = (Vec::new(), Vec::new());
        for &dim in &self.hidden_layer_dims {
            let (weight, bias) = (&self.hidden_layer_weights, &self.hidden_layer_bias);
            layers.push(builder.linear(fan_in, dim, weight, bias));
            if self.hidden_layer_use_layernorm {
                norms.push(builder.layer_norm(dim));
            }
            fan_in = dim;
        }
        if let Some(dim) = self.output_layer_dim {
            let (weight, bias) = (&self.output_layer_weights, &self.output_layer_bias);
            layers.push(builder.linear(fan_in, dim, weight, bias));
        }
        Mlp {
            layers,
            norms,
            hidden_activation: self.hidden_layer_activation,
            output_activation: self.output_layer_activation,
            has_output_layer: self.output_layer_dim.is_some(),
        }
    }
}

/// Linear layers, each followed by an optional normalization and an activation.
///
/// # Shapes
/// `[B, input_dim]` to `[B, output_dim]`.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    norms: Vec<LayerNorm>,
    #[module(skip)]
    hidden_activation: Activation,
    #[module(skip)]
    output_activation: Activation,
    has_output_layer: bool,
}

impl Mlp {
    /// Applies all layers.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, output_dim]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        // Layers of the wrong size go through Burn's own, whose error names both shapes.
        if let Some(layers) = self.dense_layers()
            && rekindle_kernels::fit(x.dims()[1], &layers)
        {
            return rekindle_kernels::mlp(x, &layers);
        }
        self.forward_by(x, |_, layer, x| dense(layer, x))
    }

    /// Applies normalizations and activations, and calls `apply` with the index of each linear layer instead of
    /// that layer.
    pub(crate) fn forward_by(
        &self,
        mut x: Tensor<2>,
        mut apply: impl FnMut(usize, &Linear, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let hidden = self.layers.len() - usize::from(self.has_output_layer);
        for (index, layer) in self.layers.iter().enumerate() {
            x = apply(index, layer, x);
            if index < hidden {
                x = match self.norms.get(index) {
                    Some(norm) => normalized(norm, self.hidden_activation, x),
                    None => self.hidden_activation.forward(x),
                };
            } else {
                x = self.output_activation.forward(x);
            }
        }
        x
    }

    /// Applies all layers, and returns the inputs of the last one beside its outputs.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, features]` and `[B, output_dim]`.
    pub(crate) fn forward_with_features(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (last, mut features) = (self.layers.len().saturating_sub(1), x.clone());
        let outputs = self.forward_by(x, |index, layer, x| {
            if index == last {
                features = x.clone();
            }
            dense(layer, x)
        });
        (features, outputs)
    }

    /// Returns the linear layers.
    #[cfg(test)]
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter()
    }

    /// Returns the inputs and outputs of each linear layer.
    pub(crate) fn layer_dims(&self) -> impl Iterator<Item = [usize; 2]> {
        self.layers.iter().map(|layer| layer.weight.dims())
    }

    /// Applies all layers to the features of an encoder. If the encoder consists of linear layers
    /// too, all of them run as one fused operation.
    ///
    /// # Shapes
    /// `[B, …]` to `[B, output_dim]`.
    ///
    /// # Errors
    /// The errors of [`Encoder::forward`].
    pub fn forward_from(&self, encoder: &dyn Encoder, observations: &Column) -> Result<Tensor<2>> {
        if let Some(head) = self.dense_layers()
            && let Some((x, mut layers)) = encoder.as_dense(observations)?
        {
            layers.extend(head);
            if rekindle_kernels::fit(x.dims()[1], &layers) {
                return Ok(rekindle_kernels::mlp(x, &layers));
            }
        }
        Ok(self.forward(encoder.forward(observations)?))
    }

    /// Returns the number of outputs; 0 for a network without layers, which returns its inputs.
    #[must_use]
    pub fn output_dim(&self) -> usize {
        self.layer_dims().last().map_or(0, |[_, outputs]| outputs)
    }

    /// Adds all layers to an ONNX graph.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, output_dim]`.
    ///
    /// # Errors
    /// If a parameter cannot be read from its device.
    pub fn export_onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        Ok(self.export_onnx_with_features(graph, x)?.1)
    }

    /// Adds all layers to an ONNX graph, and returns the inputs of the last one beside its outputs.
    pub(crate) fn export_onnx_with_features(
        &self,
        graph: &mut Graph,
        x: &Value,
    ) -> Result<(Value, Value)> {
        let hidden = self.layers.len() - usize::from(self.has_output_layer);
        let (mut features, mut x) = (x.clone(), x.clone());
        for (index, layer) in self.layers.iter().enumerate() {
            let bias = layer.bias.as_ref().map(|bias| to_f32(bias.val())).transpose()?;
            let weight = to_f32(layer.weight.val())?;
            features = x;
            x = graph.linear(&features, &weight, layer.weight.dims(), bias.as_deref());
            if let Some(norm) = self.norms.get(index).filter(|_| index < hidden) {
                x = export_norm(graph, &x, norm)?;
            }
            let activation =
                if index < hidden { self.hidden_activation } else { self.output_activation };
            x = activation.export_onnx(graph, &x);
        }
        Ok((features, x))
    }

    /// Returns the linear layers, each with what follows it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = MlpLayer<'_>> {
        let hidden = self.layers.len() - usize::from(self.has_output_layer);
        self.layers.iter().enumerate().map(move |(index, linear)| {
            let is_hidden = index < hidden;
            MlpLayer {
                linear,
                is_normalized: is_hidden && self.norms.get(index).is_some(),
                activation: if is_hidden { self.hidden_activation } else { self.output_activation },
            }
        })
    }

    /// Returns the layers for [`rekindle_kernels::mlp`]; `None` if the kernel lacks one of the
    /// activations or the normalization between them.
    #[must_use]
    pub fn dense_layers(&self) -> Option<Vec<DenseLayer>> {
        self.dense_layers_by(|_, layer, activation| {
            DenseLayer::new(layer.weight.val(), layer.bias.as_ref()?.val(), activation)
        })
    }

    /// Returns the layers as a pass over slices in host memory; `None` where [`dense_layers`](Self::dense_layers) does
    /// or the parameters are on another device.
    #[must_use]
    pub fn host_pass(&self) -> Option<HostPass> {
        HostPass::dense(self.dense_layers()?)
    }

    /// Returns the layers as [`dense_layers`](Self::dense_layers) does. `dense` makes each layer from its index, the
    /// linear layer and the activation.
    pub(crate) fn dense_layers_by(
        &self,
        dense: impl Fn(usize, &Linear, DenseActivation) -> Option<DenseLayer>,
    ) -> Option<Vec<DenseLayer>> {
        if !self.norms.is_empty() {
            return None;
        }
        let hidden = self.layers.len() - usize::from(self.has_output_layer);
        // This runs in every pass. A loop avoids the moves that an iterator of options makes.
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let activation =
                if index < hidden { self.hidden_activation } else { self.output_activation };
            layers.push(dense(index, layer, activation.dense()?)?);
        }
        Some(layers)
    }
}

/// Applies a linear layer, fused if it fits the rows.
fn dense(layer: &Linear, x: Tensor<2>) -> Tensor<2> {
    let of_kernel = layer
        .bias
        .as_ref()
        .and_then(|bias| DenseLayer::new(layer.weight.val(), bias.val(), DenseActivation::Linear));
    match of_kernel {
        Some(of_kernel) if rekindle_kernels::fit(x.dims()[1], std::slice::from_ref(&of_kernel)) => {
            rekindle_kernels::mlp(x, &[of_kernel])
        }
        _ => layer.forward(x),
    }
}

/// Adds a normalization to an ONNX graph.
pub(crate) fn export_norm(graph: &mut Graph, x: &Value, norm: &LayerNorm) -> Result<Value> {
    let gamma = to_f32(norm.gamma.val())?;
    let beta = match &norm.beta {
        Some(beta) => to_f32(beta.val())?,
        None => vec![0.0; gamma.len()],
    };
    Ok(graph.layer_norm(x, &gamma, &beta, LAYER_NORM_EPSILON as f32))
}

/// Applies a normalization and the activation after it, fused if the kernel has the activation.
fn normalized(norm: &LayerNorm, activation: Activation, x: Tensor<2>) -> Tensor<2> {
    match (activation.dense(), &norm.beta) {
        (Some(activation), Some(beta)) => {
            let (scale, shift) = (norm.gamma.val(), beta.val());
            rekindle_kernels::layer_norm(x, scale, shift, LAYER_NORM_EPSILON, activation)
        }
        _ => activation.forward(norm.forward(x)),
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::weights::state_dict;

    use super::*;

    #[test]
    fn layers_and_shapes_follow_the_config() {
        let device = Device::flex();
        let builder = ModelBuilder::new(&device, Generator::from_seed(0));
        let config =
            MlpConfig { hidden_layer_use_layernorm: true, ..MlpConfig::new(4, &[8, 6], Some(2)) };
        let mlp = config.build(&builder);
        assert_eq!(mlp.forward(Tensor::zeros([5, 4], &device)).dims(), [5, 2]);
        let names: Vec<_> = state_dict(&mlp).unwrap().into_keys().collect();
        assert_eq!(names.len(), 3 * 2 + 2 * 2);
        assert_eq!(names[0], "layers.0.bias");
        assert_eq!(config.output_dim(), 2);
        assert_eq!(MlpConfig::new(4, &[8, 6], None).output_dim(), 6);
        assert_eq!(MlpConfig::new(4, &[], None).output_dim(), 4);
    }

    #[test]
    fn fused_normalization_equals_burns() {
        for activation in [Activation::Relu, Activation::Tanh, Activation::Silu] {
            let device = Device::flex().autodiff();
            let builder = ModelBuilder::new(&device, Generator::from_seed(0));
            let config = MlpConfig {
                hidden_layer_use_layernorm: true,
                hidden_layer_activation: activation,
                ..MlpConfig::new(4, &[8, 6], Some(2))
            };
            let mlp = config.build(&builder);
            let x: Vec<f32> = (0..20).map(|i| (i * 7 % 11) as f32 * 0.3 - 1.0).collect();
            let x = Tensor::<2>::from_data(TensorData::new(x, [5, 4]), &device);
            let plain = |x: Tensor<2>| {
                let hidden = mlp.layers[..2]
                    .iter()
                    .zip(&mlp.norms)
                    .fold(x, |x, (layer, norm)| activation.forward(norm.forward(layer.forward(x))));
                mlp.layers[2].forward(hidden)
            };
            let [fused, plain] = [mlp.forward(x.clone()), plain(x)].map(|y| {
                let gradients = y.clone().square().sum().backward();
                let of_layer = mlp.layers[0].weight.val().grad(&gradients).unwrap();
                let of_norm = mlp.norms[0].gamma.val().grad(&gradients).unwrap();
                let of = |tensor| to_f32::<2>(tensor).unwrap();
                [of(y), of(of_layer), to_f32(of_norm).unwrap()].concat()
            });
            assert_eq!(fused.len(), plain.len());
            for (fused, plain) in fused.iter().zip(&plain) {
                assert!((fused - plain).abs() < 1e-4 * plain.abs().max(1.0), "{fused} {plain}");
            }
        }
    }

    #[test]
    fn the_same_stream_gives_the_same_parameters() {
        let device = Device::flex();
        let build = |seed| {
            let builder = ModelBuilder::new(&device, Generator::from_seed(seed));
            state_dict(&MlpConfig::new(3, &[4], Some(1)).build(&builder)).unwrap()
        };
        assert_eq!(build(5), build(5));
        assert_ne!(build(5), build(6));
    }
}
