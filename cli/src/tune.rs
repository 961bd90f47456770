//! `rekindle tune`: a search for settings.

mod journal;
mod pruner;
mod sampler;
mod space;
mod study;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rekindle::algorithms::Experiment;
use rekindle::core::Generator;

use self::space::Space;
use self::study::{Study, StudySettings};
use crate::args::TuneArgs;
use crate::config::experiment;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;

/// The files of a study.
const CONFIG: &str = "config.toml";
const SPACE: &str = "space.toml";
const SETTINGS: &str = "study.json";

pub(crate) fn run(args: &TuneArgs) -> Result<()> {
    let folder = Path::new(&args.settings.source);
    let (folder, settings) = match folder.join(SETTINGS).is_file() {
        true => (folder.to_owned(), reopen(folder, args)?),
        false => create(args)?,
    };
    let experiment = Experiment::read(folder.join(CONFIG))?;
    let text = Space::read(&folder.join(SPACE))?;
    let space = Space::from_toml(&text, &folder.join(SPACE).display().to_string())?;
    space.check(&experiment)?;
    // Before the first trial, because a device that cannot be used fails every trial.
    args.device.open()?;
    let interrupt = Interrupt::listen()?;
    Study::open(&folder, experiment, space, settings)?.run(&args.device, &interrupt, args.quiet)
}

/// Returns the settings of a study that exists. Only the number of trials may change.
fn reopen(folder: &Path, args: &TuneArgs) -> Result<StudySettings> {
    let path = folder.join(SETTINGS);
    let text = fs::read_to_string(&path).map_err(CliError::io("read", &path))?;
    let mut settings: StudySettings = serde_json::from_str(&text)
        .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
    let given = &args.settings;
    let is_changed = given.environment.is_some()
        || !given.set.is_empty()
        || given.seed.is_some()
        || given.steps.is_some()
        || args.space.is_some()
        || args.out.is_some();
    if is_changed {
        let message = format!(
            "`{}` is a study; it continues with its own settings, and only --trials and --device may be given",
            folder.display()
        );
        return Err(CliError::Usage(message));
    }
    if let Some(trials) = args.trials {
        settings.trials = trials;
        write_settings(&path, &settings)?;
    }
    Ok(settings)
}

/// Creates the folder of a study.
fn create(args: &TuneArgs) -> Result<(PathBuf, StudySettings)> {
    let experiment = experiment(&args.settings)?;
    experiment.validate()?;
    let run = experiment.run()?;
    let Some(steps) = run.max_env_steps else {
        let message = "the length of a trial is not set; give --steps, such as --steps 1e5";
        return Err(CliError::Usage(message.into()));
    };
    let all = experiment.settings()?;
    let of_evaluation = &all["evaluation"]["evaluation_config"]["env"];
    if of_evaluation.is_null() && all["environment"]["env"].is_null() {
        let message = "a search compares the mean returns of episodes, which need an environment; name one with --set evaluation.evaluation_config.env=ENV";
        return Err(CliError::Usage(message.into()));
    }
    let algorithm = experiment.algorithm().name().to_owned();
    let text = match &args.space {
        Some(path) => Space::read(path)?,
        None => Space::default_of(&algorithm)?.to_owned(),
    };
    let origin =
        args.space.as_ref().map_or("the search space".into(), |path| path.display().to_string());
    Space::from_toml(&text, &origin)?.check(&experiment)?;
    let seed =
        args.settings.seed.unwrap_or_else(|| Generator::from_entropy().next_u64() % 1_000_000);
    let settings = StudySettings {
        trials: args.trials.unwrap_or(100),
        steps,
        seeds: args.seeds,
        evaluations: args.evaluations,
        startup_trials: args.startup_trials,
        sampler: args.sampler,
        prune: !args.no_pruning,
        seed,
    };
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => default_folder(&experiment, &algorithm)?,
    };
    let failed = CliError::io("create", &folder);
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(CliError::io("create", parent))?;
    }
    fs::create_dir(&folder).map_err(failed)?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(CliError::io("write", &path))
    };
    write(CONFIG, &experiment.to_toml()?)?;
    write(SPACE, &text)?;
    write_settings(&folder.join(SETTINGS), &settings)?;
    Ok((folder, settings))
}

fn write_settings(path: &Path, settings: &StudySettings) -> Result<()> {
    let text = serde_json::to_string_pretty(settings)
        .map_err(|error| CliError::Failed(format!("the settings of the study: {error}")))?;
    fs::write(path, text + "\n").map_err(CliError::io("write", path))
}

/// Returns `tune/<algorithm>/<environment>__<time>`.
fn default_folder(experiment: &Experiment, algorithm: &str) -> Result<PathBuf> {
    let settings = experiment.settings()?;
    let env = settings["environment"]["env"].as_str().unwrap_or("environment");
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let env: String = env.chars().map(|c| if legal(c) { c } else { '-' }).collect();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Path::new("tune").join(algorithm.to_lowercase()).join(format!("{env}__{time}")))
}
