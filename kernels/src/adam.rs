//! Steps of Adam, in place for parameters in host memory.

use burn::prelude::*;

use rekindle_core::AnyTensor;

#[cfg(feature = "flex")]
use crate::eager::is_eager;
#[cfg(feature = "flex")]
use crate::host_op::flex::{in_place, into_plain, recycle};

/// Squares of gradients count up to this, so that a second moment is always finite.
pub const LARGEST_SQUARE: f32 = 1e38;

/// The settings of a step of Adam (Kingma and Ba, 2015, algorithm 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the corrected second moment.
    pub epsilon: f32,
    /// Number of the step, from 1.
    pub time: usize,
}

impl AdamStep {
    /// Returns the learning rate and `epsilon`, corrected for the bias of the moments:
    /// `lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ)` and `ε·√(1 − β₂ᵗ)`.
    fn corrected(&self) -> [f32; 2] {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        let root = (1.0 - self.beta_2.powi(time)).sqrt();
        let factor = root / (1.0 - self.beta_1.powi(time));
        // If the product rounded to 0, the step of a parameter with zero gradient would be 0 / 0.
        [factor * self.lr as f32, (self.epsilon * root).max(f32::MIN_POSITIVE)]
    }
}

/// A decision of the device whether a step is taken. The host issues the step in either case, and a
/// rejected step changes nothing.
#[derive(Debug)]
pub struct StepGuard {
    refused: Tensor<1, Bool>,
    weight: Tensor<1>,
}

impl StepGuard {
    /// Creates a guard that takes the step if `taken` (`[1]`) is true.
    #[must_use]
    pub fn new(taken: Tensor<1, Bool>) -> Self {
        Self { refused: taken.clone().bool_not(), weight: taken.float() }
    }

    /// Returns the gradient if the step is taken, and zeros otherwise, also in place of NaN.
    #[must_use]
    pub fn gradient<const D: usize>(&self, gradient: Tensor<D>) -> Tensor<D> {
        gradient.mask_fill(self.refused.clone().reshape([1; D]), 0.0)
    }

    /// Returns the change if the step is taken, and zeros otherwise.
    #[must_use]
    pub fn change<const D: usize>(&self, change: Tensor<D>) -> Tensor<D> {
        change * self.weight.clone().reshape([1; D])
    }
}

/// Takes one step of Adam, if there is no `guard` or it agrees. Returns the parameter and its first and
/// second moment.
///
/// The step is in place for tensors in host memory whose storage has one owner, except in an
/// [`eager`](crate::eager) scope.
///
/// Finite values stay finite: squares of gradients count up to 1e38, and an element whose step is
/// not finite keeps its value and its moments (with a guard it gets the nearest finite value).
///
/// # Shapes
/// Parameter, gradient and moments have the same shape.
pub fn adam<const D: usize>(
    step: &AdamStep,
    guard: Option<&StepGuard>,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
) -> [Tensor<D>; 3] {
    #[cfg(feature = "flex")]
    if guard.is_none() && !is_eager() {
        let gradient = AnyTensor::from(gradient);
        let changed = [parameter.into(), first.into(), second.into()];
        let corrected = step.corrected();
        return match in_place(changed, &gradient, |[parameter, first, second], gradient| {
            crate::cpu::adam(step, corrected, parameter, gradient, [first, second]);
        }) {
            Ok(changed) => {
                into_plain(gradient).into_iter().for_each(recycle);
                changed.map(AnyTensor::into_float_unchecked)
            }
            Err(same) => {
                let [parameter, first, second] = same.map(AnyTensor::into_float_unchecked);
                plain(step, None, parameter, gradient.into_float_unchecked(), [first, second])
            }
        };
    }
    plain(step, guard, parameter, gradient, [first, second])
}

