//! `tanh`.

use burn::prelude::*;

use crate::cpu::Tanh;
use crate::host_op::apply;
use rekindle_core::AnyTensor;

/// Returns the hyperbolic tangent of every element.
///
/// Burn's CPU backend calls the scalar `tanh` of the C library. On the CPU this function evaluates a
/// rational approximation with vector instructions instead, with an error below 1e-6.
///
/// # Shapes
/// Any shape; the result has the same.
#[must_use]
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let (shape, x) = (x.dims(), AnyTensor::from(x));
    match apply(Tanh, [&x], shape) {
        Some((y, _)) => y,
        None => x.into_float_unchecked::<D>().tanh(),
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

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
        let (fast, plain) = (tanh(x.clone()), x.tanh());
        assert!(largest_difference(to_f32(fast).unwrap(), to_f32(plain).unwrap()) < 1e-6);
        let nan = Tensor::<1>::from_floats([f32::NAN], &Device::flex());
        assert!(to_f32(tanh(nan)).unwrap()[0].is_nan());
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
        let difference = largest_difference(run(tanh), run(Tensor::tanh));
        assert!(difference < 2e-5, "{difference}");
    }

    #[test]
    fn an_input_that_is_used_again_keeps_its_values() {
        let x = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex());
        let _ = tanh(x.clone());
        assert_eq!(to_f32(x).unwrap(), [1.0, 2.0]);
    }
}
