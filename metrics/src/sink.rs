//! Destinations of the metrics of an iteration.

mod append;
mod console;
mod console_column;
mod csv;
mod jsonl;
mod or_warn;
mod tensorboard;

pub use self::{
    console::ConsoleSink,
    console_column::{ConsoleColumn, Format},
    csv::CsvSink,
    jsonl::{ITERATION, JsonlSink, read_jsonl, read_last_jsonl},
    or_warn::OrWarn,
    tensorboard::{ScalarNames, TensorBoardSink},
};
use crate::error::Result;
use crate::results::Metrics;

/// Receives the metrics of each training iteration.
pub trait Sink: Send {
    /// Records the metrics of one iteration.
    ///
    /// # Errors
    /// If the destination could not be written; the error names it.
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()>;

    /// Flushes buffered output.
    ///
    /// # Errors
    /// If the destination could not be written; the error names it.
    fn flush(&mut self) -> Result<()>;

    /// Turns errors of this sink into warnings of `tracing`, so that a full disk or a removed directory
    /// does not end a training run. An algorithm does so with all its sinks.
    ///
    /// ```no_run
    /// use rekindle_metrics::{JsonlSink, Metrics, Sink};
    ///
    /// let mut sink = JsonlSink::create("metrics.jsonl")?.or_warn();
    /// sink.write(1, &Metrics::new())?; // Never an error.
    /// # Ok::<(), rekindle_metrics::MetricsError>(())
    /// ```
    fn or_warn(self) -> OrWarn<Self>
    where
        Self: Sized,
    {
        OrWarn::new(self)
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        (**self).write(iteration, metrics)
    }

    fn flush(&mut self) -> Result<()> {
        (**self).flush()
    }
}
