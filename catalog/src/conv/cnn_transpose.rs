//! The head that turns features into an image.

use burn::module::Module;
use burn::nn::conv::ConvTranspose2d;
use burn::nn::{LayerNorm, Linear};
use burn::prelude::*;
use rekindle_core::ConfigError;

use super::cnn::{channels_first, channels_last};
use super::{ConvFilter, ConvPadding, validate_filters};
use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::Result;
use crate::initializer::Initializer;

/// Settings of a [`CnnTransposeHead`]; RLlib's `CNNTransposeHeadConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct CnnTransposeHeadConfig {
    /// Number of input features.
    pub input_dim: usize,
    /// Height, width and channels of the dense layer's output.
    pub initial_image_dims: [usize; 3],
    /// Transposed convolutions, in order. The stride multiplies height and width.
    pub filters: Vec<ConvFilter>,
    /// Whether all layers except the last have a bias. The last layer always has one.
    pub use_bias: bool,
    /// Activation after each layer except the last.
    pub activation: Activation,
    /// Whether each layer except the last is normalized over its channels before its activation.
    pub use_layernorm: bool,
    /// Initial weights of all layers.
    pub weights: Initializer,
    /// Initial biases of all layers.
    pub bias: Initializer,
}

impl CnnTransposeHeadConfig {
    /// Creates a configuration with ReLU and biases, initialized as PyTorch does.
    #[must_use]
    pub fn new(input_dim: usize, initial_image_dims: [usize; 3], filters: &[ConvFilter]) -> Self {
        Self {
            input_dim,
            initial_image_dims,
            filters: filters.to_vec(),
            use_bias: true,
            activation: Activation::Relu,
            use_layernorm: false,
            weights: Initializer::TorchDefault,
            bias: Initializer::TorchDefault,
        }
    }

    /// Returns height, width and channels of the final image.
    #[must_use]
    pub fn output_dims(&self) -> [usize; 3] {
        let multiply = |[height, width, _]: [usize; 3], filter: &ConvFilter| {
            [height * filter.stride[0], width * filter.stride[1], filter.out_channels]
        };
        self.filters.iter().fold(self.initial_image_dims, multiply)
    }

    /// Builds the layers, with parameters drawn from the builder's stream.
    ///
    /// # Errors
    /// [`CatalogError::Config`](crate::CatalogError::Config) if there are no filters, or if a filter has a zero, "valid"
    /// padding or a kernel shorter than its stride.
    pub fn build(&self, builder: &ModelBuilder) -> Result<CnnTransposeHead> {
        self.validate()?;
        let (weights, bias) = (&self.weights, &self.bias);
        let pixels = self.initial_image_dims.iter().product();
        let dense = builder.linear(self.input_dim, pixels, weights, bias);
        let mut channels = self.initial_image_dims[2];
        let (mut layers, mut norms) = (Vec::new(), Vec::new());
        for (index, filter) in self.filters.iter().enumerate() {
            let last = index + 1 == self.filters.len();
            let bias = (last || self.use_bias).then_some(bias);
            layers.push(builder.conv_transpose2d(channels, filter, weights, bias));
            if self.use_layernorm && !last {
                norms.push(builder.layer_norm(filter.out_channels));
            }
            channels = filter.out_channels;
        }
        let (activation, initial_image_dims) = (self.activation, self.initial_image_dims);
        Ok(CnnTransposeHead { dense, layers, norms, activation, initial_image_dims })
    }

    fn validate(&self) -> Result<()> {
        validate_filters("filters", &self.filters)?;
        let short = |f: &ConvFilter| f.kernel[0] < f.stride[0] || f.kernel[1] < f.stride[1];
        let constraint = if self.filters.iter().any(|f| f.padding == ConvPadding::Valid) {
            "transposed convolutions support \"same\" padding only"
        } else if self.filters.iter().any(short) {
            "a kernel shorter than its stride would leave pixels unwritten"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(
            "filters",
            serde_json::to_string(&self.filters).unwrap_or_default(),
            constraint,
        )
        .into())
    }
}

/// A dense layer whose output is a small image, and transposed convolutions that enlarge it.
///
/// The decoder of world models such as DreamerV3's (Hafner et al., 2023). The last layer is linear.
/// Its output is shifted by 0.5, the middle of pixels in `[0, 1]`.
///
/// # Shapes
/// `[B, input_dim]` to `[B, height, width, channels]`.
#[derive(Module, Debug)]
pub struct CnnTransposeHead {
    dense: Linear,
    layers: Vec<ConvTranspose2d>,
    norms: Vec<LayerNorm>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    initial_image_dims: [usize; 3],
}

