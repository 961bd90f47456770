//! Tests against the composition of Burn's operations.

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
        let read = |axis: usize| (shape.output[axis] - 1) * shape.stride[axis] + shape.kernel[axis];
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

#[test]
fn extreme_shapes_equal_the_plain_composition() {
    let by = DenseActivation::Relu;
    // Images of one pixel, with one and with many channels.
    check([1, 1, 1, 1], None, &[(1, [1, 1], [1, 1], false)], by);
    check([3, 1, 1, 37], Some([0.5, 2.0]), &[(33, [1, 1], [1, 1], false)], by);
    // Kernels that are larger than the image: most of their input is padding.
    check([2, 1, 1, 3], None, &[(5, [7, 9], [2, 3], true)], by);
    check([4, 2, 3, 1], None, &[(17, [8, 8], [4, 4], true), (3, [5, 5], [1, 1], true)], by);
    // Strides that are larger than the kernel skip pixels, and those that are larger than the image use one kernel.
    check([5, 11, 13, 3], None, &[(7, [2, 3], [5, 4], false), (9, [1, 1], [9, 9], false)], by);
    check([5, 11, 13, 3], Some([0.0, 3.0]), &[(7, [2, 1], [5, 40], true)], by);
    // One row of pixels, and one column.
    check([9, 1, 40, 2], None, &[(16, [1, 5], [1, 2], false), (8, [1, 3], [1, 1], true)], by);
    check([9, 40, 1, 2], None, &[(16, [5, 1], [2, 1], false), (8, [3, 3], [1, 1], true)], by);
}

#[test]
fn a_deep_chain_equals_the_plain_composition() {
    let filters: Vec<Filter> =
        (0..13).map(|layer| (3 + layer % 5, [3, 3], [1 + layer / 12, 1], layer % 4 != 3)).collect();
    check([3, 12, 12, 3], None, &filters, DenseActivation::Tanh);
}

#[test]
fn a_batch_without_images_has_no_outputs_and_gradients_of_zero() {
    let device = Device::flex().autodiff();
    for side in [5, 84] {
        let layers = layers(4, &[(32, [4, 4], [2, 2], false)], DenseActivation::Relu);
        let floats: AnyTensor = Tensor::<4>::zeros([0, side, side, 4], &device).into();
        let bytes = AnyTensor::from_bytes(Vec::new(), vec![0, side, side, 4], &device).unwrap();
        for images in [floats, bytes] {
            let y = conv(&images, [side, side, 4], None, &layers).unwrap();
            assert_eq!(y.dims()[0], 0);
            let gradients = y.sum().backward();
            let weight = layers[0].weight.float::<4>().unwrap();
            let of_weight = to_f32(weight.grad(&gradients).unwrap()).unwrap();
            assert_eq!(of_weight, vec![0.0; 32 * 4 * 16]);
        }
    }
}

/// Elements of one image with NaN or an infinity do not change those of other images.
#[test]
fn numbers_that_are_not_finite_stay_where_plain_operations_have_them() {
    let device = Device::flex().autodiff();
    let (rows, dims) = (9, [6, 7, 3]);
    for by in [DenseActivation::Linear, DenseActivation::Tanh] {
        let layers = layers(3, &[(5, [3, 3], [1, 1], true), (18, [2, 2], [2, 2], false)], by);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut pixels: Vec<f32> =
                (0..rows * 126).map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0).collect();
            for place in [0, 126 * 4 + 63, 126 * 9 - 1] {
                pixels[place] = bad;
            }
            let data = TensorData::new(pixels, [rows, 6, 7, 3]);
            let images = Tensor::<4>::from_data(data, &device);
            let fused = to_f32(conv(&images.clone().into(), dims, None, &layers).unwrap()).unwrap();
            let plain = to_f32(plain(images, None, &layers)).unwrap();
            assert!(plain.iter().any(|y| y.is_finite()));
            for (a, b) in fused.iter().zip(&plain) {
                let same = a == b || (a - b).abs() < 1e-5 * (1.0 + b.abs());
                assert!(same || (a.is_nan() && b.is_nan()), "{bad}: {a} and {b}");
            }
        }
    }
}
