//! Results as lines of JSON, written as they come.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

/// What the parts printed, and how each ended.
pub(crate) struct Results {
    started: Instant,
    written: Mutex<(File, Vec<Value>)>,
}

impl Results {
    /// Creates `results.jsonl` in a folder.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let file = File::create(folder.join("results.jsonl"))?;
        Ok(Self { started: Instant::now(), written: Mutex::new((file, Vec::new())) })
    }

    /// Adds a line of a part. Text other than a JSON object is kept as a message.
    pub(crate) fn push(&self, part: &str, line: &str) -> io::Result<()> {
        let mut line = match serde_json::from_str(line) {
            Ok(Value::Object(line)) => line,
            _ => [("message".to_owned(), json!(line))].into_iter().collect(),
        };
        line.insert("part".into(), json!(part));
        line.insert("at_s".into(), json!(self.started.elapsed().as_secs_f32()));
        let line = Value::Object(line);
        println!("{line}");
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(written.0, "{line}")?;
        written.1.push(line);
        Ok(())
    }

    /// Returns all lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}
