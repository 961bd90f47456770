//! The directory of a run: its settings, metrics, evaluations and checkpoints.
//!
//! ```text
//! runs/ppo/CartPole-v1__0__1764486000/
//!   config.toml              algorithm, settings and seed: `Experiment::read`
//!   metrics.jsonl            the result of each iteration
//!   progress.csv             the same as a table
//!   events.out.tfevents.…    the same for TensorBoard
//!   evaluations.jsonl        the episodes of each evaluation
//!   videos/                  episodes of evaluations, with the setting `evaluation_video`
//!   checkpoints/             iteration-00000050/, …, and links `latest` and `best`
//!   results.json, README.md  the last evaluation, and a model card for the Hugging Face Hub
//! ```

mod card;
mod checkpoints;
mod config;
mod date;
mod evaluations;
mod saved_run;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rekindle_core::lock::try_lock;
use rekindle_metrics::Metrics;
use serde_json::json;

use self::card::Card;
use self::checkpoints::Checkpoints;
use self::evaluations::Evaluations;
use crate::config::toml::{merge, to_value, write};
use crate::{Algorithm, AlgorithmError, Evaluation, Result};

pub use config::{RunConfig, Stop};
pub use saved_run::{ResumedRun, SavedRun};

const CONFIG: &str = "config.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const PROGRESS: &str = "progress.csv";
const EVALUATIONS: &str = "evaluations.jsonl";
const CHECKPOINTS: &str = "checkpoints";
pub(crate) const VIDEOS: &str = "videos";
/// Locked by the program that writes the folder.
const LOCK: &str = ".lock";
/// The largest number of runs of one algorithm, environment, seed and second.
const MAX_RUNS: u32 = 1000;

/// The directory of a run. An [`Algorithm`] writes into it from
/// [`with_run_folder`](Algorithm::with_run_folder) on.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    config: RunConfig,
    checkpoints: Checkpoints,
    evaluations: Evaluations,
    card: Card,
    /// Keeps other programs from writing the folder; the operating system unlocks it at the end of the process.
    _lock: File,
}

impl RunFolder {
    /// Creates a new directory `<root>/<algorithm>/<env>__<seed>__<time>`, and writes the settings into it. `<env>` is
    /// `recordings` without an environment.
    pub(crate) fn create(root: &Path, config: RunConfig, algorithm: &Algorithm) -> Result<Self> {
        config.validate()?;
        let of_algorithm = root.join(file_name(&algorithm.name().to_lowercase()));
        fs::create_dir_all(&of_algorithm).map_err(failed("create", &of_algorithm))?;
        let given = algorithm.given();
        let env = file_name(given.environment.env.as_deref().unwrap_or("recordings"));
        let seed = given.debugging.seed.unwrap_or_default();
        let path = new_folder(&of_algorithm, &format!("{env}__{seed}__{}", seconds_since_1970()))?;
        let mut settings = to_value(given)?;
        merge(&mut settings, &json!({ "algorithm": algorithm.name(), "run": to_value(&config)? }));
        let text = write(&settings)?;
        fs::write(path.join(CONFIG), text).map_err(failed("write", &path.join(CONFIG)))?;
        Self::open(path, config, algorithm)
    }

