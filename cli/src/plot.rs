//! `rekindle plot`.

use rekindle::algorithms::read_run;
use rekindle::metrics::LearningCurve;

use crate::args::PlotArgs;
use crate::error::{CliError, Result};
use crate::output::say;

/// Metrics of runs that collect experience, and those of runs that learn from recordings.
const INSTEAD: [(&str, &str); 2] = [
    (
        "env_runners/num_env_steps_sampled_lifetime",
        "learners/__all_modules__/num_env_steps_trained_lifetime",
    ),
    ("env_runners/episode_return_mean", "evaluation/env_runners/episode_return_mean"),
];

pub(crate) fn run(args: &PlotArgs) -> Result<()> {
    let label = match args.metric.as_str() {
        "env_runners/episode_return_mean" => "mean return of the last 100 training episodes",
        other => other,
    };
    let x_label = match args.x.as_str() {
        "env_runners/num_env_steps_sampled_lifetime" => "environment steps",
        other => other,
    };
    let mut plot = LearningCurve::new(args.title.as_str()).y_label(label).x_label(x_label);
    if let Some(threshold) = args.threshold {
        plot = plot.threshold(threshold);
    }
    for run in &args.runs {
        if !run.join("metrics.jsonl").is_file() {
            let message =
                format!("`{}` is not the folder of a run: it has no metrics.jsonl", run.display());
            return Err(CliError::Failed(message));
        }
        let results = read_run(run)?;
        let has = |key: &str| results.iter().any(|result| result.get(key).is_some());
        let instead = |key: &str| match INSTEAD.iter().find(|(of, _)| *of == key && !has(of)) {
            Some((_, instead)) if has(instead) => (*instead).to_owned(),
            _ => key.to_owned(),
        };
        let (x, metric) = (instead(&args.x), instead(&args.metric));
        let points: Vec<_> = results
            .iter()
            .filter_map(|result| Some((result.get(&x)?, result.get(&metric)?)))
            .collect();
        if points.is_empty() {
            let known = results.last().into_iter().flat_map(|result| result.iter());
            let known: Vec<String> = known.map(|(key, _)| key.to_owned()).collect();
            let missing = if has(&metric) && !has(&x) { &x } else { &metric };
            let message = format!(
                "`{}` has no values of `{missing}`; {}",
                run.display(),
                rekindle::env::did_you_mean(missing, &known)
            );
            return Err(CliError::Failed(message));
        }
        let name = run
            .file_name()
            .map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned());
        plot = plot.series(name, &points);
    }
    plot.save(&args.out)?;
    say!("{}", args.out.display())
}
