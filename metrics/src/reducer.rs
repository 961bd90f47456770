//! The reduction of a series to one number.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{MetricsError, Result};

/// The rule that reduces the values of a series to one number.
///
/// Without a window a reducer keeps a few numbers, regardless of the number of values. With one it keeps the
/// last `window` values. `mean`, `min`, `max` and `sum` without a window, and `item`, describe one iteration:
/// [`Stats::reduce`](super::Stats::reduce) clears them. All others continue in the next iteration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reducer {
    /// The exponential moving average `(1 - coeff) * average + coeff * value`, starting with the first
    /// value.
    Ema {
        /// The weight of a new value, in `(0, 1]`. RLlib's default is 0.01.
        coeff: f64,
    },
    /// The arithmetic mean.
    Mean {
        /// Number of latest values that count; `None` for all values of the iteration.
        window: Option<usize>,
    },
    /// The smallest value.
    Min {
        /// Number of latest values that count; `None` for all values of the iteration.
        window: Option<usize>,
    },
    /// The largest value.
    Max {
        /// Number of latest values that count; `None` for all values of the iteration.
        window: Option<usize>,
    },
    /// The sum.
    Sum {
        /// Number of latest values that count; `None` for all values of the iteration.
        window: Option<usize>,
    },
    /// The sum of all values ever logged. The logger also reports its growth per second as
    /// `<key>_throughput`, unless it is a sum of seconds.
    LifetimeSum,
    /// The last value of the iteration.
    Item,
    /// A percentile of the latest values, linearly interpolated.
    Percentile {
        /// Rank of the percentile, in `[0, 100]`; 50 is the median.
        rank: f64,
        /// Number of latest values that count.
        window: usize,
    },
}

impl Reducer {
    /// The exponential moving average with RLlib's default coefficient.
    pub const EMA: Self = Self::Ema { coeff: 0.01 };
    /// The mean of an iteration.
    pub const MEAN: Self = Self::Mean { window: None };
    /// The minimum of an iteration.
    pub const MIN: Self = Self::Min { window: None };
    /// The maximum of an iteration.
    pub const MAX: Self = Self::Max { window: None };
    /// The sum of an iteration.
    pub const SUM: Self = Self::Sum { window: None };

    /// Returns the reducer to the mean of the last `window` values.
    #[must_use]
    pub const fn mean_over(window: usize) -> Self {
        Self::Mean { window: Some(window) }
    }

    /// Returns the reducer to the minimum of the last `window` values.
    #[must_use]
    pub const fn min_over(window: usize) -> Self {
        Self::Min { window: Some(window) }
    }

    /// Returns the reducer to the maximum of the last `window` values.
    #[must_use]
    pub const fn max_over(window: usize) -> Self {
        Self::Max { window: Some(window) }
    }

    /// Returns the size of the window, if the reducer has one.
    #[must_use]
    pub const fn window(&self) -> Option<usize> {
        match *self {
            Self::Mean { window }
            | Self::Min { window }
            | Self::Max { window }
            | Self::Sum { window } => window,
            Self::Percentile { window, .. } => Some(window),
            Self::Ema { .. } | Self::LifetimeSum | Self::Item => None,
        }
    }

    /// Whether the reducer describes one iteration and is cleared after each.
    pub(super) const fn clears_on_reduce(&self) -> bool {
        self.window().is_none() && !matches!(self, Self::Ema { .. } | Self::LifetimeSum)
    }

    /// Checks that every setting is in its range.
    pub(super) fn validate(self) -> Result<Self> {
        let constraint = match self {
            Self::Ema { coeff } if !(coeff > 0.0 && coeff <= 1.0) => "coeff must be in (0, 1]",
            Self::Percentile { rank, .. } if !(0.0..=100.0).contains(&rank) => {
                "rank must be in [0, 100]"
            }
            _ if self.window() == Some(0) => "window must be at least 1",
            _ => return Ok(self),
        };
        Err(MetricsError::InvalidReducer { reducer: self, constraint })
    }
}

impl fmt::Display for Reducer {
    /// Writes the reducer in words: `the mean of the last 100 values`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut over = |what: &str, window: &Option<usize>| match window {
            Some(window) => write!(f, "the {what} of the last {window} values"),
            None => write!(f, "the {what} of an iteration"),
        };
        match self {
            Self::Mean { window } => over("mean", window),
            Self::Min { window } => over("minimum", window),
            Self::Max { window } => over("maximum", window),
            Self::Sum { window } => over("sum", window),
            Self::Ema { coeff } => {
                write!(f, "the exponential moving average with the coefficient {coeff}")
            }
            Self::LifetimeSum => f.write_str("the sum of all values"),
            Self::Item => f.write_str("the last value of an iteration"),
            Self::Percentile { rank, window } => {
                write!(f, "the percentile {rank} of the last {window} values")
            }
        }
    }
}

impl Default for Reducer {
    /// Returns RLlib's default, [`Reducer::EMA`].
    fn default() -> Self {
        Self::EMA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_errors() {
        for reducer in [
            Reducer::Ema { coeff: 0.0 },
            Reducer::Ema { coeff: 1.5 },
            Reducer::Ema { coeff: f64::NAN },
            Reducer::mean_over(0),
            Reducer::Percentile { rank: 101.0, window: 10 },
            Reducer::Percentile { rank: 50.0, window: 0 },
        ] {
            let error = reducer.validate().unwrap_err();
            assert!(matches!(error, MetricsError::InvalidReducer { .. }), "{error}");
        }
        assert!(Reducer::default().validate().is_ok());
    }
}
