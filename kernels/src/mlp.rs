//! Fully connected layers.

use std::array;

use burn::prelude::*;

use crate::activation::DenseActivation;
use crate::cpu::{Layer, MlpOp};
use crate::host_op::apply;
#[cfg(feature = "flex")]
use crate::host_op::elements;
use rekindle_core::AnyTensor;

/// A fully connected layer and its activation.
#[derive(Debug, Clone)]
pub struct DenseLayer {
    weight: AnyTensor,
    bias: AnyTensor,
    inputs: usize,
    outputs: usize,
    activation: DenseActivation,
}

impl DenseLayer {
    /// Creates the layer `activation(x·weight + bias)`. Returns `None` if the widths of bias and
    /// weight differ.
    ///
    /// # Shapes
    /// `weight`: `[inputs, outputs]`, as Burn's `Linear` keeps it; `bias`: `[outputs]`.
    #[must_use]
    pub fn new(weight: Tensor<2>, bias: Tensor<1>, activation: DenseActivation) -> Option<Self> {
        let [inputs, outputs] = weight.dims();
        let (fits, weight, bias) = (bias.dims() == [outputs], weight.into(), bias.into());
        fits.then_some(Self { weight, bias, inputs, outputs, activation })
    }

    /// Returns the numbers of inputs and outputs.
    #[cfg(feature = "flex")]
    pub(crate) fn dims(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    /// Returns the layer with its parameters; `None` if they are not in host memory, or track gradients.
    #[cfg(feature = "flex")]
    pub(crate) fn parameters(&self) -> Option<crate::cpu::LayerParameters<'_>> {
        let (weights, bias) = (elements(&self.weight)?, elements(&self.bias)?);
        Some(crate::cpu::LayerParameters { layer: self.layer(), weights, bias })
    }

    fn layer(&self) -> Layer {
        let &Self { inputs, outputs, activation, .. } = self;
        Layer { inputs, outputs, activation }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) =
            (self.weight.clone().into_float_unchecked(), self.bias.clone().into_float_unchecked());
        self.activation.forward(burn::tensor::module::linear(x, weight, Some(bias)))
    }
}

/// Whether the layers apply to rows of `width` features: the inputs of each layer are the outputs of the
/// one before it.
#[must_use]
pub fn fit(width: usize, layers: &[DenseLayer]) -> bool {
    let mut width = width;
    layers.iter().all(|layer| layer.inputs == std::mem::replace(&mut width, layer.outputs))
}

/// Applies fully connected layers one after the other.
///
/// # Shapes
/// `[B, inputs]` to `[B, outputs]` of the last layer.
///
/// # Panics
/// If the layers do not [`fit`] together, as Burn's matrix product panics.
#[must_use]
pub fn mlp(x: Tensor<2>, layers: &[DenseLayer]) -> Tensor<2> {
    let [rows, width] = x.dims();
    let empty = layers.iter().any(|layer| layer.inputs * layer.outputs == 0);
    if empty || !fit(width, layers) {
        return layers.iter().fold(x, |x, layer| layer.forward(x));
    }
    layers.chunks(LONGEST).fold(x, |x, chain| match chain.len() {
        1 => chain_of::<3>(x, rows, chain),
        2 => chain_of::<5>(x, rows, chain),
        3 => chain_of::<7>(x, rows, chain),
        4 => chain_of::<9>(x, rows, chain),
        5 => chain_of::<11>(x, rows, chain),
        _ => chain_of::<13>(x, rows, chain),
    })
}

/// Maximum number of layers per operation. Longer chains are split.
const LONGEST: usize = 6;

