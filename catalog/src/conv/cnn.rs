//! Convolutional networks.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, PaddingConfig2d};
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{AnyTensor, ConfigError};
use rekindle_kernels::{ConvLayer, HostPass};
use rekindle_onnx::{Attribute, Graph, Value};

use super::{ConvFilter, validate_filters};
use crate::activation::Activation;
use crate::builder::ModelBuilder;
use crate::error::{CatalogError, Result};
use crate::initializer::Initializer;
use crate::mlp::export_norm;
use crate::precision::ComputeDType;

/// Settings of a [`Cnn`].
#[derive(Debug, Clone, PartialEq)]
pub struct CnnConfig {
    /// Height, width and channels of the images.
    pub input_dims: [usize; 3],
    /// Layers, in order.
    pub filters: Vec<ConvFilter>,
    /// Activation after each layer.
    pub activation: Activation,
    /// Whether each layer is normalized over its channels before its activation.
    pub use_layernorm: bool,
    /// Initial weights of the layers.
    pub weights: Initializer,
    /// Initial biases of the layers.
    pub bias: Initializer,
    /// Number format of the convolutions.
    pub compute_dtype: ComputeDType,
}

impl CnnConfig {
    /// Creates a configuration with ReLU after each layer, initialized as PyTorch does.
    #[must_use]
    pub fn new(input_dims: [usize; 3], filters: &[ConvFilter]) -> Self {
        Self {
            input_dims,
            filters: filters.to_vec(),
            activation: Activation::Relu,
            use_layernorm: false,
            weights: Initializer::TorchDefault,
            bias: Initializer::TorchDefault,
            compute_dtype: ComputeDType::F32,
        }
    }

    /// Returns height, width and channels of the last layer.
    ///
    /// # Errors
    /// [`CatalogError::Config`] if there are no filters, if a filter contains a zero, or if
    /// a kernel without padding is larger than its input.
    pub fn output_dims(&self) -> Result<[usize; 3]> {
        validate_filters("conv_filters", &self.filters)?;
        let [height, width, channels] = self.input_dims;
        let (mut size, mut channels) = ([height, width], channels);
        for (layer, filter) in self.filters.iter().enumerate() {
            let [height, width] = size;
            size = filter.output_size(size).ok_or_else(|| CatalogError::from(ConfigError::new("conv_filters", serde_json::to_string(&self.filters).unwrap_or_default(), format!(
                    "the kernel of layer {layer} exceeds the {height}x{width} image it reads; use \
                     \"same\" padding, a smaller kernel or fewer layers"
                ))))?;
            channels = filter.out_channels;
        }
        Ok([size[0], size[1], channels])
    }

    /// Builds the network, with parameters drawn from the builder's stream.
    ///
    /// # Errors
    /// The errors of [`output_dims`](Self::output_dims), and [`CatalogError::Config`] if the
    /// device does not support `compute_dtype`.
    pub fn build(&self, builder: &ModelBuilder) -> Result<Cnn> {
        self.output_dims()?;
        self.compute_dtype.check("conv_compute_dtype", builder.device())?;
        let mut channels = self.input_dims[2];
        let (mut layers, mut norms) = (Vec::new(), Vec::new());
        for filter in &self.filters {
            layers.push(builder.conv2d(channels, filter, &self.weights, &self.bias));
            if self.use_layernorm {
                norms.push(builder.layer_norm(filter.out_channels));
            }
            channels = filter.out_channels;
        }
        let (activation, compute_dtype) = (self.activation, self.compute_dtype);
        Ok(Cnn { layers, norms, activation, compute_dtype })
    }
}

/// Convolutions, each followed by an optional normalization and an activation, then flattened.
///
/// Images have their channels last, as in Gymnasium. Weights have PyTorch's layout
/// `[out_channels, in_channels, kernel height, kernel width]`.
///
/// # Shapes
/// - input: `[B, height, width, channels]`
/// - output: `[B, features]`, the last layer's heights, widths and channels in row-major order
#[derive(Module, Debug)]
pub struct Cnn {
    layers: Vec<Conv2d>,
    norms: Vec<LayerNorm>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    compute_dtype: ComputeDType,
}