    /// Opens a directory to continue the run in it after the iterations of `algorithm`.
    pub(crate) fn open(path: PathBuf, config: RunConfig, algorithm: &Algorithm) -> Result<Self> {
        let lock = lock(&path)?;
        let folder = path.join(CHECKPOINTS);
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let evaluations = Evaluations::resume(path.join(EVALUATIONS), algorithm.iteration())?;
        Ok(Self {
            checkpoints: Checkpoints::new(folder, config.keep_checkpoints),
            card: Card::new(&path, algorithm),
            config,
            evaluations,
            path,
            _lock: lock,
        })
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the settings of the run.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Returns the link to the latest checkpoint. It leads nowhere before the first one.
    #[must_use]
    pub fn latest_checkpoint(&self) -> PathBuf {
        self.checkpoints.latest()
    }

    /// Returns the link to the checkpoint with the best evaluation. It leads nowhere before the first one.
    #[must_use]
    pub fn best_checkpoint(&self) -> PathBuf {
        self.checkpoints.best()
    }

    /// Saves the state as the latest checkpoint.
    pub(crate) fn save(&self, algorithm: &Algorithm) -> Result<PathBuf> {
        self.checkpoints.save(algorithm, false)
    }

    /// Records an evaluation of the current state. If it is the best one and the state is saved, the link `best` is
    /// updated.
    pub(crate) fn record_evaluation(&mut self, algorithm: &Algorithm, evaluation: &Evaluation) {
        if self.evaluated(algorithm, evaluation)
            && self.config.keep_best
            && let Err(error) = self.checkpoints.mark_best(algorithm)
        {
            tracing::warn!(%error, "the best checkpoint was not marked");
        }
    }

    /// Records an iteration: its evaluation if there was one, and a checkpoint if one is due. A failed write is only a
    /// warning, so that a full disk does not end the run.
    pub(crate) fn record(&mut self, algorithm: &Algorithm, evaluation: Option<&Evaluation>) {
        let is_best = evaluation.is_some_and(|evaluation| self.evaluated(algorithm, evaluation));
        let is_due = (self.config.checkpoint_interval)
            .is_some_and(|interval| algorithm.iteration().is_multiple_of(interval as u64));
        let is_best = is_best && self.config.keep_best;
        if !is_due && !is_best {
            return;
        }
        if let Err(error) = self.checkpoints.save(algorithm, is_best) {
            tracing::warn!(%error, "the state was not saved; training continues");
        }
    }

    /// Records an evaluation. Returns whether it is the best one so far.
    fn evaluated(&mut self, algorithm: &Algorithm, evaluation: &Evaluation) -> bool {
        let written = self.evaluations.write(algorithm, evaluation);
        let written = written.and_then(|()| self.card.write(evaluation));
        if let Err(error) = written {
            tracing::warn!(%error, "the evaluation was not written");
        }
        self.evaluations.is_best(evaluation)
    }
}

/// Whether a directory is the folder of a run.
#[must_use]
pub fn is_run(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    path.join(CONFIG).is_file() && path.join(CHECKPOINTS).is_dir()
}

/// Returns the path of a checkpoint of a run: `latest`, `best`, or that of an iteration by its number.
///
/// # Errors
/// [`AlgorithmError::NoCheckpoint`], with the names of the checkpoints that the run has.
pub fn checkpoint_of_run(run: impl AsRef<Path>, which: &str) -> Result<PathBuf> {
    let run = run.as_ref();
    Checkpoints::find(&run.join(CHECKPOINTS), which).map_err(|available| {
        AlgorithmError::NoCheckpoint { run: run.to_owned(), which: which.to_owned(), available }
    })
}

/// Returns the metrics of a run.
///
/// # Errors
/// If `metrics.jsonl` in the directory cannot be read.
pub fn read_run(path: impl AsRef<Path>) -> Result<Vec<Metrics>> {
    Ok(rekindle_metrics::read_jsonl(path.as_ref().join(METRICS))?)
}

/// Returns the metrics of the last iteration of a run, without reading those before. Empty before the first iteration.
///
/// # Errors
/// If `metrics.jsonl` in the directory cannot be read.
pub fn read_last_result(path: impl AsRef<Path>) -> Result<Metrics> {
    Ok(rekindle_metrics::read_last_jsonl(path.as_ref().join(METRICS))?.unwrap_or_default())
}

/// Creates the first directory `name`, `name-2`, `name-3`, … that does not exist.
fn new_folder(within: &Path, name: &str) -> Result<PathBuf> {
    for n in 1..=MAX_RUNS {
        let path = match n {
            1 => within.join(name),
            n => within.join(format!("{name}-{n}")),
        };
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create", &path)(error)),
        }
    }
    Err(failed("create", &within.join(name))(io::ErrorKind::AlreadyExists.into()))
}

/// Locks a run's directory.
fn lock(path: &Path) -> Result<File> {
    let file = path.join(LOCK);
    let lock = File::options().create(true).append(true).open(&file);
    let lock = lock.map_err(failed("write", &file))?;
    match try_lock(&lock, &file).map_err(failed("lock", &file))? {
        true => Ok(lock),
        false => Err(AlgorithmError::RunInProgress { path: path.into() }),
    }
}

/// Returns a name without path separators and characters that some file systems do not allow.
fn file_name(name: &str) -> String {
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=');
    let name: String = name.chars().map(|c| if legal(c) { c } else { '-' }).take(100).collect();
    // The name must be neither hidden nor a parent directory.
    match name.trim_start_matches('.') {
        "" => "run".to_owned(),
        name => name.to_owned(),
    }
}

/// Returns the time, or 0 with a clock before 1970.
fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AlgorithmError {
    let path = path.to_owned();
    move |source| AlgorithmError::RunFolder { action, path, source }
}
