//! Statistics of a batch.

/// The mean and population variance, in double precision.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    (mean, values.map(|v| (v - mean).powi(2)).sum::<f64>() / n)
}

/// Shifts and scales values to mean 0 and standard deviation 1. The divisor is at least 1e-4.
///
/// # Shapes
/// `[B]`, in place.
pub fn standardize(values: &mut [f32]) {
    let (mean, variance) = moments(values.iter().map(|&v| f64::from(v)));
    let scale = variance.sqrt().max(1e-4);
    values.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) / scale) as f32);
}

/// Returns the share of the variance of `targets` that `predictions` explain:
/// `max(−1, 1 − Var(y − ŷ) / (Var(y) + 1e-6))`.
///
/// 1 is a perfect prediction, 0 a constant one, and a negative value is worse than a constant.
///
/// # Shapes
/// Both `[B]`. The longer one is cut.
#[must_use]
pub fn explained_variance(targets: &[f32], predictions: &[f32]) -> f64 {
    let pairs = targets.iter().zip(predictions).map(|(y, p)| (f64::from(*y), f64::from(*p)));
    let (_, total) = moments(pairs.clone().map(|(y, _)| y));
    let (_, rest) = moments(pairs.map(|(y, p)| y - p));
    (1.0 - rest / (total + 1e-6)).max(-1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardized_advantages_leave_no_masked_step_in_the_statistics() {
        let mut advantages = [0.852184, -0.257115, 0.691000];
        standardize(&mut advantages);
        for (found, expected) in advantages.iter().zip([0.865367, -1.401371, 0.536004]) {
            assert!((found - expected).abs() < 1e-5, "{advantages:?}");
        }
    }

    #[test]
    fn equal_values_become_zero() {
        let mut values = [3.0; 4];
        standardize(&mut values);
        assert_eq!(values, [0.0; 4]);
    }

    #[test]
    fn explained_variance_is_1_for_equal_values_and_0_for_a_constant() {
        let y = [1.0, 2.0, 3.0];
        assert!((explained_variance(&y, &y) - 1.0).abs() < 1e-9);
        assert!(explained_variance(&y, &[2.0; 3]).abs() < 1e-5);
        assert_eq!(explained_variance(&y, &[3.0, 2.0, 1.0]), -1.0);
    }
}
