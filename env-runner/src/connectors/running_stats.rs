//! Running mean and variance, learned by several runners.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::saved::{invalid, load_state, save_state};
use crate::Result;

/// Count, mean and sum of squared deviations of every element of a row (Welford, 1962).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunningStats {
    count: f64,
    mean: Vec<f64>,
    m2: Vec<f64>,
    /// Rows left out because they hold a NaN or an infinity.
    #[serde(default, skip_serializing_if = "is_zero")]
    skipped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RunningStats {
    fn reserve(&mut self, width: usize) {
        self.mean.resize(width, 0.0);
        self.m2.resize(width, 0.0);
    }

    fn push(&mut self, row: impl Iterator<Item = f64>) {
        self.count += 1.0;
        for ((x, mean), m2) in row.zip(&mut self.mean).zip(&mut self.m2) {
            let delta = x - *mean;
            *mean += delta / self.count;
            *m2 += delta * (x - *mean);
        }
    }

    /// Adds the statistics of other rows (Chan et al., 1979).
    fn merge(&mut self, other: &Self) {
        self.skipped += other.skipped;
        if other.count == 0.0 {
            return;
        }
        self.reserve(other.mean.len());
        let count = self.count + other.count;
        for (i, (mean, m2)) in self.mean.iter_mut().zip(&mut self.m2).enumerate() {
            let delta = other.mean[i] - *mean;
            *mean += delta * other.count / count;
            *m2 += other.m2[i] + delta * delta * self.count * other.count / count;
        }
        self.count = count;
    }

    /// Returns the reason why these are not valid statistics of rows of `width` elements; `None` if
    /// they are.
    fn fault(&self, width: usize) -> Option<String> {
        if self.mean.len() != self.m2.len() {
            return Some("mean and deviation differ in length".into());
        }
        if self.mean.len() != width && !(self.mean.is_empty() && self.count == 0.0) {
            return Some(format!("it is about {} elements, not {width}", self.mean.len()));
        }
        let mut numbers = self.mean.iter().chain(&self.m2).chain([&self.count]);
        if numbers.any(|number| !number.is_finite()) {
            return Some("a count, mean or squared deviation is not finite".into());
        }
        let negative = self.count < 0.0 || self.m2.iter().any(|m2| *m2 < 0.0);
        negative.then(|| "a count or a squared deviation is negative".into())
    }

    pub(super) fn mean(&self, index: usize) -> f64 {
        self.mean[index]
    }

    /// Returns the sample standard deviation; 1 before the second row.
    pub(super) fn std(&self, index: usize) -> f64 {
        if self.count < 2.0 { 1.0 } else { (self.m2[index] / (self.count - 1.0)).sqrt() }
    }

    /// Returns the population variance; 1 before the second row.
    pub(super) fn variance(&self, index: usize) -> f64 {
        if self.count < 2.0 { 1.0 } else { self.m2[index] / self.count }
    }
}

/// Statistics that several runners learn together.
///
/// Each runner learns on its own and merges between samples. The merged statistics equal those of
/// one runner over all rows. Rows that are not finite are skipped and counted: a single one would
/// make every later result NaN.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedStats {
    /// Statistics as of the last merge.
    merged: RunningStats,
    /// Statistics since the last merge.
    delta: RunningStats,
    /// Both combined.
    current: RunningStats,
}

impl SharedStats {
    /// Makes room for rows of `width` elements.
    pub(super) fn reserve(&mut self, width: usize) {
        self.delta.reserve(width);
        self.current.reserve(width);
    }

    /// Learns from a row, or skips it if an element is not finite. `connector` is for the warning.
    pub(super) fn push(&mut self, connector: &str, row: impl Iterator<Item = f64> + Clone) {
        if row.clone().all(f64::is_finite) {
            self.delta.push(row.clone());
            self.current.push(row);
        } else {
            self.skip(connector);
        }
    }

    /// Counts a row that is left out, and warns of the first.
    #[cold]
    pub(super) fn skip(&mut self, connector: &str) {
        if self.current.skipped == 0 {
            tracing::warn!(connector, "a value is not finite; the running statistics skip its row");
        }
        self.delta.skipped += 1;
        self.current.skipped += 1;
    }

    pub(super) fn current(&self) -> &RunningStats {
        &self.current
    }

    /// Returns the number of rows skipped so far, by all runners as of the last merge and by this
    /// one.
    pub(super) fn skipped(&self) -> u64 {
        self.current.skipped
    }

    pub(super) fn save(&self) -> Result<Value> {
        save_state(self)
    }

    /// Replaces everything. `width` is the number of elements of a row.
    pub(super) fn load(&mut self, name: &'static str, state: &Value, width: usize) -> Result<()> {
        let state: Self = load_state(name, state)?;
        for stats in [&state.merged, &state.delta, &state.current] {
            if let Some(reason) = stats.fault(width) {
                return Err(invalid(name, reason));
            }
        }
        *self = state;
        Ok(())
    }

    pub(super) fn take_delta(&mut self) -> Result<Value> {
        save_state(&std::mem::take(&mut self.delta))
    }

    /// Adds the statistics of all runners, all or none.
    pub(super) fn merge(
        &mut self,
        name: &'static str,
        deltas: &[Value],
        width: usize,
    ) -> Result<()> {
        let mut merged = self.merged.clone();
        for delta in deltas {
            let delta: RunningStats = load_state(name, delta)?;
            if let Some(reason) = delta.fault(width) {
                return Err(invalid(name, reason));
            }
            merged.merge(&delta);
        }
        self.current = merged.clone();
        self.merged = merged;
        self.delta = RunningStats::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(rows: &[f64]) -> SharedStats {
        let mut stats = SharedStats::default();
        stats.reserve(1);
        rows.iter().for_each(|x| stats.push("test", std::iter::once(*x)));
        stats
    }

    #[test]
    fn rows_that_are_not_finite_are_skipped_and_counted() {
        let with = stats(&[1.0, f64::INFINITY, 2.0, f64::NAN, 3.0, 4.0]);
        let without = stats(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(with.skipped(), 2);
        assert_eq!(with.current().mean, without.current().mean);
        assert_eq!(with.current().m2, without.current().m2);
    }

    #[test]
    fn skipped_rows_are_counted_across_runners() {
        let mut two = [stats(&[1.0, f64::NAN]), stats(&[f64::NAN, f64::NAN, 2.0])];
        let deltas: Vec<_> = two.iter_mut().map(|s| s.take_delta().unwrap()).collect();
        for stats in &mut two {
            stats.merge("test", &deltas, 1).unwrap();
            assert_eq!(stats.skipped(), 3);
        }
    }

    #[test]
    fn states_of_other_rows_are_refused_and_change_nothing() {
        let mut ours = stats(&[1.0, 2.0]);
        let before = ours.clone();
        let state = ours.save().unwrap();
        assert!(ours.load("test", &state, 2).unwrap_err().to_string().contains("1 elements"));
        let mut damaged = state;
        damaged["current"]["m2"] = serde_json::json!([-1.0]);
        assert!(ours.load("test", &damaged, 1).unwrap_err().to_string().contains("negative"));
        for (field, value) in [("mean", "NaN"), ("m2", "inf"), ("mean", "-inf")] {
            let mut state = ours.save().unwrap();
            state["current"][field] = serde_json::json!([{"$float": value}]);
            let message = ours.load("test", &state, 1).unwrap_err().to_string();
            assert!(message.contains("not finite"), "{message}");
        }
        let deltas = [damaged["merged"].clone(), damaged["current"].clone()];
        assert!(ours.merge("test", &deltas, 1).is_err());
        assert_eq!(ours, before);
    }
}
