//! One JSON object per line and iteration.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::Sink;
use super::append::append_whole;
use crate::error::{MetricsError, Result};
use crate::results::{Metrics, finite};

/// The key of the iteration in a JSONL line (RLlib's name).
pub const ITERATION: &str = "training_iteration";

/// A sink that writes metrics to a file, one flat JSON object per line.
///
/// Each line is handed to the operating system before [`write`](Sink::write) returns, so a killed
/// process loses none. `pandas.read_json(path, lines=True)` reads the file.
///
/// A line that cannot be written whole, for example on a full disk, leaves no part of it in the
/// file, and the next line is tried again. Several writers may append to one file: their lines do
/// not mix. If the file is removed or replaced meanwhile, the next line goes to a new file at the
/// same path. To continue training when the file cannot be written, use [`or_warn`](Sink::or_warn).
#[derive(Debug)]
pub struct JsonlSink {
    path: PathBuf,
    file: File,
}

impl JsonlSink {
    /// Creates a new file at `path`, and replaces an existing one.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path.as_ref(), |file| file.set_len(0))
    }

    /// Opens the file at `path` to append lines, and creates it if it does not exist. A last line that
    /// a crash has cut short is dropped.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be opened.
    pub fn append(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::open(path, |file| drop_incomplete_line(path, file))
    }

    /// Opens the file at `path` to continue after `iteration`, and creates it if it does not exist. Lines of later
    /// iterations are dropped, because the run repeats them. An incomplete last line after a crash is dropped, too.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be opened.
    pub fn resume(path: impl AsRef<Path>, iteration: u64) -> Result<Self> {
        let path = path.as_ref();
        Self::open(path, |file| drop_later_lines(path, file, iteration))
    }

    fn open(path: &Path, prepare: impl FnOnce(&File) -> io::Result<()>) -> Result<Self> {
        let prepared = open(path).and_then(|file| {
            // Pipes and devices have no length.
            if file.metadata()?.is_file() {
                prepare(&file)?;
            }
            Ok(file)
        });
        match prepared {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(source) => Err(io_error(path, source)),
        }
    }

    /// Appends a line, whole or not at all.
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if !is_same(&self.file, &self.path) {
            self.file = open(&self.path)?;
        }
        append_whole(&self.file, line)
    }
}

impl Sink for JsonlSink {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        let mut line = serde_json::to_vec(&Line { iteration, metrics })
            .map_err(|source| io_error(&self.path, source.into()))?;
        line.push(b'\n');
        self.write_line(&line).map_err(|source| io_error(&self.path, source))
    }

    fn flush(&mut self) -> Result<()> {
        // Nothing is held back.
        Ok(())
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

/// Reads the last complete line of the file of a [`JsonlSink`] without reading the lines before. Returns `None` if no line
/// is complete.
///
/// # Errors
/// [`MetricsError::Io`] if the file cannot be read, or if the line is not an object of numbers and nulls.
pub fn read_last_jsonl(path: impl AsRef<Path>) -> Result<Option<Metrics>> {
    let path = path.as_ref();
    let last = File::open(path).and_then(last_line).map_err(|source| io_error(path, source))?;
    let parse = |line: Vec<u8>| serde_json::from_slice(&line);
    last.map(parse).transpose().map_err(|source| io_error(path, source.into()))
}

/// Returns the last complete line of a file, without its end.
fn last_line(mut file: File) -> io::Result<Option<Vec<u8>>> {
    /// Bytes that are read first, which usually hold the last line.
    const FIRST: u64 = 64 << 10;
    let length = file.metadata()?.len();
    let mut size = FIRST;
    loop {
        let start = length.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.by_ref().take(size).read_to_end(&mut bytes)?;
        let line_break = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
        if let Some(end) = line_break(&bytes) {
            bytes.truncate(end);
            match line_break(&bytes) {
                Some(before) => return Ok(Some(bytes.split_off(before + 1))),
                None if start == 0 => return Ok(Some(bytes)),
                None => {}
            }
        }
        if start == 0 {
            return Ok(None);
        }
        size = size.saturating_mul(2);
    }
}

/// Opens a file so that every write appends to it, also after writes of other processes.
fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Cuts a file after its last complete line.
fn drop_incomplete_line(path: &Path, file: &File) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if complete < bytes.len() { file.set_len(complete as u64) } else { Ok(()) }
}

/// Cuts a file before its first line of a later iteration, and after its last complete line.
fn drop_later_lines(path: &Path, file: &File, iteration: u64) -> io::Result<()> {
    /// The first key of a line. Other keys are skipped without being stored.
    #[derive(serde::Deserialize)]
    struct Line {
        training_iteration: u64,
    }
    let bytes = fs::read(path)?;
    let is_kept = |line: &&[u8]| {
        let line = line.strip_suffix(b"\n").map(serde_json::from_slice::<Line>);
        // A line that is not metrics stays in the file, so that readers report it.
        let is_later = |line: Line| line.training_iteration > iteration;
        line.is_some_and(|line| !line.is_ok_and(is_later))
    };
    let kept = bytes.split_inclusive(|byte| *byte == b'\n').take_while(is_kept);
    file.set_len(kept.map(|line| line.len() as u64).sum())
}

/// Whether the file at the path is the open one.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Returns `true`: an open file cannot be removed or replaced on this system.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

fn io_error(path: &Path, source: io::Error) -> MetricsError {
    MetricsError::Io { path: path.to_owned(), source }
}

/// A line: the iteration first, then the metrics in their order.
struct Line<'a> {
    iteration: u64,
    metrics: &'a Metrics,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(ITERATION, &self.iteration)?;
        // A metric with the name of the iteration would repeat the key.
        for (key, value) in self.metrics.iter().filter(|(key, _)| *key != ITERATION) {
            map.serialize_entry(key, &finite(value))?;
        }
        map.end()
    }
}
