//! The logger: many series under their keys.

mod state;
#[cfg(test)]
mod tests;
mod throughput;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub use self::state::MetricsState;
use self::throughput::Throughput;
use crate::error::{MetricsError, Result};
use crate::path;
use crate::reducer::Reducer;
use crate::results::Metrics;
use crate::stats::Stats;

/// Collects values under keys and reduces them once per iteration (RLlib's `MetricsLogger`).
///
/// A key is a path such as `learners/default_policy/entropy`. Its first use fixes its reducer.
/// A logger is a leaf, which hands over its values ([`take`](Self::take)), or a root, which gathers the
/// values of leaves ([`aggregate`](Self::aggregate)) and reports them ([`reduce`](Self::reduce)).
#[derive(Clone, Debug, Default)]
pub struct MetricsLogger {
    series: BTreeMap<String, Stats>,
    throughput: Throughput,
    undo: Option<Undo>,
}

/// What [`MetricsLogger::roll_back`] returns to.
#[derive(Clone, Debug)]
struct Undo {
    /// The series that have changed, as they were before; `None` for new ones.
    series: BTreeMap<String, Option<Stats>>,
    throughput: Throughput,
}

impl MetricsLogger {
    /// Creates a logger without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins changes that [`roll_back`](Self::roll_back) undoes, until [`commit`](Self::commit). Only series
    /// that change are copied. Changes that have begun before are committed.
    pub fn begin(&mut self) {
        self.commit();
        let throughput = self.throughput.clone();
        self.undo = Some(Undo { series: BTreeMap::new(), throughput });
    }

    /// Keeps the changes since [`begin`](Self::begin).
    pub fn commit(&mut self) {
        for key in self.undo.take().into_iter().flat_map(|undo| undo.series.into_keys()) {
            if let Some(stats) = self.series.get_mut(&key) {
                stats.kept.0 = false;
            }
        }
    }

