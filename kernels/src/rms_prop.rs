//! Steps of RMSprop, in place for parameters in host memory.

use burn::prelude::*;

#[cfg(feature = "flex")]
use rekindle_core::AnyTensor;

/// The settings of a step of RMSprop (Tieleman and Hinton, 2012), in PyTorch's form: `epsilon` is added to the
/// root.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsPropStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the average of squared gradients.
    pub alpha: f32,
    /// Added to the root of the average.
    pub epsilon: f32,
}

/// Takes one step of RMSprop in place. Returns the parameter and the average of squared gradients, or the tensors
/// as they were (parameter, gradient, average) if they are not in host memory, or in an
/// [`eager`](crate::eager) scope.
///
/// Finite values stay finite: squares of gradients count up to 1e38, and an element whose step is not finite
/// keeps its value and its average.
///
/// # Shapes
/// Parameter, gradient and average have the same shape.
#[expect(clippy::result_large_err, reason = "the tensors themselves are the error")]
pub fn rms_prop<const D: usize>(
    step: &RmsPropStep,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    average: Tensor<D>,
) -> Result<[Tensor<D>; 2], [Tensor<D>; 3]> {
    #[cfg(feature = "flex")]
    if !crate::eager::is_eager() {
        let gradient = AnyTensor::from(gradient);
        let changed = [parameter.into(), average.into()];
        let kernel = |[parameter, average]: [&mut [f32]; 2], gradient: &[f32]| {
            crate::cpu::rms_prop(step, parameter, gradient, average);
        };
        return match crate::host_op::flex::in_place(changed, &gradient, kernel) {
            Ok(changed) => Ok(changed.map(AnyTensor::into_float_unchecked)),
            Err(same) => {
                let [parameter, average] = same.map(AnyTensor::into_float_unchecked);
                Err([parameter, gradient.into_float_unchecked(), average])
            }
        };
    }
    let _ = step;
    Err([parameter, gradient, average])
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use proptest::prelude::*;
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::LARGEST_SQUARE;

    fn run(step: &RmsPropStep, p: &[f32], g: &[f32], v: &[f32]) -> [Vec<f32>; 2] {
        let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &Device::flex());
        let changed = rms_prop(step, tensor(p), tensor(g), tensor(v)).unwrap();
        changed.map(|tensor| to_f32(tensor).unwrap())
    }

    proptest! {
        #[test]
        fn each_element_follows_the_formula(
            elements in proptest::collection::vec((-2.0f32..2.0, -3.0f32..3.0, 0.0f32..4.0), 1..70),
        ) {
            let step = RmsPropStep { lr: 7e-4, alpha: 0.99, epsilon: 1e-5 };
            let of = |f: fn(&(f32, f32, f32)) -> f32| elements.iter().map(f).collect::<Vec<_>>();
            let [p, v] = run(&step, &of(|e| e.0), &of(|e| e.1), &of(|e| e.2));
            for (index, &(before, g, average)) in elements.iter().enumerate() {
                let next = average * step.alpha + g * g * (1.0 - step.alpha);
                let expected = before - step.lr as f32 * g / (next.sqrt() + step.epsilon);
                prop_assert!((v[index] - next).abs() <= 1e-6 * (1.0 + next));
                prop_assert!((p[index] - expected).abs() <= 1e-6 * (1.0 + expected.abs()));
            }
        }
    }

    #[test]
    fn elements_whose_step_is_not_finite_keep_their_values() {
        let step = RmsPropStep { lr: 0.1, alpha: 0.9, epsilon: 1e-8 };
        let gradients: Vec<f32> = [f32::NAN, f32::INFINITY, 1.0, f32::MAX].repeat(9);
        let [p, v] = run(&step, &[1.0; 36], &gradients, &[0.5; 36]);
        assert!(p.iter().chain(&v).all(|value| value.is_finite()), "{p:?} {v:?}");
        assert_eq!(p[..2], [1.0, 1.0]);
        assert_eq!(v[..2], [0.5, 0.5]);
        assert!(p[2] < 1.0 && (v[2] - 0.55).abs() < 1e-6 && v[3] <= LARGEST_SQUARE);
    }

    #[test]
    fn an_eager_scope_leaves_the_step_to_plain_operations() {
        let step = RmsPropStep { lr: 0.1, alpha: 0.9, epsilon: 1e-8 };
        let one = || Tensor::<1>::from_floats([1.0], &Device::flex());
        let _eager = crate::eager::scope(true);
        assert!(rms_prop(&step, one(), one(), one()).is_err());
    }
}
