//! MobileNetV2 (Sandler et al., 2018) as an encoder: RLlib's `MobileNetV2EncoderConfig`.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use rekindle::catalog::Result as CatalogResult;
use rekindle::prelude::*;

/// Blocks of one width: table 2 of the paper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// Factor by which a block widens its input.
    pub(crate) expansion: usize,
    /// Channels between the blocks.
    pub(crate) channels: usize,
    /// Number of blocks.
    pub(crate) blocks: usize,
    /// Stride of the first block.
    pub(crate) stride: usize,
}

/// Settings of a [`MobileNetV2`].
///
/// The default is narrow, so that it runs quickly on a CPU. The paper's network has 32 channels in
/// its stem, 17 blocks with up to 320 channels, and 1280 features.
#[derive(Debug, Clone)]
pub(crate) struct MobileNetV2Config {
    pub(crate) stem_channels: usize,
    pub(crate) stages: Vec<Stage>,
    pub(crate) output_dim: usize,
}

impl Default for MobileNetV2Config {
    fn default() -> Self {
        let stage =
            |expansion, channels, blocks, stride| Stage { expansion, channels, blocks, stride };
        Self {
            stem_channels: 8,
            stages: vec![stage(1, 4, 1, 1), stage(6, 6, 2, 2), stage(6, 8, 2, 2)],
            output_dim: 32,
        }
    }
}

impl MobileNetV2Config {
    /// Builds the network for images `[height, width, channels]`.
    pub(crate) fn build(&self, image_channels: usize, device: &Device) -> MobileNetV2 {
        let mut channels = self.stem_channels;
        let mut blocks = Vec::new();
        for stage in &self.stages {
            for index in 0..stage.blocks {
                let stride = if index == 0 { stage.stride } else { 1 };
                let block = [channels, stage.channels];
                blocks.push(InvertedResidual::new(block, stage.expansion, stride, device));
                channels = stage.channels;
            }
        }
        MobileNetV2 {
            stem: convolution([image_channels, self.stem_channels], 3, 2).init(device),
            blocks,
            last: convolution([channels, self.output_dim], 1, 1).init(device),
            output_dim: self.output_dim,
        }
    }
}

fn convolution(channels: [usize; 2], kernel: usize, stride: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Same)
}

fn relu6<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clamp(0.0, 6.0)
}

/// An inverted residual block: a 1 × 1 convolution widens the input, a 3 × 3 convolution filters each
/// channel alone, and a 1 × 1 convolution without activation narrows the result (the linear
/// bottleneck). If the shape is unchanged, the input is added.
///
/// The paper's batch normalization is left out: its statistics would differ between acting and
/// training.
#[derive(Module, Debug)]
pub(crate) struct InvertedResidual {
    pub(crate) expand: Option<Conv2d>,
    pub(crate) depthwise: Conv2d,
    pub(crate) project: Conv2d,
    is_residual: bool,
}

impl InvertedResidual {
    fn new([input, output]: [usize; 2], expansion: usize, stride: usize, device: &Device) -> Self {
        let wide = input * expansion;
        let depthwise = convolution([wide; 2], 3, stride).with_groups(wide);
        Self {
            expand: (expansion > 1).then(|| convolution([input, wide], 1, 1).init(device)),
            depthwise: depthwise.init(device),
            project: convolution([wide, output], 1, 1).init(device),
            is_residual: stride == 1 && input == output,
        }
    }

    /// `[B, channels, height, width]` to `[B, channels', height', width']`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let narrow = self.project.forward(relu6(self.depthwise.forward(wide)));
        if self.is_residual { x + narrow } else { narrow }
    }
}

/// A stem, inverted residual blocks, a 1 × 1 convolution, and the mean over the image.
#[derive(Module, Debug)]
pub(crate) struct MobileNetV2 {
    stem: Conv2d,
    pub(crate) blocks: Vec<InvertedResidual>,
    last: Conv2d,
    output_dim: usize,
}

impl Encoder for MobileNetV2 {
    fn forward(&self, observations: &Column) -> CatalogResult<Tensor<2>> {
        let images = observations.tensor()?.float::<4>()?.permute([0, 3, 1, 2]);
        let x = relu6(self.stem.forward(images));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let x = relu6(self.last.forward(x));
        Ok(x.mean_dim(3).mean_dim(2).flatten(1, 3))
    }

    fn output_dim(&self) -> usize {
        self.output_dim
    }
}
