//! One row per iteration.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Sink;
use super::append::append_whole;
use super::jsonl::ITERATION;
use crate::error::{MetricsError, Result};
use crate::results::Metrics;

/// A sink that writes metrics to a CSV file with one row per iteration, like the `progress.csv` of RLlib and
/// Stable-Baselines3.
///
/// The first column is the iteration, and the others are metrics. When a result has new metrics, for example after the
/// first evaluation, the file is rewritten with additional columns at the end. A missing metric is an empty cell.
/// Numbers that are not finite are written as `NaN`, `inf` and `-inf`.
#[derive(Debug)]
pub struct CsvSink {
    path: PathBuf,
    file: File,
    /// The metrics of the columns after the iteration.
    columns: Vec<String>,
}

impl CsvSink {
    /// Creates a new file at `path`, and replaces an existing one.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = replace(path, b"").map_err(|source| io_error(path, source))?;
        Ok(Self { path: path.to_owned(), file, columns: Vec::new() })
    }

    /// Opens the file at `path` to continue after `iteration`, and creates it if it does not exist. Rows of later
    /// iterations are dropped, and so is an incomplete last row after a crash.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be opened or rewritten.
    pub fn resume(path: impl AsRef<Path>, iteration: u64) -> Result<Self> {
        let path = path.as_ref();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            Err(source) => return Err(io_error(path, source)),
        };
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let header = lines.next().unwrap_or_default();
        let columns = columns_of(header);
        let is_kept = |row: &&str| {
            let first = row.split(',').next().unwrap_or_default().trim();
            first.parse::<u64>().is_ok_and(|number| number <= iteration)
        };
        let kept: String = std::iter::once(header).chain(lines.filter(is_kept)).collect();
        let file = replace(path, kept.as_bytes()).map_err(|source| io_error(path, source))?;
        Ok(Self { path: path.to_owned(), file, columns })
    }

    /// Adds columns for the metrics that have none, with empty cells in earlier rows.
    fn add_columns(&mut self, metrics: &Metrics) -> io::Result<()> {
        let is_new = |key: &&str| *key != ITERATION && !self.columns.iter().any(|c| c == key);
        let new: Vec<String> =
            metrics.iter().map(|(key, _)| key).filter(is_new).map(Into::into).collect();
        if new.is_empty() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let columns: Vec<String> = self.columns.iter().cloned().chain(new.clone()).collect();
        let mut rewritten = header(&columns);
        let empty = ",".repeat(new.len());
        for row in text.lines().skip(1) {
            rewritten.push_str(row);
            rewritten.push_str(&empty);
            rewritten.push('\n');
        }
        self.file = replace(&self.path, rewritten.as_bytes())?;
        self.columns = columns;
        Ok(())
    }

    fn write_row(&mut self, iteration: u64, metrics: &Metrics) -> io::Result<()> {
        self.add_columns(metrics)?;
        let mut row = iteration.to_string();
        for column in &self.columns {
            row.push(',');
            if let Some(value) = metrics.get(column) {
                row.push_str(&value.to_string());
            }
        }
        row.push('\n');
        append_whole(&self.file, row.as_bytes())
    }
}

impl Sink for CsvSink {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        self.write_row(iteration, metrics).map_err(|source| io_error(&self.path, source))
    }

    fn flush(&mut self) -> Result<()> {
        // Every row is written at once.
        Ok(())
    }
}

fn header(columns: &[String]) -> String {
    let mut line = ITERATION.to_owned();
    for column in columns {
        line.push(',');
        line.push_str(&quoted(column));
    }
    line.push('\n');
    line
}

/// Quotes a name that would break the row (RFC 4180).
fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n', '\r']) {
        // A line break inside quotes is legal, but programs that read line by line do not expect it.
        true => format!("\"{}\"", name.replace('"', "\"\"").replace(['\n', '\r'], " ")),
        false => name.to_owned(),
    }
}

/// Returns the names in a header, without the iteration.
fn columns_of(header: &str) -> Vec<String> {
    let (mut names, mut name, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = header.trim_end().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names.into_iter().skip(1).collect()
}

/// Replaces a file as a whole, so that a crash leaves the old or the new file. Opens the new file to append.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::options().append(true).open(path)
}

fn io_error(path: &Path, source: io::Error) -> MetricsError {
    MetricsError::Io { path: path.to_owned(), source }
}