impl Cnn {
    /// Applies all layers.
    ///
    /// # Shapes
    /// `[B, height, width, channels]` to `[B, features]`.
    #[must_use]
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [_, dims @ ..] = images.dims();
        if let Some(features) = self.forward_fused(&images.clone().into(), dims, None) {
            return features;
        }
        match self.compute_dtype {
            ComputeDType::F32 => self.convolve(&self.layers, images),
            dtype => self.convolve(&dtype.convert_module(&self.layers), images),
        }
    }

    /// Applies all layers with the fused kernel to images of height, width and channels `dims`. With `scale`, the map
    /// `(x − scale[0]) / scale[1]` is applied first. Returns `None` where the kernel does not apply.
    pub(crate) fn forward_fused(
        &self,
        images: &AnyTensor,
        dims: [usize; 3],
        scale: Option<[f32; 2]>,
    ) -> Option<Tensor<2>> {
        rekindle_kernels::conv(images, dims, scale, &self.fused_layers()?)
    }

    /// Returns the layers as a pass over slices in host memory, for images of height, width and channels `dims`. With
    /// `scale`, the map `(x − scale[0]) / scale[1]` is applied first.
    pub(crate) fn host_pass(&self, dims: [usize; 3], scale: Option<[f32; 2]>) -> Option<HostPass> {
        HostPass::conv(dims, scale, self.fused_layers()?)
    }

    /// Adds all layers to an ONNX graph, in single precision, for images of height, width and channels `dims`.
    ///
    /// # Shapes
    /// `[B, height · width · channels]` to `[B, features]`.
    ///
    /// # Errors
    /// If a parameter cannot be read from its device.
    pub fn export_onnx(
        &self,
        graph: &mut Graph,
        pixels: &Value,
        dims: [usize; 3],
    ) -> Result<Value> {
        let [height, width, channels] = dims;
        let images = graph.reshape(pixels, &[-1, height as i64, width as i64, channels as i64]);
        let mut x = graph.transpose(&images, &[0, 3, 1, 2]);
        let (mut size, mut features) = ([height, width], channels);
        for (index, layer) in self.layers.iter().enumerate() {
            let (padding, after) = padding(layer, size);
            let weight = graph.floats(&to_f32(layer.weight.val())?, &layer.weight.dims());
            let bias = layer.bias.as_ref().map(|bias| to_f32(bias.val())).transpose()?;
            let bias = bias.map(|bias| graph.floats(&bias, &[bias.len()]));
            let inputs: Vec<_> = [&x, &weight].into_iter().chain(&bias).collect();
            let sizes =
                |sizes: &[usize]| Attribute::Ints(sizes.iter().map(|size| *size as i64).collect());
            let attributes = [
                ("kernel_shape", sizes(&layer.kernel_size)),
                ("strides", sizes(&layer.stride)),
                ("pads", sizes(&padding)),
            ];
            x = graph.node("Conv", &inputs, &attributes);
            if let Some(norm) = self.norms.get(index) {
                let last = graph.transpose(&x, &[0, 2, 3, 1]);
                let normal = export_norm(graph, &last, norm)?;
                x = graph.transpose(&normal, &[0, 3, 1, 2]);
            }
            x = self.activation.export_onnx(graph, &x);
            (size, features) = (after, layer.weight.dims()[0]);
        }
        let last = graph.transpose(&x, &[0, 2, 3, 1]);
        Ok(graph.rows(&last, size[0] * size[1] * features))
    }

    /// Returns the layers for [`rekindle_kernels::conv`]; `None` if the kernel lacks the activation, the number format
    /// or the normalization between them.
    fn fused_layers(&self) -> Option<Vec<ConvLayer>> {
        if self.compute_dtype != ComputeDType::F32 || !self.norms.is_empty() {
            return None;
        }
        let activation = self.activation.dense()?;
        let layer = |layer: &Conv2d| {
            let is_padded = match layer.padding {
                PaddingConfig2d::Same => true,
                PaddingConfig2d::Valid => false,
                PaddingConfig2d::Explicit(..) => return None,
            };
            let bias = layer.bias.as_ref()?.val();
            ConvLayer::new(layer.weight.val(), bias, layer.stride, is_padded, activation)
        };
        self.layers.iter().map(layer).collect()
    }

    fn convolve(&self, layers: &[Conv2d], images: Tensor<4>) -> Tensor<2> {
        let mut x = self.compute_dtype.convert(channels_first(images));
        for (index, layer) in layers.iter().enumerate() {
            x = layer.forward(x);
            if let Some(norm) = self.norms.get(index) {
                // Keep means and variances in full precision.
                let whole = ComputeDType::F32.convert(channels_last(x));
                x = self.compute_dtype.convert(channels_first(norm.forward(whole)));
            }
            x = self.activation.forward(x);
        }
        ComputeDType::F32.convert(channels_last(x).flatten(1, 3))
    }
}

