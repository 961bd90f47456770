//! A sink that does not fail, because metrics matter less than the run.

use super::Sink;
use crate::error::Result;
use crate::results::Metrics;

/// A sink whose failures are logged as warnings instead of returned; see [`Sink::or_warn`].
///
/// The first, second, fourth, eighth, … failure warns.
#[derive(Debug)]
pub struct OrWarn<S> {
    sink: S,
    failures: u64,
}

impl<S> OrWarn<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { sink, failures: 0 }
    }

    /// Returns how many writes have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    fn warn(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = result {
            self.failures += 1;
            // A disk stays full for many iterations, so not each of them warns.
            if !self.failures.is_power_of_two() {
                return Ok(());
            }
            tracing::warn!(%error, failures = self.failures, "metrics were not written");
        }
        Ok(())
    }
}

impl<S: Sink> Sink for OrWarn<S> {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        let result = self.sink.write(iteration, metrics);
        self.warn(result)
    }

    fn flush(&mut self) -> Result<()> {
        let result = self.sink.flush();
        self.warn(result)
    }
}
