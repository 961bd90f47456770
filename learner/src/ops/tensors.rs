//! The same for many environments at once, where their tensors are.

use burn::prelude::*;

/// Generalised advantage estimates and value targets of `N` environments over `T` steps, as
/// [`gae`](super::gae) computes them for one segment.
///
/// Episodes may end anywhere. Where one is terminated no value follows; where one is truncated or
/// goes on, the value of `next_values` does: that of the observation to which the step led, which is
/// the final one where the episode ended.
///
/// # Shapes
/// All `[T, N]`. `terminated` is 1 where the environment ended the episode, `done` where it ended for
/// any reason, both 0 elsewhere.
pub fn gae(
    rewards: Tensor<2>,
    values: Tensor<2>,
    next_values: Tensor<2>,
    terminated: Tensor<2>,
    done: Tensor<2>,
    gamma: f32,
    lambda: f32,
) -> (Tensor<2>, Tensor<2>) {
    let [steps, envs] = rewards.dims();
    let goes_on = terminated.neg() + 1.0;
    let delta = rewards + next_values * goes_on * gamma - values.clone();
    let decay = (done.neg() + 1.0) * (gamma * lambda);
    let mut next = Tensor::zeros([1, envs], &values.device());
    let mut advantages = Vec::with_capacity(steps);
    for t in (0..steps).rev() {
        next = delta.clone().narrow(0, t, 1) + decay.clone().narrow(0, t, 1) * next;
        advantages.push(next.clone());
    }
    advantages.reverse();
    let advantages = Tensor::cat(advantages, 0);
    (advantages.clone(), advantages + values)
}

/// Shifts and scales values to mean 0 and standard deviation 1 (at least 1e-4 is divided by), as
/// [`standardize`](super::standardize).
///
/// # Shapes
/// `[B]` to `[B]`.
pub fn standardize(values: Tensor<1>) -> Tensor<1> {
    let centred = values.clone() - values.mean();
    let scale = centred.clone().square().mean().sqrt().clamp_min(1e-4);
    centred / scale
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;

    use super::*;
    use crate::ops;

    const GAMMA: f32 = 0.97;
    const LAMBDA: f32 = 0.9;

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 2e-5, "{found:?} {expected:?}");
        }
    }

    /// The same episodes by the function over slices.
    fn by_slices(columns: &[Vec<f32>; 5], [steps, envs]: [usize; 2]) -> [Vec<f32>; 2] {
        let [rewards, values, next_values, terminated, done] = columns;
        let mut results = [vec![0.0; steps * envs], vec![0.0; steps * envs]];
        for env in 0..envs {
            let mut start = 0;
            for t in 0..steps {
                let end = t * envs + env;
                if done[end] == 0.0 && t + 1 < steps {
                    continue;
                }
                let rows: Vec<usize> = (start..=t).map(|t| t * envs + env).collect();
                let of = |column: &[f32]| rows.iter().map(|&row| column[row]).collect::<Vec<_>>();
                let bootstrap = if terminated[end] == 1.0 { 0.0 } else { next_values[end] };
                let (rewards, values) = (of(rewards), of(values));
                let (a, v) = ops::gae(&rewards, &values, bootstrap, GAMMA, LAMBDA).unwrap();
                for (i, row) in rows.into_iter().enumerate() {
                    (results[0][row], results[1][row]) = (a[i], v[i]);
                }
                start = t + 1;
            }
        }
        results
    }

    #[test]
    fn advantages_of_many_environments_equal_those_of_each_segment() {
        let shape = [7, 5];
        let mut rng = Generator::from_seed(3);
        let mut draw = |_| (0..35).map(|_| rng.uniform(-1.0, 1.0) as f32).collect::<Vec<_>>();
        let [rewards, values, mut next_values] = [0, 1, 2].map(&mut draw);
        let ends = draw(3);
        let terminated: Vec<f32> = ends.iter().map(|&x| f32::from(u8::from(x > 0.7))).collect();
        let done: Vec<f32> = ends.iter().map(|&x| f32::from(u8::from(x > 0.4))).collect();
        // Within an episode the value that follows is that of the next step.
        for row in (0..30).filter(|&row| done[row] == 0.0) {
            next_values[row] = values[row + 5];
        }
        let columns = [rewards, values, next_values, terminated, done];
        let device = Device::flex();
        let [r, v, n, t, d] = columns
            .clone()
            .map(|column| Tensor::<2>::from_data(TensorData::new(column, shape), &device));
        let (advantages, targets) = gae(r, v, n, t, d, GAMMA, LAMBDA);
        let expected = by_slices(&columns, shape);
        close(&to_f32(advantages).unwrap(), &expected[0]);
        close(&to_f32(targets).unwrap(), &expected[1]);
    }

    #[test]
    fn standardised_tensors_equal_standardised_slices() {
        let mut values = vec![0.5, -3.0, 2.0, 8.0];
        let tensor = Tensor::<1>::from_floats(&values[..], &Device::flex());
        ops::standardize(&mut values);
        close(&to_f32(standardize(tensor)).unwrap(), &values);
        let equal = Tensor::<1>::from_floats([3.0; 4], &Device::flex());
        assert_eq!(to_f32(standardize(equal)).unwrap(), [0.0; 4]);
    }
}
