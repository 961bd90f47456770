//! Creation of layers with initial parameters that are drawn on the host.

use std::cell::RefCell;

use burn::module::Param;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::prelude::*;
use rekindle_core::Generator;

use crate::conv::{ConvFilter, ConvPadding};
use crate::initializer::Initializer;

/// Added to the variance by layer normalizations.
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-3;

/// Creates layers on a device, with initial parameters from a random stream.
///
/// The configurations of all parts are built with a builder, for example by
/// [`MlpConfig::build`](crate::MlpConfig::build) and [`CnnConfig::build`](crate::CnnConfig::build).
#[derive(Debug)]
pub struct ModelBuilder {
    device: Device,
    rng: RefCell<Generator>,
}

impl ModelBuilder {
    /// Creates a builder that draws from `rng`.
    #[must_use]
    pub fn new(device: &Device, rng: Generator) -> Self {
        Self { device: device.clone(), rng: RefCell::new(rng) }
    }

    /// Returns the device of the parameters.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Draws a seed for initializers that do not draw from this stream, such as Burn's own.
    #[must_use]
    pub fn next_seed(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// Creates a linear layer.
    ///
    /// # Shapes
    /// `[…, fan_in]` to `[…, fan_out]`.
    #[must_use]
    pub fn linear(
        &self,
        fan_in: usize,
        fan_out: usize,
        weight: &Initializer,
        bias: &Initializer,
    ) -> Linear {
        let mut rng = self.rng.borrow_mut();
        let weight = weight.weight(fan_in, fan_out, &mut rng);
        let bias = bias.bias(fan_in, fan_out, &mut rng);
        Linear {
            weight: self.param(weight, [fan_in, fan_out]),
            bias: Some(self.param(bias, [fan_out])),
        }
    }

    /// Creates a convolution.
    ///
    /// # Shapes
    /// `[B, channels_in, height, width]` to `[B, out_channels, height', width']` with the height and
    /// width of [`ConvFilter::output_size`].
    #[must_use]
    pub fn conv2d(
        &self,
        channels_in: usize,
        filter: &ConvFilter,
        weight: &Initializer,
        bias: &Initializer,
    ) -> Conv2d {
        let (channels_out, [height, width]) = (filter.out_channels, filter.kernel);
        let fan_in = channels_in * height * width;
        let mut rng = self.rng.borrow_mut();
        let weight = weight.conv_weight(channels_out, channels_in, filter.kernel, &mut rng);
        let bias = bias.bias(fan_in, channels_out, &mut rng);
        Conv2d {
            weight: self.param(weight, [channels_out, channels_in, height, width]),
            bias: Some(self.param(bias, [channels_out])),
            stride: filter.stride,
            kernel_size: filter.kernel,
            dilation: [1, 1],
            groups: 1,
            padding: match filter.padding {
                ConvPadding::Same => PaddingConfig2d::Same,
                ConvPadding::Valid => PaddingConfig2d::Valid,
            },
        }
    }

    /// Creates a transposed convolution without padding.
    ///
    /// # Shapes
    /// `[B, channels_in, height, width]` to
    /// `[B, out_channels, (height - 1) * stride + kernel, (width - 1) * stride + kernel]`.
    #[must_use]
    pub fn conv_transpose2d(
        &self,
        channels_in: usize,
        filter: &ConvFilter,
        weight: &Initializer,
        bias: Option<&Initializer>,
    ) -> ConvTranspose2d {
        let (channels_out, [height, width]) = (filter.out_channels, filter.kernel);
        // PyTorch computes the fan from the second dimension of the weights, as for convolutions.
        let fan_in = channels_out * height * width;
        let mut rng = self.rng.borrow_mut();
        let weight = weight.conv_weight(channels_in, channels_out, filter.kernel, &mut rng);
        let bias = bias.map(|bias| bias.bias(fan_in, channels_out, &mut rng));
        ConvTranspose2d {
            weight: self.param(weight, [channels_in, channels_out, height, width]),
            bias: bias.map(|bias| self.param(bias, [channels_out])),
            stride: filter.stride,
            kernel_size: filter.kernel,
            dilation: [1, 1],
            groups: 1,
            padding: [0, 0],
            padding_out: [0, 0],
            channels: [channels_in, channels_out],
        }
    }

    /// Creates a table of `entries` vectors, drawn from the standard normal as in PyTorch.
    ///
    /// # Shapes
    /// Indices `[B, n]` to `[B, n, width]`.
    #[must_use]
    pub fn embedding(&self, entries: usize, width: usize) -> Embedding {
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 };
        let weight = normal.weight(entries, width, &mut self.rng.borrow_mut());
        Embedding { weight: self.param(weight, [entries, width]) }
    }

    /// Creates a weight matrix in PyTorch's layout: a row per output.
    ///
    /// # Shapes
    /// Result `[fan_out, fan_in]`.
    #[must_use]
    pub fn matrix(
        &self,
        fan_out: usize,
        fan_in: usize,
        initializer: &Initializer,
    ) -> Param<Tensor<2>> {
        let by_input = initializer.weight(fan_in, fan_out, &mut self.rng.borrow_mut());
        let by_output =
            (0..fan_out).flat_map(|out| by_input.iter().skip(out).step_by(fan_out.max(1)).copied());
        self.param(by_output.collect(), [fan_out, fan_in])
    }

    /// Creates a bias.
    ///
    /// # Shapes
    /// Result `[fan_out]`.
    #[must_use]
    pub fn vector(
        &self,
        fan_in: usize,
        fan_out: usize,
        initializer: &Initializer,
    ) -> Param<Tensor<1>> {
        let bias = initializer.bias(fan_in, fan_out, &mut self.rng.borrow_mut());
        self.param(bias, [fan_out])
    }

    /// Creates a trainable parameter from its values, row-major.
    #[must_use]
    pub fn param<const D: usize>(&self, data: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_data(TensorData::new(data, shape), &self.device)
    }

    /// Creates a layer normalization over the last dimension (ε = 1e-3, as in RLlib).
    #[must_use]
    pub fn layer_norm(&self, dim: usize) -> LayerNorm {
        LayerNormConfig::new(dim).with_epsilon(LAYER_NORM_EPSILON).init(&self.device)
    }
}