fn plain<const D: usize>(
    step: &AdamStep,
    guard: Option<&StepGuard>,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
) -> [Tensor<D>; 3] {
    let [rate, epsilon] = step.corrected();
    let guarded = |change: Tensor<D>| match guard {
        Some(guard) => guard.change(change),
        None => change,
    };
    let gradient = match guard {
        Some(guard) => guard.gradient(gradient),
        None => gradient,
    };
    let towards = |moment: Tensor<D>, value: Tensor<D>, decay: f32| {
        moment.clone() + guarded((value - moment) * (1.0 - decay))
    };
    let next_first = towards(first.clone(), gradient.clone(), step.beta_1);
    let square = gradient.square().clamp_max(LARGEST_SQUARE);
    let next_second = towards(second.clone(), square, step.beta_2);
    let divisor = next_second.clone().sqrt() + epsilon;
    let change = next_first.clone() * rate / divisor;
    let next = parameter.clone() - guarded(change);
    if guard.is_some() {
        // A check that all elements are finite would take several passes on a device.
        return [next.clamp(-f32::MAX, f32::MAX), next_first, next_second];
    }
    let finite = next.clone().is_finite();
    [
        parameter.mask_where(finite.clone(), next),
        first.mask_where(finite.clone(), next_first),
        second.mask_where(finite, next_second),
    ]
}

/// Takes one step of gradient descent, `p − lr·g`, if `guard` accepts it.
///
/// An element whose step is not finite keeps its value, or, with a guard, gets the nearest finite
/// one.
///
/// # Shapes
/// All of one shape.
#[must_use]
pub fn sgd<const D: usize>(
    lr: f64,
    guard: Option<&StepGuard>,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    match guard {
        Some(guard) => {
            let next = parameter - guard.gradient(gradient).mul_scalar(lr);
            next.clamp(-f32::MAX, f32::MAX)
        }
        None => {
            let next = parameter.clone() - gradient.mul_scalar(lr);
            parameter.mask_where(next.clone().is_finite(), next)
        }
    }
}

/// Returns the sum of the squares of all elements of the tensors, in double precision.
///
/// `None` if a tensor is not in host memory, does not have 32-bit floats, or tracks gradients.
#[must_use]
pub fn square_sum<'a>(tensors: impl Iterator<Item = &'a AnyTensor>) -> Option<f64> {
    #[cfg(feature = "flex")]
    return host::square_sum(tensors);
    #[cfg(not(feature = "flex"))]
    {
        let _ = tensors;
        None
    }
}

#[cfg(feature = "flex")]
mod host {
    use crate::cpu;
    use crate::host_op::flex::{as_plain, row_major};
    use rekindle_core::AnyTensor;