impl CnnTransposeHead {
    /// Decodes features into images.
    ///
    /// # Shapes
    /// `[B, input_dim]` to `[B, height, width, channels]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<4> {
        let [height, width, channels] = self.initial_image_dims;
        let rows = features.dims()[0];
        let images = self.dense.forward(features).reshape([rows, height, width, channels]);
        let mut x = channels_first(images);
        for (index, layer) in self.layers.iter().enumerate() {
            x = upscale(layer, x);
            if index + 1 < self.layers.len() {
                if let Some(norm) = self.norms.get(index) {
                    x = channels_first(norm.forward(channels_last(x)));
                }
                x = self.activation.forward(x);
            }
        }
        channels_last(x) + 0.5
    }
}

/// Applies a transposed convolution with "same" padding: each side becomes side · stride.
///
/// Without padding a side becomes (side − 1) · stride + kernel. The surplus of kernel − stride
/// pixels is cut off, its smaller half at the top and left. This equals spreading the image with
/// zeros and convolving it with the larger half of the padding at the top and left.
fn upscale(layer: &ConvTranspose2d, x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let [vertical, horizontal] = layer.stride;
    let cut = |axis: usize| (layer.kernel_size[axis] - layer.stride[axis]) / 2;
    let (top, left) = (cut(0), cut(1));
    layer.forward(x).narrow(2, top, height * vertical).narrow(3, left, width * horizontal)
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::weights::state_dict;

    use super::*;

    fn builder() -> ModelBuilder {
        ModelBuilder::new(&Device::flex(), Generator::from_seed(0))
    }

    #[test]
    fn images_have_the_size_of_rllibs_for_all_settings() {
        let cases: [(&[ConvFilter], [usize; 3]); 3] = [
            (
                &[ConvFilter::new(48, 4, 2), ConvFilter::new(24, 4, 2), ConvFilter::new(3, 4, 2)],
                [32, 32, 3],
            ),
            (&[ConvFilter::new(3, 4, 3)], [12, 12, 3]),
            (&[ConvFilter::new(1, 7, 3)], [12, 12, 1]),
        ];
        for (filters, [height, width, channels]) in cases {
            for activation in [Activation::Linear, Activation::Relu, Activation::Silu] {
                for (use_layernorm, use_bias) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    for input_dim in [1, 50] {
                        let config = CnnTransposeHeadConfig {
                            activation,
                            use_layernorm,
                            use_bias,
                            ..CnnTransposeHeadConfig::new(input_dim, [4, 4, 96], filters)
                        };
                        assert_eq!(config.output_dims(), [height, width, channels]);
                        let head = config.build(&builder()).unwrap();
                        let hidden = filters.len() - 1;
                        let norms = if use_layernorm { 2 * hidden } else { 0 };
                        let biases = if use_bias { hidden } else { 0 };
                        let parameters = 2 + filters.len() + 1 + biases + norms;
                        assert_eq!(state_dict(&head).unwrap().len(), parameters);
                        let images = head.forward(Tensor::ones([2, input_dim], &Device::flex()));
                        assert_eq!(images.dims(), [2, height, width, channels]);
                    }
                }
            }
        }
    }

    /// Kernel 5 and stride 2 on 4 pixels: RLlib pads the spread image (7 pixels) by 3 and 2, so the
    /// full result of 11 pixels loses one at the start and two at the end.
    #[test]
    fn same_padding_of_a_transposed_convolution_cuts_the_smaller_half_first() {
        let filter = ConvFilter { kernel: [5, 1], stride: [2, 1], ..ConvFilter::new(1, 1, 1) };
        let config = CnnTransposeHeadConfig {
            weights: Initializer::Constant { value: 1.0 },
            bias: Initializer::Zeros,
            ..CnnTransposeHeadConfig::new(1, [4, 1, 1], &[filter])
        };
        let head = config.build(&builder()).unwrap();
        let images = head.forward(Tensor::ones([1, 1], &Device::flex()));
        assert_eq!(images.dims(), [1, 8, 1, 1]);
        // The full result counts the pixels that reach each place: 1 1 2 2 3 2 3 2 2 1 1.
        assert_eq!(to_f32(images - 0.5).unwrap(), [1.0, 2.0, 2.0, 3.0, 2.0, 3.0, 2.0, 2.0]);
    }

    #[test]
    fn a_stride_of_one_keeps_the_size() {
        let config = CnnTransposeHeadConfig::new(3, [5, 4, 2], &[ConvFilter::new(2, 3, 1)]);
        let head = config.build(&builder()).unwrap();
        assert_eq!(head.forward(Tensor::ones([1, 3], &Device::flex())).dims(), [1, 5, 4, 2]);
    }

    #[test]
    fn filters_that_a_transposed_convolution_cannot_have_are_refused() {
        for (filter, expected) in [
            (ConvFilter::new(1, 4, 2).valid(), "support \"same\" padding only"),
            (ConvFilter::new(1, 1, 2), "a kernel shorter than its stride"),
            (ConvFilter::new(0, 4, 2), "at least 1"),
        ] {
            let config = CnnTransposeHeadConfig::new(3, [4, 4, 2], &[filter]);
            let message = config.build(&builder()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
