//! The data that a logger passes to another logger or to a checkpoint.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};

use crate::stats::Stats;

/// The series of a logger as plain data, for checkpoints and for reports of a leaf to its root.
///
/// It is serialized as a map from key to [`Stats`], and restores every number exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetricsState {
    series: BTreeMap<String, Stats>,
}

impl MetricsState {
    /// Returns the series at `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Stats> {
        self.series.get(key)
    }

    /// Returns the series with their keys, in the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Stats)> {
        self.series.iter()
    }
}

impl FromIterator<(String, Stats)> for MetricsState {
    fn from_iter<I: IntoIterator<Item = (String, Stats)>>(series: I) -> Self {
        Self { series: series.into_iter().collect() }
    }
}

impl IntoIterator for MetricsState {
    type Item = (String, Stats);
    type IntoIter = btree_map::IntoIter<String, Stats>;

    fn into_iter(self) -> Self::IntoIter {
        self.series.into_iter()
    }
}
