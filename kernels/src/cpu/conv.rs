//! Convolutions and their activations in one pass over blocks of images.
//!
//! Images have their channels last, so the elements that a row of a kernel reads are neighbors in memory. Products read
//! images in place. Only images that need padding or scaling are copied, a few at a time.

mod forward;
mod gradient;
mod patches;
mod products;
mod shape;

pub(crate) use patches::{Images, Scale};
use shape::ConvParameters;
pub(crate) use shape::ConvShape;

use std::sync::Arc;

use rekindle_core::any_tensor::Bytes;

use super::scratch::Scratch;
use crate::host_op::{HostOp, Pass};

/// Convolutions and their activations as one operation. The inputs are the images (`[height, width, channels]` each)
/// unless they are bytes, followed by the weights (`[out_channels, in_channels, kernel height, kernel width]`) and bias
/// (`[out_channels]`) of each layer.
#[derive(Debug)]
pub(crate) struct ConvOp {
    pub(crate) layers: Vec<ConvShape>,
    /// The map that is applied to images before the first layer.
    pub(crate) scale: Option<Scale>,
    /// The images, if they are bytes.
    pub(crate) bytes: Option<Arc<Bytes>>,
    /// The weights of each layer in panels ([`pack`]), if they are packed already.
    pub(crate) packed: Vec<Option<Arc<Scratch>>>,
}

/// Returns the weights of a layer in panels.
pub(crate) fn pack(shape: ConvShape, weights: &[f32]) -> Scratch {
    let layer = ConvParameters { shape, weights, bias: &[] };
    let mut panels = layer.forward_memory();
    layer.forward_panels(&mut panels);
    panels
}

/// Applies layers to images without allocating. Each layer has its shape, its weights in panels ([`pack`]) and its bias.
#[cfg(feature = "flex")]
pub(crate) fn forward_into<'a>(
    x: Images<'_>,
    layers: impl Iterator<Item = (ConvShape, &'a [f32], &'a [f32])> + Clone,
    scale: Option<Scale>,
    output: &mut [f32],
) {
    use smallvec::SmallVec;

    use self::forward::LAYERS;

    let panels: SmallVec<[_; LAYERS]> = layers.clone().map(|(_, panels, _)| panels).collect();
    // The weights themselves are not read.
    let parameters = |(shape, _, bias)| ConvParameters { shape, weights: &[], bias };
    let layers: SmallVec<[_; LAYERS]> = layers.map(parameters).collect();
    forward::forward_into(x, &layers, &panels, scale, false, output);
}

impl ConvOp {
    /// Splits the inputs into the images and the layers.
    fn split<'a>(&'a self, inputs: &[&'a [f32]]) -> (Images<'a>, Vec<ConvParameters<'a>>) {
        let (x, parameters) = match &self.bytes {
            Some(bytes) => (Images::Bytes(bytes.data()), inputs),
            None => match inputs.split_first() {
                Some((x, parameters)) => (Images::Floats(x), parameters),
                None => (Images::Floats(&[]), inputs),
            },
        };
        let layers = self.layers.iter().zip(parameters.chunks_exact(2));
        let layer = |(&shape, p): (&ConvShape, &[&'a [f32]])| ConvParameters {
            shape,
            weights: p[0],
            bias: p[1],
        };
        (x, layers.map(layer).collect())
    }
}

impl<const N: usize> HostOp<N> for ConvOp {
    /// The outputs of all layers but the last.
    type Saved = Vec<Scratch>;

    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved) {
        let (x, layers) = self.split(&inputs);
        forward::forward(x, &layers, &self.packed, self.scale, tracked)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N] {
        let (x, layers) = self.split(&pass.inputs);
        let outputs: Vec<&[f32]> =
            pass.saved.iter().map(|saved| &saved[..]).chain([pass.output]).collect();
        let images = usize::from(self.bytes.is_none());
        let (of_x, of_parameters) = gradient::backward(&gradient::Backward {
            x,
            layers: &layers,
            scale: self.scale,
            outputs: &outputs,
            gradient: pass.gradient,
            needs_x: images > 0 && pass.needs.first().is_some_and(|needs| *needs),
            needs: &pass.needs[images..],
        });
        let mut found = std::iter::once(of_x).skip(1 - images).chain(of_parameters);
        std::array::from_fn(|_| found.next().flatten())
    }
}
