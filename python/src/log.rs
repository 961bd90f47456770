//! Warnings of the library, which go to Python's logger `rekindle`.
//!
//! Threads of Rust never wait for the interpreter: they store their warnings, and the next call from Python that ends
//! passes them on.

use std::io::{self, Write};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tracing_subscriber::filter::LevelFilter;

/// Lines that wait for the interpreter.
static WAITING: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Lines that may wait. Later ones are dropped, so that a program that never returns to Python does not fill the memory.
const MAX_WAITING: usize = 1000;

fn waiting() -> MutexGuard<'static, Vec<String>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to store the warnings of this process.
pub(crate) fn install() {
    // Fails if the module was loaded before in this process.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(|| Line)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_level(false)
        .try_init();
}

/// Passes stored warnings on to `logging.getLogger("rekindle")`.
pub(crate) fn pass_on(py: Python<'_>) -> PyResult<()> {
    let lines = mem::take(&mut *waiting());
    if lines.is_empty() {
        return Ok(());
    }
    let logger = py.import("logging")?.call_method1("getLogger", ("rekindle",))?;
    for line in lines {
        // As an argument, so that a percent sign in the line is no placeholder.
        logger.call_method1("warning", ("%s", line.trim()))?;
    }
    Ok(())
}

struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = waiting();
        if waiting.len() < MAX_WAITING {
            waiting.push(String::from_utf8_lossy(bytes).into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
