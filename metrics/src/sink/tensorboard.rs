//! Event files of TensorBoard.

mod event;
mod record;
mod scalar_names;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use self::event::Event;
use super::Sink;
use super::append::append_whole;
use crate::error::{MetricsError, Result};
use crate::results::Metrics;

pub use scalar_names::ScalarNames;

/// The metric that TensorBoard shows as the step.
const ENV_STEPS: &str = "env_runners/num_env_steps_sampled_lifetime";
/// The start of the name of an event file, before its time in seconds since 1970.
const PREFIX: &str = "events.out.tfevents.";
/// The largest number of event files of one second.
const MAX_FILES: u32 = 1000;

/// A sink that writes an event file for TensorBoard, one scalar per metric and iteration.
///
/// The step of a scalar is the number of environment steps sampled so far, or the iteration if a result lacks
/// it. Each iteration is handed to the operating system before [`write`](Sink::write) returns.
///
/// ```no_run
/// use rekindle_metrics::{ScalarNames, TensorBoardSink};
///
/// // `tensorboard --logdir runs` shows the run, here with Stable-Baselines3's names.
/// let sink = TensorBoardSink::create("runs/first")?.names(ScalarNames::Sb3);
/// # Ok::<(), rekindle_metrics::MetricsError>(())
/// ```
#[derive(Debug)]
pub struct TensorBoardSink {
    path: PathBuf,
    file: File,
    names: ScalarNames,
}

impl TensorBoardSink {
    /// Creates a new event file `events.out.tfevents.…` in the directory.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be created.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self> {
        Self::start(dir.as_ref(), &[Event::version()])
    }

    /// Creates a new event file for a run that continues after `env_steps` environment steps. TensorBoard drops the
    /// scalars of later steps in earlier files of the directory.
    ///
    /// # Errors
    /// [`MetricsError::Io`] if the file cannot be created.
    pub fn resume(dir: impl AsRef<Path>, env_steps: u64) -> Result<Self> {
        Self::start(dir.as_ref(), &[Event::version(), Event::restart(env_steps.saturating_add(1))])
    }

    /// Sets the names of the scalars. Defaults to RLlib's names, which are the names of the metrics.
    #[must_use]
    pub fn names(mut self, names: ScalarNames) -> Self {
        self.names = names;
        self
    }

    /// Returns the path of the event file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn start(dir: &Path, events: &[Event<'_>]) -> Result<Self> {
        let (path, file) = new_file(dir)?;
        let sink = Self { path, file, names: ScalarNames::default() };
        sink.append(events)?;
        Ok(sink)
    }

    /// Appends events at once, so that a reader sees whole iterations.
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut bytes = Vec::new();
        for event in events {
            record::append(&mut bytes, &event.encode(now()));
        }
        append_whole(&self.file, &bytes)
            .map_err(|source| MetricsError::Io { path: self.path.clone(), source })
    }
}

impl Sink for TensorBoardSink {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<()> {
        // Counts are below 2^53, so they are exact.
        let step = metrics.get(ENV_STEPS).map_or(iteration, |steps| steps as u64);
        let scalars = self.names.of(metrics);
        let scalars: Vec<_> =
            scalars.iter().map(|(tag, value)| (tag.as_str(), *value as f32)).collect();
        self.append(&[Event::scalars(step, &scalars)])
    }

    fn flush(&mut self) -> Result<()> {
        // Every event is written at once.
        Ok(())
    }
}

/// Seconds since 1970, or 0 with a clock before that.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Creates a file whose name sorts after those of the other event files, because TensorBoard reads them in the order of
/// their names. They may be of the same second, or of a later one if the clock was set back.
fn new_file(dir: &Path) -> Result<(PathBuf, File)> {
    let failed = |source| MetricsError::Io { path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let after = last_second(dir).map_err(failed)?.map_or(0, |last| last.saturating_add(1));
    let second = after.max(now() as u64);
    let stem = format!("{PREFIX}{second:010}.rekindle.{}", std::process::id());
    for n in 0..MAX_FILES {
        let path = dir.join(format!("{stem}.{n}"));
        match File::options().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(MetricsError::Io { path, source }),
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

/// Returns the largest time in the names of the event files of a directory.
fn last_second(dir: &Path) -> io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next());
        last = last.max(time.and_then(|time| time.parse().ok()));
    }
    Ok(last)
}
