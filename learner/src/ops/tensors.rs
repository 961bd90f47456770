//! Advantages of many environments at once, on the device of their tensors.

use burn::prelude::*;

use super::VTraceConfig;

/// Computes generalized advantage estimates and value targets of `N` environments over `T` steps, as
/// [`gae`](super::gae) does for one segment.
///
/// Episodes may end at any step. No value follows a terminated step. Every other step is followed by
/// its entry of `next_values`, the value of the observation that the step led to: the final one where
/// the episode was truncated. Entries that do not count need not be finite.
///
/// # Shapes
/// All `[T, N]`. `terminated` is 1 where the environment ended the episode, `done` is 1 where it ended
/// for any reason, and both are 0 elsewhere.
#[must_use]
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
    // Values that do not count are left out, not multiplied by 0: they need not be finite.
    let following = next_values.mask_fill(terminated.greater_elem(0.5), 0.0);
    let delta = rewards + following * gamma - values.clone();
    let ends = done.greater_elem(0.5);
    let mut next = Tensor::zeros([1, envs], &values.device());
    let mut advantages = Vec::with_capacity(steps);
    for t in (0..steps).rev() {
        let carried = next.mask_fill(ends.clone().narrow(0, t, 1), 0.0);
        next = delta.clone().narrow(0, t, 1) + carried * (gamma * lambda);
        advantages.push(next.clone());
    }
    advantages.reverse();
    let advantages = Tensor::cat(advantages, 0);
    (advantages.clone(), advantages + values)
}

/// Computes V-trace targets and advantages of `N` environments over `T` steps, as [`vtrace`](super::vtrace())
/// does for one segment. No gradient flows through either.
///
/// Entries of an episode do not affect those of the episode before it, whatever they are.
///
/// # Shapes
/// All `[T, N]`; see [`gae`] for `next_values`, `terminated` and `done`. Returns targets and
/// advantages.
#[must_use]
pub fn vtrace(
    log_ratios: Tensor<2>,
    rewards: Tensor<2>,
    values: Tensor<2>,
    next_values: Tensor<2>,
    terminated: Tensor<2>,
    done: Tensor<2>,
    config: &VTraceConfig,
) -> (Tensor<2>, Tensor<2>) {
    let [steps, envs] = rewards.dims();
    let VTraceConfig { gamma, lambda_, .. } = *config;
    let ratios = log_ratios.detach().exp();
    let (values, next_values) = (values.detach(), next_values.detach());
    let clip = |threshold: f32| {
        let clipped = match threshold.is_finite() {
            true => ratios.clone().clamp_max(threshold),
            false => ratios.clone(),
        };
        // Without a leak, ratios that overflow do not count.
        if config.leak_alpha == 1.0 {
            return clipped;
        }
        clipped * config.leak_alpha + ratios.clone() * (1.0 - config.leak_alpha)
    };
    // A value after a terminated step does not count, whatever it is.
    let next_values = next_values.mask_fill(terminated.clone().greater_elem(0.5), 0.0);
    let ends = done.greater_elem(0.5);
    let delta = clip(config.clip_rho_threshold)
        * (rewards.clone() + next_values.clone() * gamma - values.clone());
    let decay = clip(1.0) * (gamma * lambda_);
    let mut next = Tensor::zeros([1, envs], &values.device());
    let mut errors = Vec::with_capacity(steps);
    for t in (0..steps).rev() {
        // Steps after an end are left out, not multiplied by 0: they need not be finite.
        let carried = next.mask_fill(ends.clone().narrow(0, t, 1), 0.0);
        next = delta.clone().narrow(0, t, 1) + decay.clone().narrow(0, t, 1) * carried;
        errors.push(next.clone());
    }
    errors.reverse();
    let targets = Tensor::cat(errors, 0) + values.clone();
    let mixed = targets.clone() * lambda_ + values.clone() * (1.0 - lambda_);
    // The last step, and those that end an episode, bootstrap from the value that follows them.
    let following = match steps {
        0 | 1 => next_values.clone(),
        _ => Tensor::cat(
            vec![mixed.narrow(0, 1, steps - 1), next_values.clone().narrow(0, steps - 1, 1)],
            0,
        ),
    };
    let bootstrap = following.mask_where(ends, next_values);
    let advantages = clip(config.clip_pg_rho_threshold) * (rewards + bootstrap * gamma - values);
    (targets, advantages)
}

