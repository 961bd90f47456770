//! Reduction in constant memory.

use serde::{Deserialize, Serialize};

use super::{super::exact, Reducer};

/// A summary of all values seen: enough to add a value, to continue one summary with another, and
/// to combine summaries recorded side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    /// How many values were seen.
    count: u64,
    /// The first value, which an average needs to be continued: it entered with full weight.
    #[serde(with = "exact")]
    first: f64,
    /// The sum (of `Mean` too), the average, the extremum or the last value.
    #[serde(with = "exact")]
    value: f64,
}

impl Running {
    /// The summary of one value.
    pub(super) fn of(value: f64) -> Self {
        Self { count: 1, first: value, value }
    }

    /// The summary of `values` in their order.
    pub(super) fn over<'a>(values: impl IntoIterator<Item = &'a f64>, reducer: Reducer) -> Self {
        values.into_iter().fold(Self::default(), |mut summary, value| {
            summary.append(reducer, &Self::of(*value));
            summary
        })
    }

    /// The reduced number.
    pub(super) fn value(&self, reducer: Reducer) -> Option<f64> {
        match reducer {
            Reducer::Sum { .. } | Reducer::LifetimeSum => Some(self.value),
            _ if self.count == 0 => None,
            Reducer::Mean { .. } => Some(self.value / self.count as f64),
            _ => Some(self.value),
        }
    }

    /// Continues with what was seen later.
    pub(super) fn append(&mut self, reducer: Reducer, later: &Self) {
        if later.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *later;
            return;
        }
        self.value = match reducer {
            // `later` started from its own first value as if that were all the past. Replacing
            // this start by the actual past is exact: n values leave (1 - coeff)^n of it.
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

    /// Combines summaries of values seen at the same time.
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

    /// The mean of two moving averages, weighted by how many values each has seen.
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
