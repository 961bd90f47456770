//! Layer normalization.

use burn::prelude::*;
use burn::tensor::module;
use rekindle_core::AnyTensor;

use crate::activation::DenseActivation;
use crate::cpu::LayerNormOp;
use crate::host_op::apply;

/// Normalizes each row to mean 0 and variance 1, scales and shifts its elements, and applies an activation (Ba et al.,
/// 2016). The variance divides by the number of elements, not by one less, and `epsilon` is added to it.
///
/// # Shapes
/// `x`: `[B, features]`; `scale`, `shift`: `[features]`; result `[B, features]`.
///
/// # Panics
/// If the shapes do not fit together, as Burn's `layer_norm` panics.
#[must_use]
pub fn layer_norm(
    x: Tensor<2>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
    activation: DenseActivation,
) -> Tensor<2> {
    let shape = x.dims();
    let width = shape[1];
    let fits = width > 0 && scale.dims() == [width] && shift.dims() == [width];
    let [x, scale, shift] = [AnyTensor::from(x), scale.into(), shift.into()];
    let op = LayerNormOp { width, epsilon: epsilon as f32, activation };
    match fits.then(|| apply(op, [&x, &scale, &shift], shape)).flatten() {
        Some((y, _)) => y,
        None => {
            let (scale, shift) = (scale.into_float_unchecked(), shift.into_float_unchecked());
            let x = x.into_float_unchecked::<2>();
            activation.forward(module::layer_norm(x, scale, Some(shift), epsilon))
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use proptest::prelude::*;
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::eager;

    const ALL: [DenseActivation; 3] =
        [DenseActivation::Linear, DenseActivation::Relu, DenseActivation::Tanh];

    /// Outputs and the gradients of rows, scale and shift.
    fn run(rows: usize, width: usize, activation: DenseActivation, plain: bool) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 400.0 - 1.2).collect()
        };
        let x = TensorData::new(numbers(rows * width, 1), [rows, width]);
        let x = Tensor::<2>::from_data(x, &device).require_grad();
        let of = |seed| Tensor::<1>::from_floats(&numbers(width, seed)[..], &device).require_grad();
        let (scale, shift) = (of(2), of(3));
        let _eager = eager::scope(plain);
        let y = layer_norm(x.clone(), scale.clone(), shift.clone(), 1e-3, activation);
        let weights = TensorData::new(numbers(rows * width, 4), [rows, width]);
        let gradients = (y.clone() * Tensor::from_data(weights, &device)).sum().backward();
        [
            to_f32(y).unwrap(),
            to_f32(x.grad(&gradients).unwrap()).unwrap(),
            to_f32(scale.grad(&gradients).unwrap()).unwrap(),
            to_f32(shift.grad(&gradients).unwrap()).unwrap(),
        ]
    }

    fn check(rows: usize, width: usize, activation: DenseActivation) {
        let (fused, plain) =
            (run(rows, width, activation, false), run(rows, width, activation, true));
        for (index, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
            let largest = plain.iter().fold(1.0f32, |most, x| most.max(x.abs()));
            assert_eq!(fused.len(), plain.len());
            for (a, b) in fused.iter().zip(plain) {
                let is_close = (a - b).abs() < 2e-5 * largest;
                assert!(is_close, "{index}, {rows} × {width}, {activation:?}: {a} and {b}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn values_and_gradients_equal_the_plain_composition(
            rows in 1usize..70,
            width in 2usize..80,
            activation in prop::sample::select(&ALL[..]),
        ) {
            check(rows, width, activation);
        }
    }

    #[test]
    fn sizes_that_are_split_among_threads_equal_the_plain_composition() {
        for activation in ALL {
            check(700, 64, activation);
            check(3, 20_000, activation);
        }
    }

    #[test]
    fn rows_that_are_no_numbers_stay_so_and_equal_elements_become_the_shift() {
        let device = Device::flex();
        let x = Tensor::<2>::from_floats([[f32::NAN, 1.0], [3.0, 3.0]], &device);
        let of = |value: f32| Tensor::<1>::from_floats([value; 2], &device);
        let y = layer_norm(x, of(2.0), of(0.5), 1e-3, DenseActivation::Linear);
        let y = to_f32(y).unwrap();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2..] == [0.5, 0.5], "{y:?}");
    }

    #[test]
    fn without_gradients_the_values_are_the_same() {
        let device = Device::flex();
        let x = Tensor::<2>::random([40, 30], Distribution::Default, &device);
        let of = |value: f32| Tensor::<1>::full([30], value, &device);
        let run = |plain| {
            let _eager = eager::scope(plain);
            to_f32(layer_norm(x.clone(), of(1.5), of(-0.2), 1e-5, DenseActivation::Tanh)).unwrap()
        };
        for (a, b) in run(false).iter().zip(run(true)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
