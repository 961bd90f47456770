//! `rekindle resume`.

use std::fs;
use std::path::Path;

use rekindle::algorithms::{Experiment, Stop};
use rekindle::prelude::*;
use serde_json::Value;

use crate::args::ResumeArgs;
use crate::config::change;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;
use crate::lines::last_result;
use crate::output::say;
use crate::run_path::{CONFIG, checkpoint_of, is_run, settings_of};
use crate::training_loop;

pub(crate) fn run(args: &ResumeArgs) -> Result<()> {
    let folder = &args.run;
    if !is_run(folder) {
        let message = format!(
            "{} is not the folder of a run: it has no {CONFIG} and checkpoints",
            folder.display()
        );
        return Err(CliError::Failed(message));
    }
    let checkpoint = checkpoint_of(folder, &args.checkpoint)?;
    let mut experiment = settings_of(folder, &checkpoint)?;
    let saved = Experiment::of_checkpoint(&checkpoint)?;
    warn_of_edits(&experiment, &saved)?;
    change(&mut experiment, &args.set, args.steps.as_deref())?;
    experiment.validate()?;
    // The settings in the checkpoint also hold what changed during training, so only these changes are applied to them.
    let mut changed = saved.clone();
    change(&mut changed, &args.set, args.steps.as_deref())?;
    let changes = changed.changes_from(&saved)?;
    let run = experiment.run()?;
    let device = args.device.open()?;
    let interrupt = Interrupt::listen()?;
    let spec = experiment.algorithm().clone().allow_external_environments(args.allow_python);
    let algorithm = spec.restore(&checkpoint, &changes, &device)?;
    // Before the folder is opened, which drops the results of later iterations.
    if let Some(stop) = run.is_over(&algorithm, &Metrics::default()) {
        return nothing_to_do(folder, &algorithm, stop);
    }
    let algorithm = algorithm.with_existing_run_folder(folder, run.clone())?;
    if !args.set.is_empty() || args.steps.is_some() {
        let (path, temporary) = (folder.join(CONFIG), folder.join("config.toml.tmp"));
        fs::write(&temporary, experiment.to_toml()?)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(CliError::io("write", &path))?;
    }
    // `with_existing_run_folder` has dropped the results of later iterations.
    let last = last_result(folder).ok().flatten().unwrap_or_default();
    if let Some(stop) = run.is_over(&algorithm, &last) {
        return nothing_to_do(folder, &algorithm, stop);
    }
    training_loop::train(algorithm, &run, args.output, &interrupt)
}

/// Warns of settings in the file that differ from those of the checkpoint, because the file was edited, or because the
/// program changed them during training.
fn warn_of_edits(file: &Experiment, saved: &Experiment) -> Result<()> {
    let mut names = Vec::new();
    collect_names(&file.changes_from(saved)?, "", &mut names);
    if !names.is_empty() {
        tracing::warn!(
            "{CONFIG} has other values of {} than the checkpoint, which the run continues with; change a setting with --set",
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

fn nothing_to_do(folder: &Path, algorithm: &Algorithm, stop: Stop) -> Result<()> {
    say!(
        "nothing to do: the run has ended by {0} after {1} iterations and {2} steps; continue with --set {0}=…",
        limit(stop),
        algorithm.iteration(),
        algorithm.env_steps()
    )?;
    say!("{}", folder.display())
}

/// Returns the setting that ends runs for a reason.
fn limit(stop: Stop) -> &'static str {
    match stop {
        Stop::Value => "run.stop_value",
        Stop::EnvSteps => "run.max_env_steps",
        Stop::Iterations => "run.max_iterations",
        Stop::Seconds => "run.max_seconds",
        _ => "limit",
    }
}
