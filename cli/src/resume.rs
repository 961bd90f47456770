//! `rekindle resume`.

use std::path::Path;

use rekindle::algorithms::{ResumedRun, SavedRun, Stop};

use crate::args::ResumeArgs;
use crate::config::change;
use crate::engine::Local;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::training_loop;

pub(crate) fn run(args: &ResumeArgs) -> Result<()> {
    let saved = SavedRun::open(&args.run, &args.checkpoint)?;
    let mut saved = saved.allow_external_environments(args.allow_python);
    if !args.set.is_empty() || args.steps.is_some() {
        saved.change(|experiment| change(experiment, &args.set, args.steps.as_deref()))?;
    }
    let device = args.device.open()?;
    let interrupt = Interrupt::listen()?;
    let resumed = saved.resume(&device)?;
    match resumed.stop {
        Some(stop) => nothing_to_do(&args.run, &resumed, stop),
        None => {
            let mut local = Local::new(&interrupt);
            training_loop::train(resumed.algorithm, &resumed.config, args.output, &mut local)
        }
    }
}

/// Says that a run has reached a limit already, and prints its folder.
///
/// # Errors
/// If the standard output cannot be written.
pub fn nothing_to_do(run: &Path, resumed: &ResumedRun, stop: Stop) -> Result<()> {
    say!(
        "nothing to do: the run has ended by {0} after {1} iterations and {2} steps; continue with --set {0}=…",
        limit(stop),
        resumed.algorithm.iteration(),
        resumed.algorithm.env_steps()
    )?;
    say!("{}", run.display())
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
