//! Draws how the cost of an environment step changes as something grows, for `cargo xtask compare`.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use rekindle::prelude::*;

/// Draws series of figures as one SVG.
#[derive(Parser)]
struct Args {
    /// The title of the plot.
    #[arg(long)]
    title: String,
    /// What is along the x axis.
    #[arg(long)]
    x_label: String,
    /// What is along the y axis.
    #[arg(long)]
    y_label: String,
    /// The SVG file to write.
    #[arg(long)]
    out: PathBuf,
    /// Each a label and its points: `LABEL=X:Y,X:Y`.
    #[arg(required = true)]
    series: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut plot =
        LearningCurve::new(args.title).x_label(args.x_label).y_label(args.y_label).size(800, 420);
    for series in &args.series {
        let (label, points) =
            series.split_once('=').ok_or_else(|| format!("`{series}` is not LABEL=X:Y,…"))?;
        let points = points.split(',').map(point).collect::<Result<Vec<_>, _>>()?;
        plot = plot.series(label, &points);
    }
    plot.save(&args.out)?;
    Ok(())
}

fn point(text: &str) -> Result<(f64, f64), Box<dyn Error>> {
    let (x, y) = text.split_once(':').ok_or_else(|| format!("`{text}` is not X:Y"))?;
    Ok((x.parse()?, y.parse()?))
}
