//! Adam, in place where the parameters are in host memory.

use burn::prelude::*;

use crate::AnyTensor;

/// The constants of a step of Adam (Kingma and Ba, 2015, algorithm 1).
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
    /// Which step it is, from 1 on.
    pub time: usize,
}

impl AdamStep {
    /// `√(1 − β₂ᵗ)` and the factor of the first moment, `√(1 − β₂ᵗ) / (1 − β₁ᵗ)`.
    fn corrections(&self) -> (f32, f32) {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        let root = (1.0 - self.beta_2.powi(time)).sqrt();
        (root, root / (1.0 - self.beta_1.powi(time)))
    }
}

/// One step of a parameter; returns it and its first and second moment.
///
/// # Shapes
/// All of one shape.
pub fn adam<const D: usize>(
    step: &AdamStep,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
) -> [Tensor<D>; 3] {
    #[cfg(feature = "flex")]
    {
        let gradient = AnyTensor::from(gradient);
        let changed = [parameter.into(), first.into(), second.into()];
        return match host::adam(step, changed, &gradient) {
            Ok(changed) => changed.map(AnyTensor::restore),
            Err(same) => {
                let [parameter, first, second] = same.map(AnyTensor::restore);
                plain(step, parameter, gradient.restore(), [first, second])
            }
        };
    }
    #[cfg(not(feature = "flex"))]
    plain(step, parameter, gradient, [first, second])
}

fn plain<const D: usize>(
    step: &AdamStep,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
) -> [Tensor<D>; 3] {
    let (root, factor) = step.corrections();
    let first = first * step.beta_1 + gradient.clone() * (1.0 - step.beta_1);
    let second = second * step.beta_2 + gradient.square() * (1.0 - step.beta_2);
    let divisor = second.clone().sqrt() + step.epsilon * root;
    let change = first.clone() * (factor * step.lr as f32) / divisor;
    [parameter - change, first, second]
}

/// The sum of the squares of all elements of some tensors, in double precision; `None` if one of
/// them is not of 32-bit floats in host memory without gradients.
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
    use super::AdamStep;
    use crate::AnyTensor;
    use crate::kernels::cpu;
    use crate::kernels::host_op::flex::{Plain, as_plain, from_plain, into_plain, row_major};

    /// The step of a parameter and its moments, in place where nobody else has the storage; the
    /// tensors as they were if they are not all in host memory and of one shape.
    pub(super) fn adam(
        step: &AdamStep,
        changed: [AnyTensor; 3],
        gradient: &AnyTensor,
    ) -> Result<[AnyTensor; 3], [AnyTensor; 3]> {
        let gradient = as_plain(gradient).map(row_major);
        let mut changed = changed.map(into_plain);
        if let Some(gradient) = gradient
            && let [Ok(parameter), Ok(first), Ok(second)] = &mut changed
            && let of_gradient = gradient.layout().shape()
            && [&*parameter, first, second].iter().all(|t| t.layout().shape() == of_gradient)
        {
            let (root, factor) = step.corrections();
            cpu::adam(
                step,
                [factor * step.lr as f32, step.epsilon * root],
                parameter.storage_mut(),
                gradient.as_slice().unwrap_or_default(),
                [first.storage_mut(), second.storage_mut()],
            );
            return Ok(changed.map(tensor));
        }
        Err(changed.map(tensor))
    }

    fn tensor(plain: Result<Plain, AnyTensor>) -> AnyTensor {
        plain.map_or_else(|same| same, from_plain)
    }

    pub(super) fn square_sum<'a>(tensors: impl Iterator<Item = &'a AnyTensor>) -> Option<f64> {
        tensors.map(|tensor| Some(cpu::square_sum(as_plain(tensor)?.as_slice()?))).sum()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use crate::any_tensor::to_f32;

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
            let [parameter, first, second] = adam(&step, fused.0, gradient.clone(), fused.1);
            fused = (parameter, [first, second]);
            let [parameter, first, second] = plain(&step, composed.0, gradient, composed.1);
            composed = (parameter, [first, second]);
        }
        let (fused, composed) = (to_f32(fused.0).unwrap(), to_f32(composed.0).unwrap());
        assert!(fused.iter().zip(&composed).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_ne!(fused, before);
        assert_eq!(to_f32(start).unwrap(), before);
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
        let sum = square_sum(tensors.iter()).unwrap();
        assert!((sum / 3e50 - 1.0).abs() < 1e-6, "{sum}");
    }
}
