//! `rekindle config`, and the settings that `train` and `config` take.

use std::path::Path;

use rekindle::algorithms::{Experiment, algorithm, registered_algorithms};
use rekindle::env::did_you_mean;

use crate::args::{ConfigArgs, Settings};
use crate::configs::{CONFIGS, config};
use crate::error::{CliError, Result};
use crate::output;

pub(crate) fn run(args: &ConfigArgs) -> Result<()> {
    let experiment = experiment(&args.settings)?;
    output::print(&experiment.to_toml()?)
}

/// Returns the algorithm with the settings of the command line, without checking the settings.
pub(crate) fn experiment(args: &Settings) -> Result<Experiment> {
    let mut experiment = source(args)?;
    if let Some(env) = &args.environment {
        experiment.set(&format!("environment.env={env:?}"))?;
    }
    change(&mut experiment, &args.set, args.steps.as_deref())?;
    let settings = experiment.settings()?;
    let has_data = settings["offline_data"]["input_"].as_array().is_some_and(|all| !all.is_empty());
    if settings["environment"]["env"].is_null() && !has_data {
        let source = &args.source;
        return Err(CliError::Usage(format!(
            "`train {source}` needs an environment, such as `train {source} CartPole-v1`, or recordings to learn from (`offline_data.input_`); `rekindle list environments` lists environments"
        )));
    }
    if let Some(seed) = args.seed {
        experiment.set(&format!("debugging.seed={seed}"))?;
    }
    Ok(experiment)
}

/// Applies `--set` and `--steps`.
pub fn change(experiment: &mut Experiment, set: &[String], steps: Option<&str>) -> Result<()> {
    for assignment in set {
        experiment.set(assignment)?;
    }
    if let Some(steps) = steps {
        experiment.set(&format!("run.max_env_steps={steps}"))?;
    }
    Ok(())
}

/// Reads the file, the tuned configuration, or the defaults of the algorithm.
fn source(args: &Settings) -> Result<Experiment> {
    let source = &args.source;
    let path = Path::new(source);
    if path.is_file() || path.extension().is_some_and(|kind| kind == "toml") {
        return Ok(Experiment::read(path)?);
    }
    if let Some(text) = config(source) {
        return Ok(Experiment::from_toml(text)?);
    }
    match algorithm(source) {
        Ok(_) => Ok(Experiment::new(source)?),
        Err(_) => {
            let mut known = registered_algorithms();
            known.extend(CONFIGS.iter().map(|(name, _)| (*name).to_owned()));
            Err(CliError::Usage(format!(
                "`{source}` is not a file, an algorithm or a tuned configuration, which `rekindle list` lists; {}",
                did_you_mean(source, &known)
            )))
        }
    }
}
