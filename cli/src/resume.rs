//! `rekindle resume`.

use std::fs;
use std::path::Path;

use rekindle::algorithms::{Experiment, Stop};
use rekindle::prelude::*;

use crate::args::ResumeArgs;
use crate::config::change;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;
use crate::lines::last_result;
use crate::run_path::{CONFIG, checkpoint_of, is_run};
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
    let mut experiment = Experiment::read(folder.join(CONFIG))?;
    let before = experiment.clone();
    change(&mut experiment, &args.set, args.steps.as_deref())?;
    experiment.validate()?;
    // Only the changes are applied, because the settings in the checkpoint also hold what changed during training.
    let changes = experiment.changes_from(&before)?;
    let run = experiment.run()?;
    let checkpoint = checkpoint_of(folder, &args.checkpoint)?;
    let device = args.device.open()?;
    let interrupt = Interrupt::listen()?;
    let spec = experiment.algorithm().clone().allow_external_environments(args.allow_python);
    let algorithm = spec.restore(&checkpoint, &changes, &device)?;
    // Before the folder is opened, which drops the results of later iterations.
    if let Some(stop) = run.is_over(&algorithm, &Metrics::default()) {
        nothing_to_do(folder, &algorithm, stop);
        return Ok(());
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
        nothing_to_do(folder, &algorithm, stop);
        return Ok(());
    }
    training_loop::train(algorithm, &run, args.output, &interrupt)
}

fn nothing_to_do(folder: &Path, algorithm: &Algorithm, stop: Stop) {
    println!(
        "nothing to do: the run has ended by {0} after {1} iterations and {2} steps; continue with --set {0}=…",
        limit(stop),
        algorithm.iteration(),
        algorithm.env_steps()
    );
    println!("{}", folder.display());
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
