//! One JSON object per line and iteration.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    super::{MetricsError, results::finite},
    Metrics, Result, Sink,
};

/// The key of the iteration in a JSONL line (RLlib's name).
pub const ITERATION: &str = "training_iteration";

/// Writes metrics to a file, one flat JSON object per line.
///
/// Each line is handed to the operating system before [`write`](Sink::write) returns, so a killed
/// process loses none. `pandas.read_json(path, lines=True)` reads the file.
#[derive(Debug)]
pub struct JsonlSink {
    path: PathBuf,
    file: BufWriter<File>,
}

impl JsonlSink {
    /// Writes to a new file; an existing one is replaced.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self::over(path, File::create(path).map_err(|source| io_error(path, source))?))
    }

    /// Writes after the lines of an existing file, or to a new file. A last line which a crash has
    /// cut short is dropped.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be opened.
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self::over(path, open_at_end(path).map_err(|source| io_error(path, source))?))
    }

    fn over(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file: BufWriter::new(file) }
    }
}

impl Sink for JsonlSink {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        serde_json::to_writer(&mut self.file, &Line { iteration, metrics })
            .map_err(|source| io_error(&self.path, source.into()))?;
        self.file.write_all(b"\n").map_err(|source| io_error(&self.path, source))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|source| io_error(&self.path, source))
    }
}

/// Reads the file of a [`JsonlSink`]; the iteration is the metric [`ITERATION`].
///
/// # Errors
/// [`MetricsError::Io`] if the file cannot be read, [`MetricsError::Json`] with the number of the
/// first line that is not an object of numbers and nulls.
pub fn read_jsonl(path: impl AsRef<Path>) -> Result<Vec<Metrics>> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    // Split as bytes, so that text which is not UTF-8 is an error of its line.
    let parse = |(index, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|source| MetricsError::Json {
            path: path.to_owned(),
            line: index + 1,
            source,
        })
    };
    lines.split(|byte| *byte == b'\n').enumerate().map(parse).collect()
}

/// Opens a file behind its last complete line.
fn open_at_end(path: &Path) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let bytes = fs::read(path)?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(complete as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

fn io_error(path: &Path, source: io::Error) -> MetricsError {
    MetricsError::Io { path: path.to_owned(), source }
}

/// The iteration first, then the metrics in their order.
struct Line<'a> {
    iteration: u64,
    metrics: &'a Metrics,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(ITERATION, &self.iteration)?;
        // A metric of the same name would be a second key.
        for (key, value) in self.metrics.iter().filter(|(key, _)| *key != ITERATION) {
            map.serialize_entry(key, &finite(value))?;
        }
        map.end()
    }
}
