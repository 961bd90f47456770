//! `tanh` on Burn's CPU backend.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::prelude::*;
use burn::tensor::DType;

type Plain = FloatTensor<Flex>;
type Tracked = FloatTensor<Autodiff<Flex, NoCheckpointing>>;

/// Whether the tensor is one of 32-bit floats on this backend.
pub(super) fn applies<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device() == Device::flex()
}

/// The operation, for tensors that it applies to.
pub(super) fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // A tensor of an unexpected form (checkpointed autodiff) takes Burn's own operation.
    if x.device().is_autodiff() {
        match x.clone().try_into_primitive::<Autodiff<Flex, NoCheckpointing>>() {
            Ok(tracked) => {
                Tensor::from_primitive::<Autodiff<Flex, NoCheckpointing>>(record(tracked))
            }
            Err(_) => x.tanh(),
        }
    } else {
        match x.clone().try_into_primitive::<Flex>() {
            Ok(plain) => {
                // The last other owner: the kernel may work in place.
                drop(x);
                Tensor::from_primitive::<Flex>(forward(plain))
            }
            Err(_) => x.tanh(),
        }
    }
}

/// Numerator and denominator of the rational function, highest power first, in powers of x²; the
/// numerator is multiplied by x once more. Minimax coefficients for f32 as used by Eigen.
const NUMERATOR: [f32; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297e-8,
    1.485_722_4e-5,
    6.372_619e-4,
    4.893_524_6e-3,
];
const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347e-4, 2.268_434_6e-3, 4.893_525e-3];

/// Beyond this the result is ±1 to the precision of f32.
const SATURATION: f32 = 7.905_311;

#[inline]
fn horner(coefficients: &[f32], x: f32) -> f32 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// No branch and no call, so that a loop over it vectorises. NaN stays NaN.
#[inline]
fn scalar(x: f32) -> f32 {
    let x = x.clamp(-SATURATION, SATURATION);
    let square = x * x;
    x * horner(&NUMERATOR, square) / horner(&DENOMINATOR, square)
}

fn forward(x: Plain) -> Plain {
    let mut y = x.to_contiguous();
    drop(x);
    for value in y.storage_mut::<f32>() {
        *value = scalar(*value);
    }
    y
}

/// `∂L/∂x = ∂L/∂y · (1 − y²)`.
fn backward(y: &Plain, gradient: Plain) -> Plain {
    let mut gradient = gradient.to_contiguous();
    let y = y.to_contiguous();
    for (g, y) in gradient.storage_mut::<f32>().iter_mut().zip(y.storage::<f32>()) {
        *g *= 1.0 - y * y;
    }
    gradient
}

/// The step of the backward pass; its state is the output `y`.
#[derive(Debug)]
struct TanhBackward;

impl Backward<Flex, 1> for TanhBackward {
    type State = Plain;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [parent] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(parent) = parent {
            gradients.register::<Flex>(parent.id, backward(&ops.state, gradient));
        }
    }
}

fn record(x: Tracked) -> Tracked {
    let (x, node) = x.into_parts();
    match TanhBackward.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let y = forward(x);
            step.finish(y.clone(), y)
        }
        OpsKind::UnTracked(step) => step.finish(forward(x)),
    }
}

#[cfg(test)]
mod tests {
    use crate::any_tensor::to_f32;

    use super::*;

    fn inputs() -> Vec<f32> {
        let dense = (-4000..4000).map(|i| i as f32 * 0.0025);
        dense.chain([0.0, -0.0, 1e-30, 1e-8, 20.0, -20.0, 1e30, f32::MAX, f32::INFINITY]).collect()
    }

    fn largest_difference(a: Vec<f32>, b: Vec<f32>) -> f32 {
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn values_equal_the_plain_operation() {
        let x = Tensor::<1>::from_floats(&inputs()[..], &Device::flex());
        let (fast, plain) = (crate::kernels::tanh(x.clone()), x.tanh());
        assert!(largest_difference(to_f32(fast).unwrap(), to_f32(plain).unwrap()) < 1e-6);
        let nan = Tensor::<1>::from_floats([f32::NAN], &Device::flex());
        assert!(to_f32(crate::kernels::tanh(nan)).unwrap()[0].is_nan());
    }

    #[test]
    fn gradients_equal_the_plain_operation_also_on_views() {
        let device = Device::flex().autodiff();
        let data = TensorData::new(inputs()[..8000].to_vec(), [80, 100]);
        let run = |f: fn(Tensor<2>) -> Tensor<2>| {
            let x = Tensor::<2>::from_data(data.clone(), &device).require_grad();
            let weights = Tensor::<2>::from_data(data.clone(), &device).transpose();
            let loss = (f(x.clone().transpose()) * weights).sum();
            to_f32(x.grad(&loss.backward()).unwrap()).unwrap()
        };
        let difference = largest_difference(run(crate::kernels::tanh), run(Tensor::tanh));
        assert!(difference < 2e-5, "{difference}");
    }

    #[test]
    fn an_input_that_is_used_again_keeps_its_values() {
        let x = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex());
        crate::kernels::tanh(x.clone());
        assert_eq!(to_f32(x).unwrap(), [1.0, 2.0]);
    }
}
