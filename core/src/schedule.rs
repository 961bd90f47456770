//! Settings that change with the number of environment steps.

use std::fmt;

use crate::settings::ConfigError;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A constant, or points `(step, value)` with linear interpolation between them; RLlib's `Scheduler`.
///
/// The last value holds after the last point. In JSON: `0.1` or `[[0, 1.0], [10000, 0.05]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Schedule {
    /// The same value at every step.
    Constant(f64),
    /// Points in the order of their steps. The first step is 0.
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

/// Written by hand, because the message of a derived implementation does not name the expected
/// forms.
impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Schedule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a list of points `[step, value]`")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Schedule, E> {
                Ok(Schedule::Constant(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Schedule, E> {
                Ok(Schedule::Constant(value as f64))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Schedule, E> {
                Ok(Schedule::Constant(value as f64))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, points: A) -> Result<Schedule, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(points))
                    .map(Schedule::Piecewise)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Piecewise(points) => write!(f, "{points:?}"),
        }
    }
}

impl Schedule {
    /// Returns the value after `step` environment steps.
    pub fn value(&self, step: u64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Piecewise(points) => interpolate(points, step),
        }
    }

    /// Checks the points; `field` names the setting. Rates and weights are never negative, and at
    /// most 1e18: their products with finite gradients stay finite in single precision.
    ///
    /// # Errors
    /// [`ConfigError`] for fewer than two points, a first step other than 0, steps out of order, or
    /// a value out of range.
    pub fn validate(&self, field: &'static str) -> Result<(), ConfigError> {
        let is_bad = |value: &f64| !(0.0..=LARGEST).contains(value);
        let refuse = |constraint: &'static str| Err(ConfigError::new(field, self, constraint));
        match self {
            Self::Constant(value) if is_bad(value) => {
                refuse("it must be finite, not negative, and at most 1e18")
            }
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
                refuse("the values of a schedule must be finite, not negative, and at most 1e18")
            }
            Self::Piecewise(_) => Ok(()),
        }
    }
}

/// The largest value.
const LARGEST: f64 = 1e18;

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
    fn lr_schedules_interpolate_and_stay_at_the_last_value() {
        let schedule = Schedule::from([(0, 1.0), (10_000, 0.05)]);
        for (step, expected) in [(0, 1.0), (2500, 0.7625), (5000, 0.525), (10_000, 0.05)] {
            assert!((schedule.value(step) - expected).abs() < 1e-12);
        }
        assert_eq!(schedule.value(1_000_000), 0.05);
        // The reference schedules of ε and of the exponent of importance weights.
        for (points, steps, expected) in [
            (
                [(0, 1.0), (250_000, 0.05)],
                [0, 125_000, 250_000, 1_000_000],
                [1.0, 0.525, 0.05, 0.05],
            ),
            ([(0, 0.4), (100_000, 1.0)], [0, 25_000, 100_000, 200_000], [0.4, 0.55, 1.0, 1.0]),
        ] {
            for (step, expected) in steps.into_iter().zip(expected) {
                assert!((Schedule::from(points).value(step) - expected).abs() < 1e-12, "{step}");
            }
        }
        assert_eq!(Schedule::from(0.3).value(7), 0.3);
    }

    #[test]
    fn schedules_with_a_late_start_or_one_point_are_refused() {
        for (bad, reason) in [
            (Schedule::Piecewise(vec![(5, 1.0), (10, 0.0)]), "at step 0"),
            (Schedule::Piecewise(vec![(0, 1.0)]), "at least two points"),
            (Schedule::Piecewise(vec![(0, 1.0), (0, 0.5)]), "must increase"),
            (Schedule::Constant(f64::NAN), "finite"),
            (Schedule::Constant(-0.1), "not negative"),
            (Schedule::Constant(1e39), "at most 1e18"),
            (Schedule::Piecewise(vec![(0, 1.0), (1, f64::INFINITY)]), "finite"),
        ] {
            let message = bad.validate("lr").unwrap_err().to_string();
            assert!(message.starts_with("`lr` is") && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn schedules_read_as_a_number_or_as_points() {
        let read = |json| serde_json::from_str::<Schedule>(json).unwrap();
        assert_eq!(read("0.5"), Schedule::Constant(0.5));
        assert_eq!(read("1"), Schedule::Constant(1.0));
        assert_eq!(read("[[0, 1.0], [10, 0.0]]"), Schedule::from([(0, 1.0), (10, 0.0)]));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_forms_that_are_expected() {
        for json in ["\"fast\"", "{\"start\": 1}", "null", "true"] {
            let message = serde_json::from_str::<Schedule>(json).unwrap_err().to_string();
            let expected = "expected a number or a list of points `[step, value]`";
            assert!(message.contains(expected), "{message}");
        }
        let message = serde_json::from_str::<Schedule>("[[0, \"a\"]]").unwrap_err().to_string();
        assert!(message.contains("invalid type: string \"a\", expected f64"), "{message}");
    }
}
