//! Reductions in constant memory.

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::reducer::Reducer;

/// A summary of all values, which can be continued with a value or another summary, and combined with
/// summaries that were recorded in parallel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    /// Number of values.
    count: u64,
    /// The first value. It entered the average with full weight, which must be known to continue it.
    #[serde(with = "exact")]
    first: f64,
    /// The sum (also for `Mean`), the average, the extremum or the last value.
    #[serde(with = "exact")]
    value: f64,
}

impl Running {
    /// Creates the summary of one value.
    pub(super) fn of(value: f64) -> Self {
        Self { count: 1, first: value, value }
    }

    /// Creates the summary of `values` in their order.
    pub(super) fn over<'a>(values: impl IntoIterator<Item = &'a f64>, reducer: Reducer) -> Self {
        values.into_iter().fold(Self::default(), |mut summary, value| {
            summary.append(reducer, &Self::of(*value));
            summary
        })
    }

    /// Whether there are no values.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the reduced number.
    pub(super) fn value(&self, reducer: Reducer) -> Option<f64> {
        match reducer {
            Reducer::Sum { .. } | Reducer::LifetimeSum => Some(self.value),
            _ if self.count == 0 => None,
            Reducer::Mean { .. } => Some(self.value / self.count as f64),
            _ => Some(self.value),
        }
    }

    /// Continues with the summary of later values.
    pub(super) fn append(&mut self, reducer: Reducer, later: &Self) {
        if later.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *later;
            return;
        }
        self.value = match reducer {
            // `later` starts with its own first value instead of the past average. Replacing this
            // start with the past average is exact: its weight after n values is (1 - coeff)^n.
            Reducer::Ema { coeff } => {
                let kept = (1.0 - coeff).powf(later.count as f64);
                kept * self.value + (later.value - kept * later.first)
            }
            Reducer::Mean { .. } | Reducer::Sum { .. } | Reducer::LifetimeSum => {
                self.value + later.value
            }
            Reducer::Min { .. } => self.value.min(later.value),
            Reducer::Max { .. } => self.value.max(later.value),
            // Percentiles always have a window; they are listed for exhaustiveness.
            Reducer::Item | Reducer::Percentile { .. } => later.value,
        };
        self.count = self.count.saturating_add(later.count);
    }

    /// Combines summaries that were recorded in parallel.
    pub(super) fn side_by_side<'a>(
        reducer: Reducer,
        parts: impl Iterator<Item = &'a Self>,
    ) -> Self {
        parts.fold(Self::default(), |mut whole, part| {
            // Every other reducer either ignores the order of its values or takes the last one.
            if matches!(reducer, Reducer::Ema { .. }) {
                whole.average_with(part);
            } else {
                whole.append(reducer, part);
            }
            whole
        })
    }

    /// Takes the mean of two moving averages, weighted by their numbers of values.
    fn average_with(&mut self, other: &Self) {
        let count = self.count.saturating_add(other.count);
        if other.count == 0 {
            return;
        }
        let weight = other.count as f64 / count as f64;
        let mean = |ours: f64, theirs: f64| {
            if weight < 1.0 { (1.0 - weight) * ours + weight * theirs } else { theirs }
        };
        *self = Self {
            count,
            first: mean(self.first, other.first),
            value: mean(self.value, other.value),
        };
    }
}
