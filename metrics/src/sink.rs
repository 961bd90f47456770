//! Where the metrics of an iteration go.

mod console;
mod console_column;
mod jsonl;

pub use self::{
    console::ConsoleSink,
    console_column::{ConsoleColumn, Format},
    jsonl::{ITERATION, JsonlSink, read_jsonl},
};
use crate::{Metrics, Result};

/// Receives the metrics of each training iteration.
pub trait Sink: Send {
    /// Records the metrics of one iteration.
    ///
    /// # Errors
    /// If the destination could not be written; the error names it.
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()>;

    /// Makes sure that nothing which was written is still held in memory.
    ///
    /// # Errors
    /// If the destination could not be written; the error names it.
    fn flush(&mut self) -> Result<()>;
}
