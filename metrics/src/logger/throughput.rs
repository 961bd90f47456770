//! The growth of lifetime sums per second.

use std::{collections::BTreeMap, time::Instant};

use crate::path;
use crate::reducer::Reducer;
use crate::stats::Stats;

/// The lifetime sums at the last reduction.
#[derive(Clone, Debug, Default)]
pub(super) struct Throughput {
    /// `None` before the first reduction.
    start: Option<Instant>,
    totals: BTreeMap<String, f64>,
}

impl Throughput {
    /// Starts measuring at `now`.
    pub(super) fn starting(series: &BTreeMap<String, Stats>, now: Instant) -> Self {
        let totals = lifetime_sums(series).map(|(key, total)| (key.to_owned(), total)).collect();
        Self { start: Some(now), totals }
    }

    /// Returns `<key>_throughput` and the growth per second of every sum that existed at the start.
    pub(super) fn since_last<'a>(
        &'a self,
        series: &'a BTreeMap<String, Stats>,
        now: Instant,
    ) -> impl Iterator<Item = (String, f64)> + 'a {
        let seconds =
            self.start.map_or(0.0, |start| now.saturating_duration_since(start).as_secs_f64());
        lifetime_sums(series).filter(move |_| seconds > 0.0).filter_map(move |(key, total)| {
            let grown = total - self.totals.get(key)?;
            Some((format!("{key}_throughput"), grown / seconds))
        })
    }

    /// Forgets the sums at and under `key`, which may start again from zero.
    pub(super) fn forget(&mut self, key: &str) {
        self.totals.retain(|other, _| !path::is_at_or_under(other, key));
    }
}

/// Seconds per second mean nothing.
const SECONDS: &str = "_s";

/// Returns the lifetime sums that have a throughput.
fn lifetime_sums(series: &BTreeMap<String, Stats>) -> impl Iterator<Item = (&str, f64)> {
    series
        .iter()
        .filter(|(key, stats)| stats.reducer() == Reducer::LifetimeSum && !key.ends_with(SECONDS))
        .filter_map(|(key, stats)| Some((key.as_str(), stats.peek()?)))
}
