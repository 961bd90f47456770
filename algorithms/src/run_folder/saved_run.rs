//! Continuing a run in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use burn::prelude::Device;
use rekindle_metrics::Metrics;
use serde_json::Value;

use super::{CONFIG, RunConfig, Stop, checkpoint_of_run, failed, is_run, read_last_result};
use crate::{Algorithm, AlgorithmError, Experiment, Result};

/// A run in its folder, which continues from one of its checkpoints.
///
/// ```no_run
/// use burn::prelude::Device;
/// use rekindle_algorithms::{AlgorithmError, SavedRun};
///
/// let mut saved = SavedRun::open("runs/ppo/CartPole-v1__0__1764486000", "latest")?;
/// saved.change(|experiment| experiment.set("run.max_env_steps=2e5"))?;
/// let mut resumed = saved.resume(&Device::flex())?;
/// while resumed.stop.is_none() {
///     resumed.last_result = resumed.algorithm.train()?;
///     resumed.stop = resumed.config.is_over(&resumed.algorithm, &resumed.last_result);
/// }
/// resumed.algorithm.save_run()?;
/// # Ok::<(), AlgorithmError>(())
/// ```
#[derive(Debug)]
pub struct SavedRun {
    folder: PathBuf,
    checkpoint: PathBuf,
    /// The settings in the folder, with the changes.
    experiment: Experiment,
    /// The settings in the checkpoint, which also hold what changed during training.
    saved: Experiment,
    /// The settings in the checkpoint, with the changes.
    changed: Experiment,
    is_changed: bool,
    allow_external_environments: bool,
}

/// A run that was resumed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResumedRun {
    /// The algorithm, which writes into the folder unless the run is over.
    pub algorithm: Algorithm,
    /// The settings of the run.
    pub config: RunConfig,
    /// The result of the last iteration before the checkpoint. Empty if the checkpoint itself has reached a limit.
    pub last_result: Metrics,
    /// The limit that the run has reached already.
    pub stop: Option<Stop>,
}

impl SavedRun {
    /// Reads the settings of the run in a folder, and of its checkpoint `which`: `latest`, `best`, or the number of an
    /// iteration. Settings that were edited in the folder have no effect, and a warning names them.
    ///
    /// # Errors
    /// [`AlgorithmError::NotARun`]; [`AlgorithmError::NoCheckpoint`]; [`AlgorithmError::OtherVersion`] for settings of
    /// another version; otherwise if a file cannot be read.
    pub fn open(folder: impl AsRef<Path>, which: &str) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        if !is_run(&folder) {
            return Err(AlgorithmError::NotARun { path: folder });
        }
        let checkpoint = checkpoint_of_run(&folder, which)?;
        let experiment = Experiment::read(folder.join(CONFIG))
            .map_err(|error| of_version(error, &checkpoint))?;
        let saved = Experiment::of_checkpoint(&checkpoint)?;
        warn_of_edits(&experiment, &saved)?;
        let changed = saved.clone();
        Ok(Self {
            folder,
            checkpoint,
            experiment,
            saved,
            changed,
            is_changed: false,
            allow_external_environments: false,
        })
    }

    /// Changes settings from here on. `change` is called twice: with the settings in the folder, and with those in the
    /// checkpoint.
    ///
    /// # Errors
    /// Those of `change`, and the first setting that is unknown or invalid.
    pub fn change<E: From<AlgorithmError>>(
        &mut self,
        change: impl Fn(&mut Experiment) -> Result<(), E>,
    ) -> Result<(), E> {
        change(&mut self.experiment)?;
        self.experiment.validate()?;
        change(&mut self.changed)?;
        self.is_changed = true;
        Ok(())
    }

    /// Returns the settings of the algorithm in the checkpoint, with the changes. The settings of the run are those that
    /// were changed.
    #[must_use]
    pub fn checkpoint_experiment(&self) -> &Experiment {
        &self.changed
    }

    /// Sets whether a run in an environment of Python may start Python, which then runs code that the folder names.
    /// Defaults to `false`.
    #[must_use]
    pub fn allow_external_environments(mut self, allow: bool) -> Self {
        self.allow_external_environments = allow;
        self
    }

    /// Restores the algorithm, and continues to write the folder. Results after the checkpoint are dropped, because the
    /// run repeats these iterations. If the run has reached a limit, nothing is written.
    ///
    /// # Errors
    /// [`AlgorithmError::RunInProgress`] if another program writes the folder;
    /// [`AlgorithmError::ExternalEnvironment`]; otherwise as [`Algorithm::restore`].
    pub fn resume(self, device: &Device) -> Result<ResumedRun> {
        let Self { folder, checkpoint, experiment, .. } = &self;
        experiment.validate()?;
        let config = experiment.run()?;
        // The settings in the checkpoint also hold what changed during training, so only the changes are applied.
        let changes = self.changed.changes_from(&self.saved)?;
        let spec = experiment.algorithm().clone();
        let spec = spec.allow_external_environments(self.allow_external_environments);
        let algorithm = spec.restore(checkpoint, &changes, device)?;
        let last_result = Metrics::default();
        if let Some(stop) = config.is_over(&algorithm, &last_result) {
            return Ok(ResumedRun { algorithm, config, last_result, stop: Some(stop) });
        }
        algorithm.check_evaluation()?;
        let algorithm = algorithm.with_existing_run_folder(folder, config.clone())?;
        if self.is_changed {
            let (path, temporary) = (folder.join(CONFIG), folder.join("config.toml.tmp"));
            fs::write(&temporary, experiment.to_toml()?)
                .and_then(|()| fs::rename(&temporary, &path))
                .map_err(failed("write", &path))?;
        }
        // Results of later iterations were dropped, so the last one is that of the checkpoint.
        let last_result = read_last_result(folder).unwrap_or_default();
        let stop = config.is_over(&algorithm, &last_result);
        Ok(ResumedRun { algorithm, config, last_result, stop })
    }
}

/// Adds the version that wrote the run to an error about its settings, if it is another one.
fn of_version(error: AlgorithmError, checkpoint: &Path) -> AlgorithmError {
    let manifest = fs::read(checkpoint.join("manifest.json")).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    match manifest["library_version"].as_str() {
        Some(version) if version != env!("CARGO_PKG_VERSION") => {
            AlgorithmError::OtherVersion { version: version.into(), source: Box::new(error) }
        }
        _ => error,
    }
}

/// Warns of settings in the folder that differ from those of the checkpoint, because the file was edited, or because the
/// program changed them during training.
fn warn_of_edits(file: &Experiment, saved: &Experiment) -> Result<()> {
    let mut names = Vec::new();
    collect_names(&file.changes_from(saved)?, "", &mut names);
    if !names.is_empty() {
        tracing::warn!(
            "{CONFIG} has other values of {} than the checkpoint, which the run continues with; pass changes when you resume (--set)",
            names.join(", ")
        );
    }
    Ok(())
}

/// Collects the names of settings, with dots.
fn collect_names(settings: &Value, within: &str, names: &mut Vec<String>) {
    match settings {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name =
                    if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
                collect_names(value, &name, names);
            }
        }
        _ => names.push(format!("`{within}`")),
    }
}