/// Applies a chain whose rows and parameters are `N` tensors.
fn chain_of<const N: usize>(x: Tensor<2>, rows: usize, chain: &[DenseLayer]) -> Tensor<2> {
    let x = AnyTensor::from(x);
    let operands =
        array::from_fn(|index| match index.checked_sub(1).map(|i| (&chain[i / 2], i % 2)) {
            None => &x,
            Some((layer, 0)) => &layer.weight,
            Some((layer, _)) => &layer.bias,
        });
    let op = MlpOp { layers: chain.iter().map(DenseLayer::layer).collect() };
    let outputs = chain.last().map_or(0, |layer| layer.outputs);
    match apply::<_, N, 2>(op, operands, [rows, outputs]) {
        Some((y, _)) => y,
        None => chain.iter().fold(x.into_float_unchecked(), |x, layer| layer.forward(x)),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use proptest::prelude::*;

    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn layers(widths: &[usize], activation: DenseActivation, device: &Device) -> Vec<DenseLayer> {
        let uniform = Distribution::Uniform(-0.4, 0.4);
        let layer = |pair: &[usize]| {
            let weight = Tensor::random([pair[0], pair[1]], uniform, device).require_grad();
            let bias = Tensor::random([pair[1]], uniform, device).require_grad();
            DenseLayer::new(weight, bias, activation).unwrap()
        };
        let mut layers: Vec<_> = widths.windows(2).map(layer).collect();
        layers.last_mut().unwrap().activation = DenseActivation::Linear;
        layers
    }

    /// Outputs and all gradients.
    fn run(x: &Tensor<2>, layers: &[DenseLayer], plain: bool) -> Vec<Vec<f32>> {
        let x = x.clone().require_grad();
        let y = match plain {
            true => layers.iter().fold(x.clone(), |x, l| {
                let bias = l.bias.float::<1>().unwrap().unsqueeze();
                let y = x.matmul(l.weight.float().unwrap()) + bias;
                match l.activation {
                    DenseActivation::Linear => y,
                    DenseActivation::Relu => burn::tensor::activation::relu(y),
                    DenseActivation::Tanh => y.tanh(),
                }
            }),
            false => mlp(x.clone(), layers),
        };
        let gradients = y.clone().square().mean().backward();
        let mut found = vec![to_f32(y).unwrap(), to_f32(x.grad(&gradients).unwrap()).unwrap()];
        for layer in layers {
            let (weight, bias) = (layer.weight.float::<2>(), layer.bias.float::<1>());
            found.push(to_f32(weight.unwrap().grad(&gradients).unwrap()).unwrap());
            found.push(to_f32(bias.unwrap().grad(&gradients).unwrap()).unwrap());
        }
        found
    }

    fn check(rows: usize, widths: &[usize], activation: DenseActivation) {
        let device = Device::flex().autodiff();
        let x = Tensor::random([rows, widths[0]], Distribution::Uniform(-1.0, 1.0), &device);
        let layers = layers(widths, activation, &device);
        let (fused, plain) = (run(&x, &layers, false), run(&x, &layers, true));
        for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(b) {
                let close = (a - b).abs() < 1e-5 * (1.0 + b.abs());
                assert!(close, "tensor {index} of {rows} rows, {widths:?}: {a} and {b}");
            }
        }
        // Without gradients, nothing is kept between layers.
        let inner = |l: &DenseLayer| {
            let (weight, bias) = (l.weight.float::<2>().unwrap(), l.bias.float::<1>().unwrap());
            DenseLayer::new(weight.inner(), bias.inner(), l.activation).unwrap()
        };
        let inner: Vec<_> = layers.iter().map(inner).collect();
        assert_eq!(to_f32(mlp(x.inner(), &inner)).unwrap(), fused[0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn values_and_gradients_equal_the_plain_composition(
            rows in 1usize..70,
            widths in proptest::collection::vec(1usize..40, 2..8),
            relu in any::<bool>(),
        ) {
            let activation = if relu { DenseActivation::Relu } else { DenseActivation::Tanh };
            check(rows, &widths, activation);
        }
    }

    #[test]
    fn the_gradient_of_a_parameter_is_the_sum_over_all_operations_that_use_it() {
        let device = Device::flex().autodiff();
        let layers = layers(&[3, 4, 2], DenseActivation::Tanh, &device);
        let x = Tensor::<2>::random([5, 3], Distribution::Uniform(-1.0, 1.0), &device);
        let of = |loss: Tensor<1>| {
            let gradients = loss.backward();
            layers
                .iter()
                .map(|layer| {
                    let weight = layer.weight.float::<2>().unwrap();
                    weight.grad(&gradients).map(|gradient| to_f32(gradient).unwrap())
                })
                .collect::<Vec<_>>()
        };
        let once = of(mlp(x.clone(), &layers).sum());
        let last = layers[1].weight.float::<2>().unwrap();
        let all = of(mlp(x.clone(), &layers).sum() + mlp(x, &layers).sum() + last.sum());
        for (index, (once, all)) in once.iter().zip(&all).enumerate() {
            let (once, all) = (once.as_ref().unwrap(), all.as_ref().unwrap());
            for (once, all) in once.iter().zip(all) {
                let expected = 2.0 * once + index as f32;
                assert!((all - expected).abs() < 1e-5, "layer {index}: {all}, not {expected}");
            }
        }
    }

    #[test]
    fn the_sizes_that_are_split_among_threads_equal_the_plain_composition() {
        check(600, &[4, 64, 64, 2], DenseActivation::Tanh);
        check(300, &[64, 256, 100, 6], DenseActivation::Relu);
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let device = Device::flex().autodiff();
        for activation in [DenseActivation::Relu, DenseActivation::Tanh] {
            let layers = layers(&[2, 3, 1], activation, &device);
            let x = Tensor::from_floats([[f32::NAN, 1.0], [0.0, 1.0]], &device);
            let y = to_f32(mlp(x, &layers)).unwrap();
            assert!(y[0].is_nan() && y[1].is_finite(), "{y:?}");
        }
    }
}
