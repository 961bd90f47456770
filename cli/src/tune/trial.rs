//! One trial: several runs with the same settings and different seeds, side by side.

use rekindle::algorithms::{Algorithm, Experiment};
use rekindle::core::device::DeviceSpec;

use super::study::StudySettings;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;

/// How a trial ended. A value is the mean return of the last evaluations of all runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Complete(f64),
    Pruned(f64),
    Interrupted,
}

/// Trains in parts, and evaluates all runs after each. `report` takes the number of the part, from 1, and the mean
/// return, and says whether the trial is to end.
pub(super) fn run(
    experiment: &Experiment,
    settings: &StudySettings,
    device: &DeviceSpec,
    interrupt: &Interrupt,
    report: &mut dyn FnMut(usize, f64) -> Result<bool>,
) -> Result<Outcome> {
    let mut runs = (0..settings.seeds)
        .map(|index| build(experiment, settings.seed.wrapping_add(index), device))
        .collect::<Result<Vec<_>>>()?;
    let parts = settings.evaluations.max(1);
    let mut value = f64::NAN;
    for part in 1..=parts {
        let steps = u128::from(settings.steps) * part as u128 / parts as u128;
        let mut sum = 0.0;
        for algorithm in &mut runs {
            while u128::from(algorithm.env_steps()) < steps {
                algorithm.train()?;
                if interrupt.is_set() {
                    return Ok(Outcome::Interrupted);
                }
            }
            sum += algorithm.evaluate()?.mean_return();
        }
        value = sum / runs.len() as f64;
        if report(part, value)? {
            return Ok(Outcome::Pruned(value));
        }
    }
    Ok(Outcome::Complete(value))
}

/// Builds the algorithm of a run. It evaluates only when the trial asks.
fn build(experiment: &Experiment, seed: u64, device: &DeviceSpec) -> Result<Algorithm> {
    let mut experiment = experiment.clone();
    experiment.set(&format!("debugging.seed={seed}"))?;
    experiment.set("evaluation.evaluation_interval=none")?;
    experiment.validate()?;
    experiment.build(&device.open()?).map_err(CliError::Build)
}
