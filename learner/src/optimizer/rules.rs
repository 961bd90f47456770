//! The rules of optimizers: one step of one parameter.

use burn::prelude::*;
use rekindle_kernels::{
    AdamStep, LARGEST_SQUARE, RAdamStep, RmsPropStep, StepGuard, adam, radam, rms_prop, sgd,
};

use super::OptimizerConfig;

/// The circumstances of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) lr: f64,
    pub(super) guard: Option<&'a StepGuard>,
    /// Number of the step, from 1.
    pub(super) time: usize,
}

impl Step<'_> {
    /// Returns the parameter and the moments of the rule after the step. `moments` are those before, in
    /// the order of [`OptimizerConfig::moments`].
    pub(super) fn take<const D: usize>(
        &self,
        rule: &OptimizerConfig,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: Vec<Tensor<D>>,
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        match (*rule, <[Tensor<D>; 2]>::try_from(moments)) {
            (OptimizerConfig::Adam { beta_1, beta_2, epsilon }, Ok(moments)) => {
                self.adam([beta_1, beta_2, epsilon], parameter, gradient, moments)
            }
            (OptimizerConfig::AdamW { beta_1, beta_2, epsilon, weight_decay }, Ok(moments)) => {
                let decayed = self.decay(self.lr * f64::from(weight_decay), parameter);
                self.adam([beta_1, beta_2, epsilon], decayed, gradient, moments)
            }
            (OptimizerConfig::RAdam { beta_1, beta_2, epsilon }, Ok(moments)) => {
                self.radam([beta_1, beta_2, epsilon], parameter, gradient, moments)
            }
            (OptimizerConfig::RmsProp { alpha, epsilon }, Err(moments)) => {
                self.rms_prop([alpha, epsilon], parameter, gradient, moments)
            }
            (OptimizerConfig::Sgd { momentum }, Err(moments)) if momentum > 0.0 => {
                self.momentum(momentum, parameter, gradient, moments)
            }
            (_, moments) => {
                let moments = moments.map_or_else(|moments| moments, Vec::from);
                (sgd(self.lr, self.guard, parameter, gradient), moments)
            }
        }
    }

    fn adam<const D: usize>(
        &self,
        [beta_1, beta_2, epsilon]: [f32; 3],
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: [Tensor<D>; 2],
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        let step = AdamStep { lr: self.lr, beta_1, beta_2, epsilon, time: self.time };
        let [parameter, first, second] = adam(&step, self.guard, parameter, gradient, moments);
        (parameter, vec![first, second])
    }

    /// Moves a parameter towards 0 by a share of itself. A share above 1 could exceed single precision.
    fn decay<const D: usize>(&self, share: f64, parameter: Tensor<D>) -> Tensor<D> {
        let decay = parameter.clone().mul_scalar(share);
        let decay = if share > 1.0 { decay.clamp(-f32::MAX, f32::MAX) } else { decay };
        parameter - self.guarded(decay)
    }

    /// Liu et al. (2020), as in PyTorch: plain momentum until the variance of the second moment is
    /// tractable.
    fn radam<const D: usize>(
        &self,
        [beta_1, beta_2, epsilon]: [f32; 3],
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        [first, second]: [Tensor<D>; 2],
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        let step = RAdamStep::new(self.lr, [beta_1, beta_2, epsilon], self.time);
        let mut tensors = [parameter, gradient, first, second];
        if self.guard.is_none() {
            match radam(&step, tensors) {
                Ok([parameter, first, second]) => return (parameter, vec![first, second]),
                Err(same) => tensors = same,
            }
        }
        let [parameter, gradient, first, second] = tensors;
        let gradient = self.accepted(gradient);
        let next_first = towards(&first, gradient.clone(), beta_1);
        let next_second = towards(&second, square(gradient), beta_2);
        let corrected = next_first.clone() / step.bias;
        let change = match step.factor {
            Some(factor) => corrected * factor / (next_second.clone().sqrt() + epsilon),
            None => corrected,
        };
        let next = parameter.clone() - change.mul_scalar(self.lr);
        self.settle([parameter, first, second], [next, next_first, next_second])
    }

    /// Tieleman and Hinton (2012), as in PyTorch: `epsilon` is added to the root, and the average
    /// starts at 0.
    fn rms_prop<const D: usize>(
        &self,
        [alpha, epsilon]: [f32; 2],
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: Vec<Tensor<D>>,
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        let average = moments.into_iter().next().unwrap_or_else(|| parameter.zeros_like());
        let mut tensors = [parameter, gradient, average];
        if self.guard.is_none() {
            match rms_prop(&RmsPropStep::new(self.lr, alpha, epsilon), tensors) {
                Ok([parameter, average]) => return (parameter, vec![average]),
                Err(same) => tensors = same,
            }
        }
        let [parameter, gradient, average] = tensors;
        let gradient = self.accepted(gradient);
        let next_average = towards(&average, square(gradient.clone()), alpha);
        let change = gradient / (next_average.clone().sqrt() + epsilon);
        let next = parameter.clone() - change.mul_scalar(self.lr);
        self.settle([parameter, average], [next, next_average])
    }

    /// Gradient descent with momentum, as in PyTorch: `v ← μ·v + g`, `p ← p − lr·v`.
    fn momentum<const D: usize>(
        &self,
        momentum: f32,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: Vec<Tensor<D>>,
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        let velocity = moments.into_iter().next().unwrap_or_else(|| parameter.zeros_like());
        let next_velocity = velocity.clone() * momentum + self.accepted(gradient);
        let next = parameter.clone() - next_velocity.clone().mul_scalar(self.lr);
        self.settle([parameter, velocity], [next, next_velocity])
    }

    fn accepted<const D: usize>(&self, gradient: Tensor<D>) -> Tensor<D> {
        match self.guard {
            Some(guard) => guard.gradient(gradient),
            None => gradient,
        }
    }

    fn guarded<const D: usize>(&self, change: Tensor<D>) -> Tensor<D> {
        match self.guard {
            Some(guard) => guard.change(change),
            None => change,
        }
    }

    /// Returns the parameter, which comes first, and its moments after the step. Without a guard, an
    /// element whose step is not finite keeps its value and its moments; with one, all keep theirs
    /// where the guard refuses.
    fn settle<const D: usize, const N: usize>(
        &self,
        before: [Tensor<D>; N],
        after: [Tensor<D>; N],
    ) -> (Tensor<D>, Vec<Tensor<D>>) {
        let finite = match self.guard {
            Some(_) => None,
            None => after.iter().map(|tensor| tensor.clone().is_finite()).reduce(Tensor::bool_and),
        };
        let pairs = before.into_iter().zip(after).map(|(before, after)| match &finite {
            Some(finite) => before.mask_where(finite.clone(), after),
            None => {
                let change = self.guarded(after - before.clone());
                (before + change).clamp(-f32::MAX, f32::MAX)
            }
        });
        let mut tensors: Vec<_> = pairs.collect();
        let parameter = tensors.remove(0);
        (parameter, tensors)
    }
}

