//! The runs in a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rekindle::algorithms::Experiment;
use serde::Serialize;
use serde_json::Value;

use crate::run_path::is_run;

/// Maximum depth at which folders are found.
const MAX_DEPTH: usize = 6;
/// Maximum number of runs that are shown.
const MAX_RUNS: usize = 1000;

/// Time for which a list of runs is used before the directory is searched again. The page asks every two seconds.
const MAX_AGE: Duration = Duration::from_millis(1500);

/// The folders of runs by name. The name of a run is its path relative to the directory.
type Runs = Arc<BTreeMap<String, PathBuf>>;

/// The runs in a directory, found again from time to time.
#[derive(Debug)]
pub(super) struct RunList {
    root: PathBuf,
    last: Mutex<Option<(Instant, Runs)>>,
}

impl RunList {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), last: Mutex::new(None) }
    }

    /// Returns the runs as of at most [`MAX_AGE`] ago. Requests at the same time share one search.
    pub(super) fn current(&self) -> Runs {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((found_at, runs)) = &*last
            && found_at.elapsed() < MAX_AGE
        {
            return runs.clone();
        }
        let mut found = BTreeMap::new();
        collect(&self.root, &self.root, MAX_DEPTH, &mut found);
        let runs = Arc::new(found);
        *last = Some((Instant::now(), runs.clone()));
        runs
    }
}

fn collect(root: &Path, at: &Path, depth: usize, found: &mut BTreeMap<String, PathBuf>) {
    if is_run(at) {
        let name = at.strip_prefix(root).unwrap_or(at).to_string_lossy().into_owned();
        found.insert(if name.is_empty() { ".".into() } else { name }, at.to_owned());
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        // Links are not followed, because they could lead out of the directory or form a cycle.
        if found.len() < MAX_RUNS && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(root, &entry.path(), depth - 1, found);
        }
    }
}

/// The entry of a run in the list.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    name: String,
    algorithm: String,
    env: String,
    seed: Value,
    /// Seconds since the last result; null before the first one.
    age: Option<u64>,
    /// Why the settings cannot be read; null if they can.
    error: Option<String>,
}

impl Summary {
    pub(super) fn of(name: &str, path: &Path) -> Self {
        let age = fs::metadata(path.join("metrics.jsonl"))
            .and_then(|metadata| metadata.modified())
            .ok()
            // A file from the future was written before the clock was set back.
            .map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default())
            .map(|age| age.as_secs());
        let (algorithm, settings, error) = match settings(path) {
            Ok((algorithm, settings)) => (algorithm, settings, None),
            Err(error) => (String::new(), Value::Null, Some(error)),
        };
        Self {
            name: name.to_owned(),
            algorithm,
            env: settings["environment"]["env"].as_str().unwrap_or_default().to_owned(),
            seed: settings["debugging"]["seed"].clone(),
            age,
            error,
        }
    }
}

/// Returns the algorithm and the settings of a run. The file is read as plain data, because the algorithm may be one of
/// another program.
pub(super) fn settings(run: &Path) -> Result<(String, Value), String> {
    let path = run.join(crate::run_path::CONFIG);
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let mut settings = Experiment::data(&text).map_err(|error| error.to_string())?;
    let name = settings.as_object_mut().and_then(|fields| fields.remove("algorithm"));
    Ok((name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(), settings))
}