/// Shifts and scales values to mean 0 and standard deviation 1, as
/// [`standardize`](super::standardize).
///
/// # Shapes
/// `[B]` to `[B]`.
#[must_use]
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

    /// The advantages and targets of the same episodes by the function over slices.
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
        // Within an episode, the value of the next step follows.
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
    fn what_follows_an_end_need_not_be_finite() {
        let device = Device::flex();
        let column = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).reshape([3, 1]);
        let gae = |values, next_values, terminated, done| {
            let (advantages, targets) = gae(
                column([1.0; 3]),
                column(values),
                column(next_values),
                column(terminated),
                column(done),
                0.9,
                0.8,
            );
            [advantages, targets].map(|tensor| to_f32(tensor).unwrap())
        };
        let end = [0.0, 1.0, 0.0];
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let [advantages, targets] = gae([0.5; 3], [0.5, value, 0.7], end, end);
            close(&advantages, &[1.31, 0.5, 1.13]);
            close(&targets, &[1.81, 1.0, 1.63]);
            // Values of the next episode are not finite, which must not affect the one before it.
            let [advantages, _] = gae([0.5, 0.5, value], [0.5, 0.7, 0.7], [0.0; 3], end);
            close(&advantages[..2], &[1.7636, 1.13]);
            assert!(!advantages[2].is_finite());
        }
    }

    #[test]
    fn vtrace_before_an_end_does_not_depend_on_what_follows_it() {
        let device = Device::flex();
        let column = |values: [f32; 4]| Tensor::<1>::from_floats(values, &device).reshape([4, 1]);
        let config = VTraceConfig { lambda_: 0.9, ..VTraceConfig::default() };
        let first = ops::vtrace(&[0.1, -0.2], &[1.0; 2], &[0.5, 0.6], 0.7, &config).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for [log_ratio, reward, next] in
                [[value, 1.0, 0.5], [0.0, value, 0.5], [0.0, 1.0, value]]
            {
                let (targets, advantages) = vtrace(
                    column([0.1, -0.2, log_ratio, log_ratio]),
                    column([1.0, 1.0, reward, reward]),
                    column([0.5, 0.6, next, next]),
                    column([0.6, 0.7, next, next]),
                    column([0.0; 4]),
                    column([0.0, 1.0, 0.0, 0.0]),
                    &config,
                );
                close(&to_f32(targets).unwrap()[..2], &first.targets);
                close(&to_f32(advantages).unwrap()[..2], &first.advantages);
            }
        }
    }

    /// `exp` of a large log-ratio overflows. Without a leak, only the clipped ratio counts.
    #[test]
    fn a_ratio_that_overflows_is_clipped_as_in_slices() {
        let device = Device::flex();
        let column = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).reshape([2, 1]);
        let config = VTraceConfig::default();
        let expected = ops::vtrace(&[200.0, 0.0], &[1.0; 2], &[0.5; 2], 0.7, &config).unwrap();
        let (targets, advantages) = vtrace(
            column([200.0, 0.0]),
            column([1.0; 2]),
            column([0.5; 2]),
            column([0.5, 0.7]),
            column([0.0; 2]),
            column([0.0, 1.0]),
            &config,
        );
        close(&to_f32(targets).unwrap(), &expected.targets);
        close(&to_f32(advantages).unwrap(), &expected.advantages);
    }

    #[test]
    fn vtrace_of_many_environments_equals_that_of_each_segment() {
        let [steps, envs] = [7, 5];
        let mut rng = Generator::from_seed(4);
        let mut draw = |_| (0..35).map(|_| rng.uniform(-1.0, 1.0) as f32).collect::<Vec<_>>();
        let [log_ratios, rewards, values, mut next_values, ends] = [0, 1, 2, 3, 4].map(&mut draw);
        let flags = |bound: f32| -> Vec<f32> {
            ends.iter().map(|&x| f32::from(u8::from(x > bound))).collect()
        };
        let (terminated, done) = (flags(0.7), flags(0.4));
        for row in 0..30 {
            if done[row] == 0.0 {
                next_values[row] = values[row + 5];
            }
        }
        let config = VTraceConfig {
            lambda_: 0.9,
            clip_rho_threshold: 1.3,
            clip_pg_rho_threshold: f32::INFINITY,
            leak_alpha: 0.8,
            ..VTraceConfig::default()
        };
        let mut expected = [vec![0.0; 35], vec![0.0; 35]];
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
                let found =
                    ops::vtrace(&of(&log_ratios), &of(&rewards), &of(&values), bootstrap, &config)
                        .unwrap();
                for (i, row) in rows.into_iter().enumerate() {
                    (expected[0][row], expected[1][row]) = (found.targets[i], found.advantages[i]);
                }
                start = t + 1;
            }
        }
        // What follows a terminated step need not be a number.
        for row in (0..35).filter(|&row| terminated[row] == 1.0) {
            next_values[row] = f32::NAN;
        }
        let device = Device::flex();
        let [l, r, v, n, t, d] = [log_ratios, rewards, values, next_values, terminated, done]
            .map(|column| Tensor::<2>::from_data(TensorData::new(column, [7, 5]), &device));
        let (targets, advantages) = vtrace(l, r, v, n, t, d, &config);
        close(&to_f32(targets).unwrap(), &expected[0]);
        close(&to_f32(advantages).unwrap(), &expected[1]);
    }

    /// Computes V-trace of one environment: log ratios, rewards, values, next values, terminated, done.
    fn vtrace_of<const T: usize>(columns: [[f32; T]; 6]) -> [Vec<f32>; 2] {
        let config = VTraceConfig { gamma: 0.9, lambda_: 0.8, ..VTraceConfig::default() };
        let device = Device::flex();
        let [l, r, v, n, t, d] = columns.map(|column| {
            Tensor::<2>::from_data(TensorData::new(column.to_vec(), [T, 1]), &device)
        });
        let (targets, advantages) = vtrace(l, r, v, n, t, d, &config);
        [to_f32(targets).unwrap(), to_f32(advantages).unwrap()]
    }

    #[test]
    fn nothing_leaks_across_an_end_in_vtrace() {
        let (zero, value) = ([0.0; 2], [0.5, f32::INFINITY]);
        let [targets, advantages] = vtrace_of([zero, [1.0; 2], value, [0.7; 2], zero, [1.0, 0.0]]);
        close(&targets[..1], &[1.63]);
        close(&advantages[..1], &[1.13]);
    }

    #[test]
    fn an_infinite_ratio_is_clipped_in_vtrace() {
        let [targets, advantages] = vtrace_of([[100.0], [1.0], [0.5], [f32::NAN], [1.0], [1.0]]);
        close(&targets, &[1.0]);
        close(&advantages, &[0.5]);
    }

    #[test]
    fn standardized_tensors_equal_standardized_slices() {
        let mut values = vec![0.5, -3.0, 2.0, 8.0];
        let tensor = Tensor::<1>::from_floats(&values[..], &Device::flex());
        ops::standardize(&mut values);
        close(&to_f32(standardize(tensor)).unwrap(), &values);
        let equal = Tensor::<1>::from_floats([3.0; 4], &Device::flex());
        assert_eq!(to_f32(standardize(equal)).unwrap(), [0.0; 4]);
    }
}