    /// Undoes the changes since [`begin`](Self::begin). Does nothing after [`commit`](Self::commit).
    pub fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.throughput = undo.throughput;
        for (key, stats) in undo.series {
            match stats {
                Some(stats) => drop(self.series.insert(key, stats)),
                None => drop(self.series.remove(&key)),
            }
        }
    }

    /// Copies all series that have not changed since [`begin`](Self::begin), before all of them change.
    fn keep_all(&mut self) {
        let Some(undo) = &mut self.undo else { return };
        for (key, stats) in &self.series {
            if !undo.series.contains_key(key) {
                undo.series.insert(key.clone(), Some(stats.clone()));
            }
        }
    }

    /// Adds a value to the series at `key`, which is created by its first value.
    ///
    /// NaN does not enter the reduction; [`reduce`](Self::reduce) reports how often it occurred.
    ///
    /// # Errors
    /// [`MetricsError::InvalidKey`] or [`MetricsError::InvalidReducer`] on the first use,
    /// [`MetricsError::ReducerConflict`] if an earlier use fixed another reducer.
    pub fn log_value(&mut self, key: &str, value: f64, reducer: Reducer) -> Result<()> {
        self.log_values(key, [value], reducer)
    }

    /// Adds values to the series at `key`, in order, as [`log_value`](Self::log_value) does for each.
    ///
    /// # Errors
    /// As [`log_value`](Self::log_value).
    pub fn log_values(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = f64>,
        reducer: Reducer,
    ) -> Result<()> {
        let series = self.series(key, reducer)?;
        values.into_iter().for_each(|value| series.push(value));
        Ok(())
    }

    /// Logs several values under `prefix` (the top level if empty) with one reducer.
    ///
    /// # Errors
    /// As [`log_value`](Self::log_value); the values before the failing one have been logged.
    pub fn log_dict<K: AsRef<str>>(
        &mut self,
        prefix: &str,
        values: impl IntoIterator<Item = (K, f64)>,
        reducer: Reducer,
    ) -> Result<()> {
        values.into_iter().try_for_each(|(key, value)| {
            self.log_value(&path::join(prefix, key.as_ref()), value, reducer)
        })
    }

    /// Adds to the seconds spent on `key` in this iteration.
    ///
    /// Times are summed, so that they can be compared with each other and with the duration of the
    /// iteration. For an average per call, log [`Duration::as_secs_f64`] with another reducer.
    ///
    /// # Errors
    /// As [`log_value`](Self::log_value).
    pub fn log_time(&mut self, key: &str, time: Duration) -> Result<()> {
        self.log_value(key, time.as_secs_f64(), Reducer::SUM)
    }

    /// Runs `work`, which may also log, and [logs its duration](Self::log_time).
    ///
    /// # Errors
    /// As [`log_value`](Self::log_value), before `work` is run.
    pub fn time<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> Result<T> {
        self.series(key, Reducer::SUM)?;
        let start = Instant::now();
        let result = work(self);
        self.log_time(key, start.elapsed())?;
        Ok(result)
    }

    /// Returns the current reduction of the series at `key`; `None` if it has no value.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<f64> {
        self.series.get(key)?.peek()
    }

    /// Returns the current reduction of the series at `key`, or `default` if it has no value.
    #[must_use]
    pub fn peek_or(&self, key: &str, default: f64) -> f64 {
        self.peek(key).unwrap_or(default)
    }

    /// Ends an iteration: reports every series that has a value and clears those that describe
    /// one iteration.
    ///
    /// Two metrics are added to those that were logged:
    /// * `<key>_throughput` for each lifetime sum: its growth per second since the previous reduction
    ///   or since the state was restored; absent before the first of them. Sums of seconds, whose keys
    ///   end in `_s`, have none.
    /// * `<key>_nan_count` for each series to which NaN was logged: how often, in this iteration.
    pub fn reduce(&mut self) -> Metrics {
        self.reduce_at(Instant::now())
    }

    fn reduce_at(&mut self, now: Instant) -> Metrics {
        self.keep_all();
        let mut metrics: Metrics = self.throughput.since_last(&self.series, now).collect();
        self.throughput = Throughput::starting(&self.series, now);
        for (key, stats) in &mut self.series {
            if stats.nan_count() > 0 {
                metrics.insert(format!("{key}_nan_count"), stats.nan_count() as f64);
            }
            if let Some(value) = stats.reduce() {
                metrics.insert(key.as_str(), value);
            }
        }
        metrics
    }

    /// Moves out everything logged since the last call, for [`aggregate`](Self::aggregate) on
    /// another logger.
    ///
    /// The series remain but are empty. Lifetime sums continue in the other logger. Series without anything
    /// to report are left out.
    #[must_use]
    pub fn take(&mut self) -> MetricsState {
        self.keep_all();
        self.throughput = Throughput::default();
        let logged = self.series.iter_mut().filter(|(_, stats)| !stats.is_empty());
        logged.map(|(key, stats)| (key.clone(), stats.take())).collect()
    }

    /// Merges the reports of parallel components into the series under `prefix` (the top level if
    /// empty). See [`Stats::merge`] for the arithmetic.
    ///
    /// # Errors
    /// [`MetricsError::InvalidKey`], or [`MetricsError::ReducerConflict`] if the components or
    /// this logger disagree on a reducer; nothing is merged then.
    pub fn aggregate(
        &mut self,
        prefix: &str,
        reports: impl IntoIterator<Item = MetricsState>,
    ) -> Result<()> {
        let reports: Vec<MetricsState> = reports.into_iter().collect();
        // One buffer for all keys: reports are merged after every update, however short.
        let mut path = String::new();
        let under = |path: &mut String, key: &str| {
            path.clear();
            path::extend(path, prefix);
            path::extend(path, key);
        };
        for (index, report) in reports.iter().enumerate() {
            for (key, stats) in report.iter() {
                under(&mut path, key);
                path::check(&path)?;
                let earlier = || reports[..index].iter().find_map(|report| report.get(key));
                if let Some(fixed) = self.series.get(&path).or_else(earlier) {
                    check_reducer(&path, fixed, stats.reducer())?;
                }
            }
        }
        for (index, report) in reports.iter().enumerate() {
            for (key, first) in report.iter() {
                if reports[..index].iter().all(|earlier| earlier.get(key).is_none()) {
                    under(&mut path, key);
                    let parts = reports[index..].iter().filter_map(|report| report.get(key));
                    self.series(&path, first.reducer())?.merge_all(parts);
                }
            }
        }
        Ok(())
    }

    /// Removes the series at `key` and all series under it.
    ///
    /// # Errors
    /// [`MetricsError::UnknownKey`] if there is none.
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.keep_all();
        let before = self.series.len();
        self.series.retain(|other, _| !path::is_at_or_under(other, key));
        self.throughput.forget(key);
        if self.series.len() == before {
            return Err(unknown(key));
        }
        Ok(())
    }

    /// Removes all series.
    pub fn reset(&mut self) {
        self.keep_all();
        (self.series, self.throughput) = Default::default();
    }

    /// Returns the state that a checkpoint saves.
    #[must_use]
    pub fn state(&self) -> MetricsState {
        self.series.iter().map(|(key, stats)| (key.clone(), stats.clone())).collect()
    }

    /// Replaces the series with those of a saved state. Throughput is measured from this call on.
    pub fn set_state(&mut self, state: MetricsState) {
        self.keep_all();
        self.series = state.into_iter().collect();
        if let Some(undo) = &mut self.undo {
            for key in self.series.keys() {
                undo.series.entry(key.clone()).or_insert(None);
            }
        }
        self.throughput = Throughput::starting(&self.series, Instant::now());
    }

    /// Returns the series at `key` and creates it on its first use.
    fn series(&mut self, key: &str, reducer: Reducer) -> Result<&mut Stats> {
        if !self.series.contains_key(key) {
            path::check(key)?;
            self.series.insert(key.to_owned(), Stats::new(reducer)?);
            if let Some(undo) = &mut self.undo {
                undo.series.entry(key.to_owned()).or_insert(None);
            }
        }
        let Some(stats) = self.series.get_mut(key) else { return Err(unknown(key)) };
        check_reducer(key, stats, reducer)?;
        if let Some(undo) = &mut self.undo
            && !stats.kept.0
        {
            undo.series.entry(key.to_owned()).or_insert_with(|| Some(stats.clone()));
            stats.kept.0 = true;
        }
        Ok(stats)
    }
}

fn unknown(key: &str) -> MetricsError {
    MetricsError::UnknownKey { key: key.to_owned() }
}

fn check_reducer(key: &str, fixed: &Stats, found: Reducer) -> Result<()> {
    let expected = fixed.reducer();
    if found != expected {
        return Err(MetricsError::ReducerConflict { key: key.to_owned(), expected, found });
    }
    Ok(())
}