/// Returns the zeros above, left of, below and right of an image, and the size of the image after the layer.
fn padding(layer: &Conv2d, size: [usize; 2]) -> ([usize; 4], [usize; 2]) {
    let mut pads = [0; 4];
    let mut after = size;
    for axis in [0, 1] {
        let (kernel, stride) = (layer.kernel_size[axis], layer.stride[axis]);
        match layer.padding {
            PaddingConfig2d::Same => {
                after[axis] = size[axis].div_ceil(stride);
                let total = ((after[axis] - 1) * stride + kernel).saturating_sub(size[axis]);
                (pads[axis], pads[axis + 2]) = (total / 2, total - total / 2);
            }
            PaddingConfig2d::Explicit(top, left, bottom, right) => {
                let [before, behind] = [[top, bottom], [left, right]][axis];
                (pads[axis], pads[axis + 2]) = (before, behind);
                after[axis] = (size[axis] + before + behind - kernel) / stride + 1;
            }
            PaddingConfig2d::Valid => after[axis] = (size[axis] - kernel) / stride + 1,
        }
    }
    (pads, after)
}

/// `[B, height, width, channels]` to `[B, channels, height, width]`.
pub(super) fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

/// `[B, channels, height, width]` to `[B, height, width, channels]`.
pub(super) fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
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
    fn weights_are_named_and_shaped_as_in_pytorch() {
        let filters =
            [ConvFilter::new(8, 4, 2), ConvFilter { kernel: [3, 2], ..ConvFilter::new(5, 3, 1) }];
        let config = CnnConfig { use_layernorm: true, ..CnnConfig::new([10, 9, 4], &filters) };
        let cnn = config.build(&builder()).unwrap();
        let weights = state_dict(&cnn).unwrap();
        let shape = |name: &str| weights[name].shape().to_vec();
        assert_eq!(weights.len(), 8);
        assert_eq!(shape("layers.0.weight"), [8, 4, 4, 4]);
        assert_eq!(shape("layers.1.weight"), [5, 8, 3, 2]);
        assert_eq!(shape("layers.1.bias"), [5]);
        assert_eq!(shape("norms.0.weight"), [8]);
    }

    #[test]
    fn outputs_have_the_announced_size_for_both_paddings() {
        for (size, filter) in [
            ([10, 10, 4], ConvFilter::new(3, 5, 2)),
            ([7, 11, 1], ConvFilter::new(3, 4, 3)),
            ([5, 5, 2], ConvFilter::new(3, 1, 2)),
            ([1, 1, 1], ConvFilter::new(3, 3, 1)),
            ([9, 12, 2], ConvFilter::new(3, 4, 2).valid()),
        ] {
            let config = CnnConfig::new(size, &[filter]);
            let cnn = config.build(&builder()).unwrap();
            let images = Tensor::zeros([2, size[0], size[1], size[2]], &Device::flex());
            let features = config.output_dims().unwrap().iter().product::<usize>();
            assert_eq!(cnn.forward(images).dims(), [2, features], "{size:?} {filter:?}");
        }
    }

    #[test]
    fn same_padding_puts_the_odd_zero_at_the_bottom_and_right() {
        // A 2x2 kernel of ones sums each pixel with its right and lower neighbors.
        let config = CnnConfig {
            weights: Initializer::Constant { value: 1.0 },
            bias: Initializer::Zeros,
            ..CnnConfig::new([2, 2, 1], &[ConvFilter::new(1, 2, 1)])
        };
        let image = Tensor::<1>::from_floats([1.0, 2.0, 4.0, 8.0], &Device::flex());
        let out = config.build(&builder()).unwrap().forward(image.reshape([1, 2, 2, 1]));
        assert_eq!(to_f32(out).unwrap(), [15.0, 10.0, 12.0, 8.0]);
    }

    #[test]
    fn features_are_ordered_by_height_width_and_channel() {
        let config = CnnConfig {
            weights: Initializer::Constant { value: 1.0 },
            bias: Initializer::Zeros,
            ..CnnConfig::new([1, 2, 1], &[ConvFilter::new(2, 1, 1)])
        };
        let image = Tensor::<1>::from_floats([3.0, 5.0], &Device::flex());
        let out = config.build(&builder()).unwrap().forward(image.reshape([1, 1, 2, 1]));
        assert_eq!(to_f32(out).unwrap(), [3.0, 3.0, 5.0, 5.0]);
    }

    #[test]
    fn layernorm_normalizes_over_the_channels_of_each_pixel() {
        let config = CnnConfig {
            use_layernorm: true,
            activation: Activation::Linear,
            ..CnnConfig::new([3, 3, 2], &[ConvFilter::new(4, 3, 1)])
        };
        let images = Tensor::<1, Int>::arange(0..18, &Device::flex()).float() * 100.0;
        let out = config.build(&builder()).unwrap().forward(images.reshape([1, 3, 3, 2]));
        for pixel in to_f32(out).unwrap().chunks(4) {
            assert!(pixel.iter().sum::<f32>().abs() < 1e-4, "{pixel:?}");
        }
    }

    #[test]
    fn low_precision_computes_nearly_the_same_and_parameters_keep_theirs() {
        let device = Device::flex().autodiff();
        let images = Tensor::<1, Int>::arange(0..2 * 144, &device).float() / 288.0;
        let images = images.reshape([2, 6, 6, 4]);
        for use_layernorm in [false, true] {
            let run = |compute_dtype| {
                let filters = [ConvFilter::new(8, 3, 1), ConvFilter::new(8, 3, 2)];
                let config = CnnConfig {
                    compute_dtype,
                    use_layernorm,
                    ..CnnConfig::new([6, 6, 4], &filters)
                };
                let builder = ModelBuilder::new(&device, Generator::from_seed(0));
                let cnn = config.build(&builder).unwrap().train();
                let out = cnn.forward(images.clone());
                let gradients = out.clone().square().mean().backward();
                let weight = cnn.layers[0].weight.val();
                let gradient = weight.grad(&gradients).expect("the parameter has a gradient");
                [to_f32(out).unwrap(), to_f32(gradient).unwrap()]
            };
            let whole = run(ComputeDType::F32);
            for dtype in [ComputeDType::Bf16, ComputeDType::F16] {
                for (low, whole) in run(dtype).iter().zip(&whole) {
                    let largest = whole.iter().fold(0f32, |max, x| max.max(x.abs()));
                    let apart =
                        low.iter().zip(whole).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
                    assert!(
                        apart > 0.0 && apart < 0.05 * largest,
                        "{dtype:?}: {apart} of {largest}"
                    );
                }
            }
        }
    }

    #[test]
    fn kernels_that_exceed_their_image_say_which_and_what_to_do() {
        let filters = [ConvFilter::new(8, 4, 2).valid(), ConvFilter::new(8, 4, 2).valid()];
        let message =
            CnnConfig::new([8, 8, 1], &filters).build(&builder()).unwrap_err().to_string();
        assert!(message.contains("`conv_filters` is [[8,4,2,\"valid\"]"), "{message}");
        assert!(message.contains("layer 1 exceeds the 3x3 image"), "{message}");
        let message = CnnConfig::new([8, 8, 1], &[]).build(&builder()).unwrap_err().to_string();
        assert!(message.contains("at least one filter"), "{message}");
    }
}