    pub(super) fn square_sum<'a>(tensors: impl Iterator<Item = &'a AnyTensor>) -> Option<f64> {
        let of = |tensor| {
            let elements = row_major(as_plain(tensor)?);
            Some(cpu::square_sum(elements.as_slice().unwrap_or_default()))
        };
        tensors.map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn steps_equal_the_plain_rule_and_leave_shared_tensors_alone() {
        let device = Device::flex();
        let random = || Tensor::<2>::random([7, 9], Distribution::Normal(0.0, 1.0), &device);
        let start = random();
        let before = to_f32(start.clone()).unwrap();
        let zeros = || [Tensor::zeros([7, 9], &device), Tensor::zeros([7, 9], &device)];
        let (mut fused, mut composed) = ((start.clone(), zeros()), (start.clone(), zeros()));
        for time in 1..6 {
            let step = AdamStep { lr: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, time };
            let gradient = random();
            let [parameter, first, second] = adam(&step, None, fused.0, gradient.clone(), fused.1);
            fused = (parameter, [first, second]);
            let [parameter, first, second] = plain(&step, None, composed.0, gradient, composed.1);
            composed = (parameter, [first, second]);
        }
        let (fused, composed) = (to_f32(fused.0).unwrap(), to_f32(composed.0).unwrap());
        assert!(fused.iter().zip(&composed).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_ne!(fused, before);
        assert_eq!(to_f32(start).unwrap(), before);
    }

    #[test]
    fn a_guard_takes_a_step_or_changes_nothing() {
        let device = Device::flex();
        let step = AdamStep { lr: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, time: 2 };
        let tensor = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device);
        let run = |guard: Option<&StepGuard>, gradient| {
            let moments = [tensor([0.1, 0.2]), tensor([0.3, 0.4])];
            adam(&step, guard, tensor([1.0, 2.0]), tensor(gradient), moments)
                .map(|t| to_f32(t).unwrap())
        };
        let guard = |taken: bool| StepGuard::new(Tensor::from_data([taken], &device));
        let (taken, plain) = (run(Some(&guard(true)), [0.5, -0.5]), run(None, [0.5, -0.5]));
        let both = taken.iter().flatten().zip(plain.iter().flatten());
        assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{taken:?} {plain:?}");
        let refused = run(Some(&guard(false)), [f32::NAN, f32::INFINITY]);
        assert_eq!(refused, [[1.0, 2.0], [0.1, 0.2], [0.3, 0.4]]);
    }

    /// Applies one step per gradient to 9 equal elements: one vector plus a remainder on every CPU.
    fn extremes(step: &AdamStep, gradients: &[f32], is_plain: bool) -> [Vec<f32>; 3] {
        let device = Device::flex();
        let full = |value| Tensor::<1>::full([9], value, &device);
        let mut state = [full(1.0), full(0.0), full(0.0)];
        for (time, gradient) in (1..).zip(gradients) {
            let [parameter, first, second] = state;
            let step = AdamStep { time, ..*step };
            state = match is_plain {
                true => plain(&step, None, parameter, full(*gradient), [first, second]),
                false => adam(&step, None, parameter, full(*gradient), [first, second]),
            };
        }
        state.map(|tensor| to_f32(tensor).unwrap())
    }

    #[test]
    fn no_step_leaves_an_element_or_a_moment_that_is_not_finite() {
        let usual = AdamStep { lr: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, time: 1 };
        let wild = AdamStep { lr: 3e38, ..usual };
        let no_epsilon = AdamStep { epsilon: 1e-45, ..usual };
        for (step, gradients) in [
            (usual, &[2e19, 1.0][..]),
            (usual, &[-f32::MAX, 0.0]),
            (usual, &[f32::INFINITY, 1.0]),
            (usual, &[f32::NAN, 1.0]),
            (wild, &[1.0, 1.0, 1.0, 1.0, 1.0]),
            (no_epsilon, &[0.0, 0.0]),
        ] {
            for is_plain in [false, true] {
                let all = extremes(&step, gradients, is_plain);
                let finite = all.iter().flatten().all(|value| value.is_finite());
                assert!(finite, "{step:?} {gradients:?} {is_plain}: {all:?}");
            }
        }
        // A rejected step changes nothing, and a huge gradient does not freeze a parameter for
        // good.
        let after = extremes(&usual, &[f32::NAN, 1.0], false);
        assert!(after[0][0] < 1.0 && after[2][0] < 0.01, "{after:?}");
        let after = extremes(&usual, &[2e19; 4], false);
        assert!(after[0][0] < 0.5, "{after:?}");
    }

    #[test]
    fn gradient_descent_leaves_no_element_that_is_not_finite() {
        let device = Device::flex();
        let tensor = |values: [f32; 4]| Tensor::<1>::from_floats(values, &device);
        let gradients = [1.0, f32::MAX, f32::NAN, f32::NEG_INFINITY];
        let next = to_f32(sgd(2.0, None, tensor([1.0, -1.0, 2.0, 3.0]), tensor(gradients)));
        assert_eq!(next.unwrap(), [-1.0, -1.0, 2.0, 3.0]);
        let guard = StepGuard::new(Tensor::from_data([true], &device));
        let next = sgd(2.0, Some(&guard), tensor([1.0; 4]), tensor([1.0, f32::MAX, 0.0, 0.0]));
        assert_eq!(to_f32(next).unwrap(), [-1.0, -f32::MAX, 1.0, 1.0]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn square_sums_are_those_of_all_elements() {
        let device = Device::flex();
        let tensors: [AnyTensor; 2] = [
            Tensor::<2>::full([5, 7], 2.0, &device).into(),
            Tensor::<1>::full([3], 1e25, &device).into(),
        ];
        assert_eq!(square_sum(tensors[..1].iter()), Some(140.0));
        let view = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device).transpose();
        assert_eq!(square_sum([view.into()].iter()), Some(30.0), "also of a view");
        let sum = square_sum(tensors.iter()).unwrap();
        assert!((sum / 3e50 - 1.0).abs() < 1e-6, "{sum}");
    }
}
