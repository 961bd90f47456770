//! Fully connected layers.

use std::array;

use burn::prelude::*;

use super::cpu::{Layer, Mlp};
use super::host_op::{Operand, apply};

/// An activation that the gradient of a fused layer knows; it follows from the output alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenseActivation {
    /// None.
    Linear,
    /// `max(0, x)`.
    Relu,
    /// `tanh(x)`.
    Tanh,
}

impl DenseActivation {
    fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear => x,
            Self::Relu => burn::tensor::activation::relu(x),
            Self::Tanh => super::tanh(x),
        }
    }
}

/// A fully connected layer and its activation.
#[derive(Debug, Clone)]
pub struct Dense {
    /// `[inputs, outputs]`, as Burn's `Linear` keeps it.
    pub weight: Tensor<2>,
    /// `[outputs]`.
    pub bias: Tensor<1>,
    /// Applied to the outputs.
    pub activation: DenseActivation,
}

/// Applies fully connected layers one after the other.
///
/// # Shapes
/// `[B, inputs]` to `[B, outputs]` of the last layer.
pub fn mlp(x: Tensor<2>, layers: &[Dense]) -> Tensor<2> {
    if let Some(y) = fused(&x, layers) {
        return y;
    }
    layers.iter().fold(x, |x, layer| {
        let y = burn::tensor::module::linear(x, layer.weight.clone(), Some(layer.bias.clone()));
        layer.activation.forward(y)
    })
}

/// Longer chains are several operations.
const LONGEST: usize = 6;

/// The outputs, where fused layers apply.
fn fused(x: &Tensor<2>, layers: &[Dense]) -> Option<Tensor<2>> {
    let mut outputs = None;
    for chain in layers.chunks(LONGEST) {
        let x = outputs.as_ref().unwrap_or(x);
        outputs = Some(match chain.len() {
            1 => chain_of::<3>(x, chain),
            2 => chain_of::<5>(x, chain),
            3 => chain_of::<7>(x, chain),
            4 => chain_of::<9>(x, chain),
            5 => chain_of::<11>(x, chain),
            _ => chain_of::<13>(x, chain),
        }?);
    }
    outputs
}

/// A chain whose rows and parameters are `N` tensors.
fn chain_of<const N: usize>(x: &Tensor<2>, chain: &[Dense]) -> Option<Tensor<2>> {
    let [rows, mut width] = x.dims();
    let mut layers = Vec::with_capacity(chain.len());
    for Dense { weight, bias, activation } in chain {
        let [inputs, outputs] = weight.dims();
        // Burn reports a mismatch better.
        if inputs != width || bias.dims() != [outputs] || inputs * outputs == 0 {
            return None;
        }
        layers.push(Layer { inputs, outputs, activation: *activation });
        width = outputs;
    }
    let operands =
        array::from_fn(|index| match index.checked_sub(1).map(|i| (&chain[i / 2], i % 2)) {
            None => Operand::new(x),
            Some((layer, 0)) => Operand::new(&layer.weight),
            Some((layer, _)) => Operand::new(&layer.bias),
        });
    let (y, _) = apply::<_, N, 2>(Mlp { layers }, operands, [rows, width])?;
    Some(y)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use proptest::prelude::*;

    use crate::any_tensor::to_f32;

    use super::*;

    fn layers(widths: &[usize], activation: DenseActivation, device: &Device) -> Vec<Dense> {
        let layer = |pair: &[usize]| Dense {
            weight: Tensor::random([pair[0], pair[1]], Distribution::Uniform(-0.4, 0.4), device)
                .require_grad(),
            bias: Tensor::random([pair[1]], Distribution::Uniform(-0.4, 0.4), device)
                .require_grad(),
            activation,
        };
        let mut layers: Vec<_> = widths.windows(2).map(layer).collect();
        layers.last_mut().unwrap().activation = DenseActivation::Linear;
        layers
    }

    /// Outputs and all gradients.
    fn run(x: &Tensor<2>, layers: &[Dense], plain: bool) -> Vec<Vec<f32>> {
        let x = x.clone().require_grad();
        let y = match plain {
            true => layers.iter().fold(x.clone(), |x, l| {
                let y = x.matmul(l.weight.clone()) + l.bias.clone().unsqueeze();
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
            found.push(to_f32(layer.weight.grad(&gradients).unwrap()).unwrap());
            found.push(to_f32(layer.bias.grad(&gradients).unwrap()).unwrap());
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
        let inner = |l: &Dense| Dense {
            weight: l.weight.clone().inner(),
            bias: l.bias.clone().inner(),
            activation: l.activation,
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
