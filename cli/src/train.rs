//! `rekindle train`.

use rekindle::algorithms::Experiment;
use rekindle::core::Generator;

use crate::args::{Settings, TrainArgs};
use crate::config::experiment;
use crate::engine::Local;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;
use crate::training_loop;

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let experiment = new_experiment(&args.settings)?;
    let device = args.device.open()?;
    let interrupt = Interrupt::listen()?;
    let run = experiment.run()?;
    let algorithm = experiment.build(&device).map_err(CliError::Build)?;
    let algorithm = algorithm.with_run_folder(&args.runs, run.clone())?;
    training_loop::train(algorithm, &run, args.output, &mut Local::new(&interrupt))
}

/// Returns the algorithm with the settings of the command line, which are checked, and a seed.
///
/// # Errors
/// The first setting that is unknown or invalid, or missing.
pub fn new_experiment(settings: &Settings) -> Result<Experiment> {
    let mut experiment = experiment(settings)?;
    draw_seed(&mut experiment)?;
    experiment.validate()?;
    Ok(experiment)
}

/// Sets a seed if none is set.
fn draw_seed(experiment: &mut Experiment) -> Result<()> {
    if experiment.settings()?["debugging"]["seed"].is_null() {
        // Short enough to be typed.
        let seed = Generator::from_entropy().next_u64() % 1_000_000;
        experiment.set(&format!("debugging.seed={seed}"))?;
    }
    Ok(())
}