/// Moves a moment towards a value: `decay·m + (1 − decay)·x`.
fn towards<const D: usize>(moment: &Tensor<D>, value: Tensor<D>, decay: f32) -> Tensor<D> {
    moment.clone() * decay + value * (1.0 - decay)
}

/// Squares a gradient. Squares count up to a bound, so that an average of them is finite.
fn square<const D: usize>(gradient: Tensor<D>) -> Tensor<D> {
    gradient.square().clamp_max(LARGEST_SQUARE)
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn tensor(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    /// Steps of a parameter that starts at 0, by these gradients.
    fn run(rule: &OptimizerConfig, lr: f64, gradients: &[f32]) -> Vec<f32> {
        let mut parameter = tensor(&[0.0]);
        let mut moments: Vec<_> = rule.moments().iter().map(|_| tensor(&[0.0])).collect();
        let mut path = Vec::new();
        for (time, gradient) in (1..).zip(gradients) {
            let step = Step { lr, guard: None, time };
            (parameter, moments) = step.take(rule, parameter, tensor(&[*gradient]), moments);
            path.extend(to_f32(parameter.clone()).unwrap());
        }
        path
    }

    #[track_caller]
    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 2e-6, "{found:?} and {expected:?}");
        }
    }

    #[test]
    fn rms_prop_has_pytorchs_form() {
        let rule = OptimizerConfig::RmsProp { alpha: 0.99, epsilon: 1e-5 };
        close(&run(&rule, 7e-4, &[0.5]), &[-0.006_999]);
        let rule = OptimizerConfig::RmsProp { alpha: 0.99, epsilon: 1e-8 };
        let found = run(&rule, 1.0, &[0.5])[0];
        assert!((found + 9.999_998).abs() < 1e-4, "{found}");
    }

    /// A fused step rounds as the composition of Burn's operations, which an eager scope runs.
    #[test]
    fn fused_steps_are_bit_for_bit_those_of_plain_operations() {
        let rules = [
            OptimizerConfig::RmsProp { alpha: 0.99, epsilon: 1e-5 },
            OptimizerConfig::RAdam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 },
        ];
        let mut rng = rekindle_core::Generator::from_seed(3);
        // More than a vector, and a rest.
        let mut draw = || (0..37).map(|_| rng.uniform(-1.0, 1.0) as f32).collect::<Vec<_>>();
        // RAdam changes its form at step 6.
        let (start, mut gradients) = (draw(), (0..9).map(|_| draw()).collect::<Vec<_>>());
        for first in [2, 7] {
            gradients[first][0] = f32::NAN;
            gradients[first][1] = f32::INFINITY;
            gradients[first + 1][2] = 2e19;
            gradients[first + 1][36] = f32::NAN;
        }
        for rule in rules {
            let run = |eager: bool| {
                let _scope = rekindle_kernels::eager::scope(eager);
                let mut parameter = tensor(&start);
                let mut moments: Vec<_> =
                    rule.moments().iter().map(|_| tensor(&[0.0; 37])).collect();
                for (time, gradient) in (1..).zip(&gradients) {
                    let step = Step { lr: 7e-4, guard: None, time };
                    (parameter, moments) = step.take(&rule, parameter, tensor(gradient), moments);
                }
                let bits = |tensor| to_f32(tensor).unwrap().into_iter().map(f32::to_bits);
                let all = std::iter::once(parameter).chain(moments);
                all.map(|tensor| bits(tensor).collect()).collect::<Vec<Vec<u32>>>()
            };
            assert_eq!(run(false), run(true), "{rule:?}");
        }
    }

    /// The settings are the largest that [`OptimizerConfig::validate`] and schedules accept.
    #[test]
    fn no_rule_leaves_a_number_that_is_not_finite_even_with_extreme_settings() {
        let weight_decay = 1e18;
        let rules = [
            OptimizerConfig::sgd(),
            OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerConfig::RmsProp { alpha: 0.99, epsilon: 1e-30 },
            OptimizerConfig::adam(1e-30),
            OptimizerConfig::RAdam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-30 },
            OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-30, weight_decay },
        ];
        let guard = |taken: bool| StepGuard::new(Tensor::from_data([taken], &Device::flex()));
        let guards = [None, Some(guard(true)), Some(guard(false))];
        for (rule, guard) in rules.iter().flat_map(|rule| guards.iter().map(move |g| (rule, g))) {
            rule.validate().unwrap();
            let mut parameter = tensor(&[1.0, -2.0, 3e38]);
            let mut moments: Vec<_> = rule.moments().iter().map(|_| tensor(&[0.0; 3])).collect();
            for time in 1..9 {
                let gradient = tensor(&[2e19, -1e18, 1.0]);
                let step = Step { lr: 1e18, guard: guard.as_ref(), time };
                (parameter, moments) = step.take(rule, parameter, gradient, moments);
                for tensor in std::iter::once(&parameter).chain(&moments) {
                    let values = to_f32(tensor.clone()).unwrap();
                    assert!(values.iter().all(|x| x.is_finite()), "{rule:?} {guard:?}: {values:?}");
                }
            }
        }
    }

    #[test]
    fn a_guard_takes_a_step_of_any_rule_or_changes_nothing() {
        let rules = [
            OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerConfig::RmsProp { alpha: 0.99, epsilon: 1e-5 },
            OptimizerConfig::RAdam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 },
            OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.1 },
        ];
        let device = Device::flex();
        let guard = |taken: bool| StepGuard::new(Tensor::from_data([taken], &device));
        for rule in rules {
            let moments = || rule.moments().iter().map(|_| tensor(&[0.3, 0.4])).collect::<Vec<_>>();
            let run = |guard: Option<&StepGuard>, gradient: &[f32]| {
                let step = Step { lr: 0.1, guard, time: 7 };
                let (parameter, moments) =
                    step.take(&rule, tensor(&[1.0, 2.0]), tensor(gradient), moments());
                let all = std::iter::once(parameter).chain(moments);
                all.flat_map(|tensor| to_f32(tensor).unwrap()).collect::<Vec<_>>()
            };
            close(&run(Some(&guard(true)), &[0.5, -0.5]), &run(None, &[0.5, -0.5]));
            let refused = run(Some(&guard(false)), &[f32::NAN, f32::INFINITY]);
            let before = moments().into_iter().flat_map(|moment| to_f32(moment).unwrap());
            close(&refused, &[1.0, 2.0].into_iter().chain(before).collect::<Vec<_>>());
            let extreme = run(None, &[f32::MAX, f32::NAN]);
            assert!(extreme.iter().all(|value| value.is_finite()), "{rule:?}: {extreme:?}");
        }
    }
}
