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

    /// Returns the sizes for images `[height, width, channels]`, or `None` if the layer does not apply to these images.
    fn shape(&self, input: [usize; 3]) -> Option<ConvShape> {
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
mod tests {
    use burn::tensor::Distribution;
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use proptest::prelude::*;

    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::eager;

    /// Output channels, kernel, stride and padding of a layer.
    type Filter = (usize, [usize; 2], [usize; 2], bool);

    fn layers(channels: usize, filters: &[Filter], by: DenseActivation) -> Vec<ConvLayer> {
        let device = Device::flex().autodiff();
        let uniform = Distribution::Uniform(-0.3, 0.3);
        let mut channels = channels;
        let layer = |&(out, [height, width], stride, is_padded): &Filter| {
            let weight = Tensor::random([out, channels, height, width], uniform, &device);
            let bias = Tensor::random([out], uniform, &device);
            channels = out;
            let (weight, bias) = (weight.require_grad(), bias.require_grad());
            ConvLayer::new(weight, bias, stride, is_padded, by).unwrap()
        };
        filters.iter().map(layer).collect()
    }

    /// The composition of Burn's operations.
    fn plain(images: Tensor<4>, scale: Option<[f32; 2]>, layers: &[ConvLayer]) -> Tensor<2> {
        let images = match scale {
            Some([low, width]) => (images - low) / width,
            None => images,
        };
        let mut x = images.permute([0, 3, 1, 2]);
        for layer in layers {
            let [_, channels, height, width] = x.dims();
            let shape = layer.shape([height, width, channels]).unwrap();
            let [above, left] = shape.padding;
            let read =
                |axis: usize| (shape.output[axis] - 1) * shape.stride[axis] + shape.kernel[axis];
            let below = read(0).saturating_sub(height + above);
            let right = read(1).saturating_sub(width + left);
            let padded = x.pad((left, right, above, below), 0.0);
            let (weight, bias) = (layer.weight.float().unwrap(), layer.bias.float().unwrap());
            let options = ConvOptions::new(layer.stride, [0, 0], [1, 1], 1);
            x = conv2d(padded, weight, Some(bias), options);
            x = match layer.activation {
                DenseActivation::Linear => x,
                DenseActivation::Relu => burn::tensor::activation::relu(x),
                DenseActivation::Tanh => x.tanh(),
            };
        }
        x.permute([0, 2, 3, 1]).flatten(1, 3)
    }

    /// Outputs and all gradients.
    fn run(
        images: &Tensor<4>,
        layers: &[ConvLayer],
        pass: impl Fn(Tensor<4>) -> Tensor<2>,
    ) -> Vec<Vec<f32>> {
        let images = images.clone().require_grad();
        let y = pass(images.clone());
        let gradients = y.clone().square().mean().backward();
        let mut found = vec![to_f32(y).unwrap(), to_f32(images.grad(&gradients).unwrap()).unwrap()];
        for layer in layers {
            let (weight, bias) = (layer.weight.float::<4>(), layer.bias.float::<1>());
            found.push(to_f32(weight.unwrap().grad(&gradients).unwrap()).unwrap());
            found.push(to_f32(bias.unwrap().grad(&gradients).unwrap()).unwrap());
        }
        found
    }

    fn check(images: [usize; 4], scale: Option<[f32; 2]>, filters: &[Filter], by: DenseActivation) {
        let device = Device::flex().autodiff();
        let pixels = Tensor::random(images, Distribution::Uniform(-1.0, 1.0), &device);
        let layers = layers(images[3], filters, by);
        let dims = [images[1], images[2], images[3]];
        let fused = run(&pixels, &layers, |x| conv(&x.into(), dims, scale, &layers).unwrap());
        let plain = run(&pixels, &layers, |x| plain(x, scale, &layers));
        for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
            assert_eq!(a.len(), b.len());
            let largest = b.iter().fold(0f32, |max, x| max.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                let close = (a - b).abs() < 2e-5 * (largest + b.abs()) + 1e-8;
                assert!(close, "tensor {index} of {images:?}, {filters:?}, {by:?}: {a} and {b}");
            }
        }
        // Without gradients, nothing is kept between layers.
        let inner = |layer: &ConvLayer| ConvLayer {
            weight: layer.weight.clone().inner().unwrap(),
            bias: layer.bias.clone().inner().unwrap(),
            ..layer.clone()
        };
        let inner: Vec<_> = layers.iter().map(inner).collect();
        assert_eq!(
            to_f32(conv(&pixels.inner().into(), dims, scale, &inner).unwrap()).unwrap(),
            fused[0]
        );
    }

    fn activations() -> impl Strategy<Value = DenseActivation> {
        prop_oneof![
            Just(DenseActivation::Linear),
            Just(DenseActivation::Relu),
            Just(DenseActivation::Tanh)
        ]
    }

    fn filter() -> impl Strategy<Value = Filter> {
        (1usize..40, [1usize..5, 1usize..5], [1usize..4, 1usize..4], any::<bool>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn values_and_gradients_equal_the_plain_composition(
            rows in 1usize..12,
            size in [1usize..14, 1usize..14, 1usize..6],
            filters in proptest::collection::vec(filter(), 1..4),
            scale in proptest::option::of((-0.5f32..0.5, 0.5f32..2.0)),
            by in activations(),
        ) {
            let [height, width, channels] = size;
            let (mut fits, mut sides) = (Vec::new(), [height, width]);
            for (out, kernel, stride, is_padded) in filters {
                // Kernels that are larger than their image need padding.
                let is_padded = is_padded || kernel[0] > sides[0] || kernel[1] > sides[1];
                for axis in 0..2 {
                    sides[axis] = match is_padded {
                        true => sides[axis].div_ceil(stride[axis]),
                        false => (sides[axis] - kernel[axis]) / stride[axis] + 1,
                    };
                }
                fits.push((out, kernel, stride, is_padded));
            }
            let scale = scale.map(|(low, width)| [low, width]);
            check([rows, height, width, channels], scale, &fits, by);
        }
    }

    #[test]
    fn the_sizes_that_are_split_among_threads_equal_the_plain_composition() {
        let nature =
            [(32, [8, 8], [4, 4], false), (64, [4, 4], [2, 2], false), (64, [3, 3], [1, 1], false)];
        check([1, 84, 84, 4], Some([0.0, 255.0]), &nature, DenseActivation::Relu);
        check([19, 44, 44, 3], Some([0.0, 2.0]), &nature, DenseActivation::Relu);
        let small = [(16, [3, 3], [1, 1], true), (32, [5, 5], [2, 2], true)];
        check([70, 10, 10, 4], None, &small, DenseActivation::Tanh);
    }

    #[test]
    fn chains_of_more_layers_than_an_operation_takes_are_split() {
        let filters = vec![(3, [2, 2], [1, 1], true); LONGEST + 2];
        check([2, 5, 5, 2], Some([0.5, 2.0]), &filters, DenseActivation::Tanh);
    }

    #[test]
    fn layers_that_do_not_fit_and_eager_scopes_are_left_to_the_caller() {
        let device = Device::flex().autodiff();
        let layers = layers(3, &[(4, [3, 3], [1, 1], false)], DenseActivation::Relu);
        let images = |len| AnyTensor::from(Tensor::<2>::zeros([1, len], &device));
        assert!(conv(&images(75), [5, 5, 3], None, &layers).is_some());
        assert!(conv(&images(50), [5, 5, 2], None, &layers).is_none());
        assert!(conv(&images(30), [2, 5, 3], None, &layers).is_none());
        assert!(conv(&images(74), [5, 5, 3], None, &layers).is_none());
        let _eager = eager::scope(true);
        assert!(conv(&images(75), [5, 5, 3], None, &layers).is_none());
    }

    #[test]
    fn bytes_give_what_floats_of_the_same_values_give() {
        let device = Device::flex().autodiff();
        let filters = [(20, [4, 4], [2, 2], false), (9, [3, 3], [1, 1], true)];
        for (scale, dims) in [(None, [9, 8, 3]), (Some([3.0, 252.0]), [30, 31, 1])] {
            let layers = layers(dims[2], &filters, DenseActivation::Relu);
            let len = 5 * dims.iter().product::<usize>();
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7919 % 256) as u8).collect();
            let shape = vec![5, dims[0], dims[1], dims[2]];
            let bytes = AnyTensor::from_bytes(bytes, shape, &device).unwrap();
            let of = |images: &AnyTensor| {
                let y = conv(images, dims, scale, &layers).unwrap();
                let gradients = y.clone().sum().backward();
                let weight = layers[0].weight.float::<4>().unwrap().grad(&gradients);
                [to_f32(y).unwrap(), to_f32(weight.unwrap()).unwrap()]
            };
            let floats = bytes.float::<4>().unwrap().into();
            assert_eq!(of(&bytes), of(&floats));
        }
    }

    #[test]
    fn constant_images_get_no_gradient() {
        let device = Device::flex().autodiff();
        let layers = layers(3, &[(4, [3, 3], [2, 2], true)], DenseActivation::Relu);
        let images = Tensor::<4>::ones([2, 5, 5, 3], &device);
        let y = conv(&images.clone().into(), [5, 5, 3], None, &layers).unwrap();
        let gradients = y.sum().backward();
        assert!(images.grad(&gradients).is_none());
        assert!(layers[0].weight.float::<4>().unwrap().grad(&gradients).is_some());
    }
}
