//! Moving averages of parameters, in place for parameters in host memory.

use burn::prelude::*;

#[cfg(feature = "flex")]
use crate::eager::is_eager;
#[cfg(feature = "flex")]
use crate::host_op::flex::in_place;
#[cfg(feature = "flex")]
use rekindle_core::AnyTensor;

/// Moves `target` towards `main`: `τ·main + (1 − τ)·target` (Polyak and Juditsky, 1992). With `tau` 1, the
/// result is `main`, also where `target` is not finite.
///
/// The average is computed in place for tensors in host memory whose storage has one owner, except in an
/// [`eager`](crate::eager) scope.
///
/// # Shapes
/// Both of one shape, without gradients.
pub fn polyak<const D: usize>(tau: f64, main: Tensor<D>, target: Tensor<D>) -> Tensor<D> {
    if tau == 1.0 {
        return main;
    }
    #[cfg(feature = "flex")]
    if !is_eager() {
        let shares = [tau as f32, (1.0 - tau) as f32];
        let main = AnyTensor::from(main);
        return match in_place([target.into()], &main, |[target], main| {
            crate::cpu::polyak(shares, main, target);
        }) {
            Ok([target]) => target.into_float_unchecked(),
            Err([target]) => plain(tau, main.into_float_unchecked(), target.into_float_unchecked()),
        };
    }
    plain(tau, main, target)
}

fn plain<const D: usize>(tau: f64, main: Tensor<D>, target: Tensor<D>) -> Tensor<D> {
    main.mul_scalar(tau) + target.mul_scalar(1.0 - tau)
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::eager;

    fn matrix(factor: f32, shape: [usize; 2]) -> Tensor<2> {
        let values: Vec<f32> =
            (0..shape[0] * shape[1]).map(|i| (i as f32).sin() * factor).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    #[test]
    fn averages_in_place_equal_the_plain_operations_bit_for_bit() {
        for shape in [[1, 1], [3, 7], [64, 33]] {
            let (main, target) = (matrix(1.0, shape), matrix(-3.0, shape));
            let views = [(main.clone(), target.clone()), (main.transpose(), target.transpose())];
            for (main, target) in views {
                let fused = polyak(0.005, main.clone(), target.clone());
                let _eager = eager::scope(true);
                let plain = polyak(0.005, main.clone(), target.clone());
                assert_eq!(to_f32(fused).unwrap(), to_f32(plain).unwrap());
            }
        }
    }

    #[test]
    fn other_owners_of_a_target_keep_their_values() {
        let target = matrix(2.0, [2, 3]);
        let before = to_f32(target.clone()).unwrap();
        drop(polyak(0.5, matrix(1.0, [2, 3]), target.clone()));
        assert_eq!(to_f32(target).unwrap(), before);
    }

    #[test]
    fn tau_1_is_a_copy_also_of_a_target_that_is_not_finite() {
        let main = matrix(1.0, [2, 2]);
        let target = Tensor::full([2, 2], f32::NAN, &Device::flex());
        assert_eq!(to_f32(polyak(1.0, main.clone(), target)).unwrap(), to_f32(main).unwrap());
    }
}
