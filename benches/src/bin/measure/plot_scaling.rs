//! Plots the cost of an environment step against the size of the problem, for `cargo xtask compare`.

use std::path::PathBuf;

use rekindle::prelude::*;
use rekindle_benches::Outcome;

/// Plots several series of points as one SVG.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Title of the plot
    #[arg(long)]
    title: String,
    /// Label of the x axis
    #[arg(long)]
    x_label: String,
    /// Label of the y axis
    #[arg(long)]
    y_label: String,
    /// SVG file to write
    #[arg(long)]
    out: PathBuf,
    /// Series, each a label and its points: `LABEL=X:Y,X:Y`
    #[arg(required = true)]
    series: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut plot = LearningCurve::new(&args.title)
        .x_label(&args.x_label)
        .y_label(&args.y_label)
        .size(800, 420);
    for series in &args.series {
        let (label, points) = series
            .split_once('=')
            .ok_or_else(|| format!("invalid series `{series}`: expected LABEL=X:Y,X:Y"))?;
        let points = points.split(',').map(point).collect::<Result<Vec<_>, _>>()?;
        plot = plot.series(label, &points);
    }
    plot.save(&args.out)?;
    Ok(())
}

fn point(text: &str) -> Outcome<(f64, f64)> {
    let (x, y) =
        text.split_once(':').ok_or_else(|| format!("invalid point `{text}`: expected X:Y"))?;
    Ok((x.parse()?, y.parse()?))
}
