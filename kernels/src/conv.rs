//! Convolutions of images with their channels last.

use std::array;

use burn::prelude::*;

use crate::activation::DenseActivation;
use crate::cpu::{ConvOp, ConvShape, Scale, pack_filters};
use crate::eager::is_eager;
use crate::host_op::apply;
use crate::packed::packed;
use rekindle_core::AnyTensor;

/// A convolution and its activation.
#[derive(Debug, Clone)]
pub struct ConvLayer {
    weight: AnyTensor,
    bias: AnyTensor,
    /// Output channels, input channels, and height and width of the kernel.
    dims: [usize; 4],
    stride: [usize; 2],
    is_padded: bool,
    activation: DenseActivation,
}

impl ConvLayer {
    /// Creates a convolution. Returns `None` if `bias` does not have one number per output channel, or if a dimension
    /// or a stride is 0.
    ///
    /// With `is_padded`, zeros around the image make each side of the output ⌈side / stride⌉. If the number of added
    /// rows or columns is odd, the larger half goes to the bottom or right. Without `is_padded`, kernels stay inside
    /// the image.
    ///
    /// # Shapes
    /// `weight`: `[out_channels, in_channels, kernel height, kernel width]`; `bias`: `[out_channels]`; `stride`:
    /// vertical and horizontal.
    #[must_use]
    pub fn new(
        weight: Tensor<4>,
        bias: Tensor<1>,
        stride: [usize; 2],
        is_padded: bool,
        activation: DenseActivation,
    ) -> Option<Self> {
        let dims = weight.dims();
        let fits = bias.dims() == [dims[0]] && !dims.contains(&0) && !stride.contains(&0);
        let (weight, bias) = (weight.into(), bias.into());
        fits.then_some(Self { weight, bias, dims, stride, is_padded, activation })
    }

    /// Returns weight and bias.
    #[cfg(feature = "flex")]
    pub(crate) fn parameters(&self) -> [&AnyTensor; 2] {
        [&self.weight, &self.bias]
    }

    /// Returns the sizes for images `[height, width, channels]`, or `None` if the layer does not apply to these images.
    pub(crate) fn shape(&self, input: [usize; 3]) -> Option<ConvShape> {
        let [out_channels, in_channels, kernel @ ..] = self.dims;
        let (mut output, mut padding) = ([0, 0, out_channels], [0, 0]);
        for axis in 0..2 {
            let (side, kernel, stride) = (input[axis], kernel[axis], self.stride[axis]);
            output[axis] = match self.is_padded {
                true => side.div_ceil(stride),
                false => side.checked_sub(kernel)? / stride + 1,
            };
            if self.is_padded {
                let read = output[axis].saturating_sub(1) * stride + kernel;
                padding[axis] = read.saturating_sub(side) / 2;
            }
        }
        let fits = in_channels == input[2] && !input.contains(&0);
        let (stride, activation) = (self.stride, self.activation);
        fits.then_some(ConvShape { input, kernel, stride, padding, output, activation })
    }
}

/// Applies convolutions one after the other, on the CPU. Returns `None` on other devices, in an [`eager`](crate::eager)
/// scope, and for layers that do not fit together.
///
/// With `scale`, the input of the first layer is `(x − scale[0]) / scale[1]` instead of the image `x`.
/// [Bytes](AnyTensor::from_bytes) are read without converting the whole batch to floats.
///
/// # Shapes
/// - `images`: `[B, …]`, with the elements of `dims`: height, width and channels
/// - result: `[B, features]`, the last layer's heights, widths and channels in row-major order
#[must_use]
pub fn conv(
    images: &AnyTensor,
    dims: [usize; 3],
    scale: Option<[f32; 2]>,
    layers: &[ConvLayer],
) -> Option<Tensor<2>> {
    let rows = images.rows();
    let (mut size, mut shapes) = (dims, Vec::with_capacity(layers.len()));
    for layer in layers {
        let shape = layer.shape(size)?;
        shapes.push(shape);
        size = shape.output;
    }
    let len = images.shape().iter().product::<usize>();
    if len != rows * dims.iter().product::<usize>() || is_eager() {
        return None;
    }
    let mut scale = scale.map(|[low, width]| Scale { low, width });
    let mut bytes = images.as_bytes();
    let mut y: Option<Tensor<2>> = None;
    for (layers, shapes) in layers.chunks(LONGEST).zip(shapes.chunks(LONGEST)) {
        let packed = layers
            .iter()
            .zip(shapes)
            .map(|(layer, shape)| packed(&layer.weight, |weights| pack_filters(*shape, weights)));
        let op = ConvOp {
            layers: shapes.to_vec(),
            scale: scale.take(),
            bytes: bytes.take(),
            packed: packed.collect(),
        };
        let before = y.take().map(AnyTensor::from);
        let images = before.as_ref().unwrap_or(images);
        let operands: Vec<&AnyTensor> = std::iter::once(images)
            .skip(usize::from(op.bytes.is_some()))
            .chain(layers.iter().flat_map(|layer| [&layer.weight, &layer.bias]))
            .collect();
        y = Some(match operands.len() {
            2 => chain_of::<2>(op, &operands, rows),
            3 => chain_of::<3>(op, &operands, rows),
            4 => chain_of::<4>(op, &operands, rows),
            5 => chain_of::<5>(op, &operands, rows),
            6 => chain_of::<6>(op, &operands, rows),
            7 => chain_of::<7>(op, &operands, rows),
            8 => chain_of::<8>(op, &operands, rows),
            _ => chain_of::<9>(op, &operands, rows),
        }?);
    }
    y
}

/// Maximum number of layers per operation. Longer chains are split.
const LONGEST: usize = 4;

/// Applies a chain whose images and parameters are `N` tensors.
fn chain_of<const N: usize>(op: ConvOp, operands: &[&AnyTensor], rows: usize) -> Option<Tensor<2>> {
    let operands: [&AnyTensor; N] = array::from_fn(|index| operands[index]);
    let features = op.layers.last().map_or(0, ConvShape::output_len);
    apply::<_, N, 2>(op, operands, [rows, features]).map(|(y, _)| y)
}

#[cfg(test)]
mod tests;
