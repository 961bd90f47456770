//! One line per iteration on a console.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Write},
};

use super::Sink;
use super::console_column::ConsoleColumn;
use crate::error::{MetricsError, Result};
use crate::results::Metrics;

/// The number of lines between two headers.
const LINES_PER_HEADER: usize = 20;
/// The width of the first column, which holds the iteration.
const ITERATION_WIDTH: usize = 6;

/// A sink that writes one aligned line per iteration: its number, then the [`ConsoleColumn`]s.
pub struct ConsoleSink {
    writer: Box<dyn Write + Send>,
    columns: Vec<ConsoleColumn>,
    lines: usize,
}

impl ConsoleSink {
    /// Creates a sink that writes `columns` to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, columns: Vec<ConsoleColumn>) -> Self {
        Self { writer, columns, lines: 0 }
    }

    /// Creates a sink that writes the [columns of progress](ConsoleColumn::progress) to the standard
    /// output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), ConsoleColumn::progress())
    }

    /// Replaces the columns.
    #[must_use]
    pub fn columns(mut self, columns: Vec<ConsoleColumn>) -> Self {
        self.columns = columns;
        self
    }

    fn write_line(&mut self, iteration: u64, metrics: &Metrics) -> io::Result<()> {
        if self.lines.is_multiple_of(LINES_PER_HEADER) {
            self.write_row("iter", ConsoleColumn::header)?;
        }
        self.lines += 1;
        self.write_row(&iteration.to_string(), |column| column.cell(metrics))?;
        self.writer.flush()
    }

    /// Writes a row at once, so that other output cannot land inside it.
    fn write_row(
        &mut self,
        first: &str,
        cell: impl Fn(&ConsoleColumn) -> String,
    ) -> io::Result<()> {
        let mut row = format!("{first:>ITERATION_WIDTH$}");
        for column in &self.columns {
            row.push_str("  ");
            row.push_str(&cell(column));
        }
        row.push('\n');
        self.writer.write_all(row.as_bytes())
    }
}

impl Sink for ConsoleSink {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        self.write_line(iteration, metrics).map_err(|source| MetricsError::Console { source })
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|source| MetricsError::Console { source })
    }
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSink")
            .field("columns", &self.columns)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}
