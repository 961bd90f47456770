//! Plots the learning curves of several runs, for example one per seed, as one SVG.
//!
//! `cargo run --release --example plot_runs -- --out curve.svg runs/seed-0 runs/seed-1`

use std::path::PathBuf;

use clap::Parser;
use rekindle::metrics::read_jsonl;
use rekindle::prelude::*;

/// Plots the learning curves of several runs as one SVG.
#[derive(Parser)]
struct Args {
    /// Title of the plot
    #[arg(long, default_value = "Learning curves")]
    title: String,
    /// Value at which the task counts as solved, drawn as a line
    #[arg(long, allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Metric to plot: a key of metrics.jsonl
    #[arg(long, default_value = "env_runners/episode_return_mean")]
    metric: String,
    /// SVG file to write
    #[arg(long, default_value = "learning_curves.svg")]
    out: PathBuf,
    /// Run directories, each with a metrics.jsonl
    #[arg(required = true)]
    runs: Vec<PathBuf>,
}

fn main() -> Result<(), MainError> {
    let args = Args::parse();
    let label = match args.metric.as_str() {
        "env_runners/episode_return_mean" => "mean return of the last 100 training episodes",
        other => other,
    };
    let mut plot = LearningCurve::new(args.title).y_label(label);
    if let Some(threshold) = args.threshold {
        plot = plot.threshold(threshold);
    }
    for run in &args.runs {
        let points: Vec<_> = read_jsonl(run.join("metrics.jsonl"))?
            .iter()
            .filter_map(|metrics| {
                let steps = metrics.get("env_runners/num_env_steps_sampled_lifetime")?;
                Some((steps, metrics.get(&args.metric)?))
            })
            .collect();
        let name = run
            .file_name()
            .map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned());
        plot = plot.series(name, &points);
    }
    plot.save(&args.out)?;
    println!("wrote {}", args.out.display());
    Ok(())
}
