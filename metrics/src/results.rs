//! The metrics of one iteration.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::path;

/// The reduced metrics of one training iteration: an ordered map from path to number.
///
/// `Display` shows an indented tree; `{:.3}` rounds the numbers to three decimals. Serialization gives one
/// flat object, which tools such as pandas read as a row. NaN and the infinities, which JSON lacks, become
/// null, and null is read as NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    values: BTreeMap<String, f64>,
}

impl Metrics {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number at `key`, for example at `env_runners/episode_return_mean`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<f64> {
        self.values.get(key).copied()
    }

    /// Sets the number at `key` and returns the one it replaces.
    pub fn insert(&mut self, key: impl Into<String>, value: f64) -> Option<f64> {
        self.values.insert(key.into(), value)
    }

    /// Inserts all of `other` under `prefix` (the top level if empty).
    pub fn extend_under(&mut self, prefix: &str, other: Self) {
        self.extend(other.into_iter().map(|(key, value)| (path::join(prefix, &key), value)));
    }

    /// Returns paths and numbers, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// Returns the number of metrics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no metrics.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<K: Into<String>> FromIterator<(K, f64)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (K, f64)>>(values: I) -> Self {
        Self { values: values.into_iter().map(|(key, value)| (key.into(), value)).collect() }
    }
}

impl<K: Into<String>> Extend<(K, f64)> for Metrics {
    fn extend<I: IntoIterator<Item = (K, f64)>>(&mut self, values: I) {
        self.values.extend(values.into_iter().map(|(key, value)| (key.into(), value)));
    }
}

impl IntoIterator for Metrics {
    type Item = (String, f64);
    type IntoIter = btree_map::IntoIter<String, f64>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Vec<&str> = Vec::new();
        for (index, (key, value)) in self.values.iter().enumerate() {
            let mut groups: Vec<&str> = key.split(path::SEPARATOR).collect();
            let name = groups.pop().unwrap_or_default();
            let shared = open.iter().zip(&groups).take_while(|(a, b)| a == b).count();
            if index > 0 {
                writeln!(f)?;
            }
            for (depth, group) in groups.iter().enumerate().skip(shared) {
                writeln!(f, "{:indent$}{group}", "", indent = 2 * depth)?;
            }
            write!(f, "{:indent$}{name}: ", "", indent = 2 * groups.len())?;
            // Passes on the precision of `{:.3}`.
            fmt::Display::fmt(value, f)?;
            open = groups;
        }
        Ok(())
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, value)| (key, finite(value))))
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|(key, value)| (key, value.unwrap_or(f64::NAN))).collect())
    }
}

/// Returns `None`, which becomes null, for a number that JSON lacks.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_an_indented_tree() {
        let metrics: Metrics = [
            ("env_runners/episode_return_mean", 21.5),
            ("env_runners/timers/env_step", 0.25),
            ("learners/default_policy/entropy", 2.0 / 3.0),
            ("learners/default_policy/policy_loss", -0.125),
            ("training_iteration", 3.0),
        ]
        .into_iter()
        .collect();
        let tree = "\
env_runners
  episode_return_mean: 21.500
  timers
    env_step: 0.250
learners
  default_policy
    entropy: 0.667
    policy_loss: -0.125
training_iteration: 3.000";
        assert_eq!(format!("{metrics:.3}"), tree);
        assert!(metrics.to_string().ends_with("training_iteration: 3"));
    }

    #[test]
    fn serializes_to_a_flat_object_with_null_for_non_finite_numbers() {
        let metrics: Metrics = [("a/b", 1.5), ("a/c", f64::INFINITY)].into_iter().collect();
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(json, r#"{"a/b":1.5,"a/c":null}"#);
        let read: Metrics = serde_json::from_str(&json).unwrap();
        assert_eq!(read.get("a/b"), Some(1.5));
        assert!(read.get("a/c").unwrap().is_nan());
    }

    #[test]
    fn extends_under_a_prefix() {
        let mut metrics: Metrics = [("a", 1.0)].into_iter().collect();
        metrics.extend_under("evaluation", [("a", 2.0)].into_iter().collect());
        metrics.extend_under("", [("b", 3.0)].into_iter().collect());
        let expected = [("a", 1.0), ("b", 3.0), ("evaluation/a", 2.0)];
        assert_eq!(metrics.iter().collect::<Vec<_>>(), expected);
    }
}
