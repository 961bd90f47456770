//! Training until a limit is reached or the user interrupts.

use std::io::{self, IsTerminal};

use rekindle::algorithms::{Algorithm, Evaluation, RunConfig, Stop};
use rekindle::env::did_you_mean;
use rekindle::metrics::Metrics;

use crate::args::Output;
use crate::engine::Engine;
use crate::error::{CliError, Result};
use crate::evaluate::estimates;
use crate::output::{say, tell};
use crate::progress::Progress;

/// Trains, saves and evaluates, and prints how the run ended.
pub fn train(
    mut algorithm: Algorithm,
    run: &RunConfig,
    output: Output,
    engine: &mut dyn Engine,
) -> Result<()> {
    let folder = algorithm.run_folder().map(|folder| folder.path().display().to_string());
    let folder = folder.unwrap_or_default();
    if !output.quiet && io::stderr().is_terminal() {
        tell!("{} in {folder}", algorithm.name());
        if !run.is_limited() && run.stop_value.is_none() {
            tell!("no limit is set: training until Ctrl-C (--steps N sets one)");
        }
    }
    let progress = Progress::start(&algorithm, run, output);
    if let Some(lines) = progress.lines(&algorithm, output) {
        algorithm = algorithm.with_sink(lines);
    }
    if !output.quiet {
        engine.announce(Box::new(progress.teller(
            "stopping after this iteration; Ctrl-C again ends the program at once, and loses what is not saved",
        )))?;
    }
    let outcome = iterate(&mut algorithm, run, &progress, engine);
    let resume = engine.resume_command();
    progress.finish();
    let ended = match outcome {
        Ok(ended) => ended,
        Err(error) if !engine.has_whole_state(&error) => {
            tell!("training failed; `{resume} {folder}` continues from the last checkpoint");
            return Err(error);
        }
        Err(error) => {
            // Save the state, so that training before the failure is not lost.
            let outcome = match algorithm.save_run() {
                Ok(_) => format!("its state is saved; `{resume} {folder}` continues"),
                Err(error) => format!("its state could not be saved: {error}"),
            };
            tell!("training failed; {outcome}");
            return Err(error);
        }
    };
    algorithm.save_run()?;
    match ended {
        None => {
            tell!(
                "interrupted: saved after {} iterations and {} steps; `{resume} {folder}` continues",
                algorithm.iteration(),
                algorithm.env_steps()
            );
            say!("{folder}")?;
            Err(CliError::Interrupted)
        }
        Some((stop, result)) => finish(&mut algorithm, run, output, stop, &result, &folder),
    }
}

/// Trains until a limit. Returns the reason and the last result, or `None` if the user interrupted the run.
fn iterate(
    algorithm: &mut Algorithm,
    run: &RunConfig,
    progress: &Progress,
    engine: &mut dyn Engine,
) -> Result<Option<(Stop, Metrics)>> {
    let mut has_metric = false;
    loop {
        let result = engine.train(algorithm)?;
        progress.update(algorithm, run);
        has_metric |= result.get(&run.stop_metric).is_some();
        if let Some(stop) = run.is_over(algorithm, &result) {
            if run.stop_value.is_some() && !has_metric {
                let metric = &run.stop_metric;
                let known: Vec<_> = result.iter().map(|(key, _)| key.to_owned()).collect();
                let suggestion = did_you_mean(metric, &known);
                progress.tell(&format!(
                    "warning: no iteration had the metric `{metric}`, so `run.stop_value` did not end the run; {suggestion}"
                ));
            }
            return Ok(Some((stop, result)));
        }
        if engine.is_interrupted()? {
            return Ok(None);
        }
    }
}

fn print(evaluation: &Evaluation) -> Result<()> {
    let estimates = estimates(evaluation);
    match evaluation.returns.len() {
        0 if estimates.is_empty() => say!("evaluation: no episodes")?,
        0 => {}
        episodes => say!(
            "evaluation: return {:.2} ± {:.2} in {episodes} episodes",
            evaluation.mean_return(),
            evaluation.std_return(),
        )?,
    }
    estimates.iter().try_for_each(|estimate| say!("evaluation: estimate {estimate}"))
}

/// Evaluates the final policy, and prints the results.
fn finish(
    algorithm: &mut Algorithm,
    run: &RunConfig,
    output: Output,
    stop: Stop,
    result: &Metrics,
    folder: &str,
) -> Result<()> {
    let evaluation = match algorithm.can_evaluate() {
        true => Some(algorithm.evaluate_run()?),
        false => None,
    };
    if !output.quiet {
        let reason = match stop {
            Stop::Value => format!(
                "{} reached {}",
                run.stop_metric,
                result.get(&run.stop_metric).unwrap_or(f64::NAN)
            ),
            Stop::EnvSteps => "the limit of steps is reached".to_owned(),
            Stop::Iterations => "the limit of iterations is reached".to_owned(),
            Stop::Seconds => "the limit of time is reached".to_owned(),
            _ => "a limit is reached".to_owned(),
        };
        say!(
            "done: {reason} (iteration {}, {} steps)",
            algorithm.iteration(),
            algorithm.env_steps()
        )?;
        match evaluation {
            None => say!("evaluation: none without an environment")?,
            Some(evaluation) => print(&evaluation)?,
        }
    }
    say!("{folder}")?;
    Ok(())
}
