//! Values that change with the number of environment steps.

use serde::{Deserialize, Serialize};

use crate::{LearnerError, Result};

/// A constant, or points `(step, value)` with straight lines between them; RLlib's `Scheduler`.
///
/// After the last point the last value stays. In JSON: `0.1` or `[[0, 1.0], [10000, 0.05]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// The same value always.
    Constant(f64),
    /// Points in order of the step; the first step is 0.
    Piecewise(Vec<(u64, f64)>),
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl<const N: usize> From<[(u64, f64); N]> for Schedule {
    fn from(points: [(u64, f64); N]) -> Self {
        Self::Piecewise(points.to_vec())
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Piecewise(points) => write!(f, "{points:?}"),
        }
    }
}

impl Schedule {
    /// The value after `step` environment steps.
    pub fn value(&self, step: u64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Piecewise(points) => interpolate(points, step),
        }
    }

    /// Checks the points; `field` names the setting. Rates and weights are never negative.
    ///
    /// # Errors
    /// [`LearnerError::InvalidConfig`] for fewer than two points, a first step other than 0, steps
    /// out of order, or a value that is negative or not finite.
    pub fn validate(&self, field: &'static str) -> Result<()> {
        let is_bad = |value: &f64| !(value.is_finite() && *value >= 0.0);
        let refuse = |constraint: &str| {
            let (value, constraint) = (self.to_string(), constraint.into());
            Err(LearnerError::InvalidConfig { field, value, constraint })
        };
        match self {
            Self::Constant(value) if is_bad(value) => refuse("it must be finite and not negative"),
            Self::Constant(_) => Ok(()),
            Self::Piecewise(points) if points.len() < 2 => {
                refuse("a schedule needs at least two points; give a number for a constant")
            }
            Self::Piecewise(points) if points[0].0 != 0 => {
                refuse("the first point of a schedule is at step 0")
            }
            Self::Piecewise(points) if points.windows(2).any(|w| w[0].0 >= w[1].0) => {
                refuse("the steps of a schedule must increase")
            }
            Self::Piecewise(points) if points.iter().any(|(_, value)| is_bad(value)) => {
                refuse("the values of a schedule must be finite and not negative")
            }
            Self::Piecewise(_) => Ok(()),
        }
    }
}

fn interpolate(points: &[(u64, f64)], step: u64) -> f64 {
    for pair in points.windows(2) {
        let ((t0, v0), (t1, v1)) = (pair[0], pair[1]);
        if step < t1 {
            return v0 + (step.saturating_sub(t0)) as f64 / (t1 - t0) as f64 * (v1 - v0);
        }
    }
    points.last().map_or(0.0, |(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a51_lr_schedules_interpolate_and_stay_at_the_last_value() {
        let schedule = Schedule::from([(0, 1.0), (10_000, 0.05)]);
        for (step, expected) in [(0, 1.0), (2500, 0.7625), (5000, 0.525), (10_000, 0.05)] {
            assert!((schedule.value(step) - expected).abs() < 1e-12);
        }
        assert_eq!(schedule.value(1_000_000), 0.05);
        assert_eq!(Schedule::from(0.3).value(7), 0.3);
    }

    #[test]
    fn a51_schedules_with_a_late_start_or_one_point_are_refused() {
        for (bad, reason) in [
            (Schedule::Piecewise(vec![(5, 1.0), (10, 0.0)]), "at step 0"),
            (Schedule::Piecewise(vec![(0, 1.0)]), "at least two points"),
            (Schedule::Piecewise(vec![(0, 1.0), (0, 0.5)]), "must increase"),
            (Schedule::Constant(f64::NAN), "finite"),
            (Schedule::Constant(-0.1), "not negative"),
        ] {
            let message = bad.validate("lr").unwrap_err().to_string();
            assert!(message.starts_with("`lr` is") && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn schedules_read_as_a_number_or_as_points() {
        let read = |json| serde_json::from_str::<Schedule>(json).unwrap();
        assert_eq!(read("0.5"), Schedule::Constant(0.5));
        assert_eq!(read("[[0, 1.0], [10, 0.0]]"), Schedule::from([(0, 1.0), (10, 0.0)]));
    }
}
