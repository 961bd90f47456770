//! Learning curves as SVG files.

mod band;
mod draw;
#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use crate::error::{MetricsError, Result};

/// The smallest size of a plot with room for its labels, in pixels.
const MIN_SIZE: (u32, u32) = (320, 200);

/// A plot of one or several runs, for example of returns over environment steps.
///
/// A single run is one line. Several runs (seeds) are thin lines, with a bold mean and a band from the
/// minimum to the maximum over the range that all runs cover.
///
/// ```no_run
/// use rekindle_metrics::LearningCurve;
///
/// # fn main() -> rekindle_metrics::Result<()> {
/// LearningCurve::new("CartPole-v1")
///     .threshold(475.0)
///     .series("seed 0", &[(0.0, 20.0), (50_000.0, 320.0), (100_000.0, 500.0)])
///     .save("cartpole.svg")
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LearningCurve {
    title: String,
    x_label: String,
    y_label: String,
    threshold: Option<f64>,
    size: (u32, u32),
    runs: Vec<Run>,
}

/// One run: its finite points, sorted by x.
#[derive(Clone, Debug)]
struct Run {
    label: String,
    points: Vec<(f64, f64)>,
}

impl LearningCurve {
    /// Creates an empty plot of 900 × 500 pixels, of episode returns over environment steps.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: "environment steps".to_owned(),
            y_label: "episode return".to_owned(),
            threshold: None,
            size: (900, 500),
            runs: Vec::new(),
        }
    }

    /// Sets the label of the horizontal axis.
    #[must_use]
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Sets the label of the vertical axis.
    #[must_use]
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// Marks the value from which a task counts as solved. A value that is not finite marks nothing.
    #[must_use]
    pub fn threshold(mut self, value: f64) -> Self {
        self.threshold = value.is_finite().then_some(value);
        self
    }

    /// Sets the size of the plot in pixels, at least 320 × 200.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width.max(MIN_SIZE.0), height.max(MIN_SIZE.1));
        self
    }

    /// Adds a run of `(x, y)` points in any order. Points that are not finite are omitted.
    #[must_use]
    pub fn series(mut self, label: impl Into<String>, points: &[(f64, f64)]) -> Self {
        let mut points: Vec<_> =
            points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.runs.push(Run { label: label.into(), points });
        self
    }

    /// Returns the plot as an SVG document.
    ///
    /// # Errors
    /// [`MetricsError::Plot`] if there is no point to draw or the points lie too far apart.
    pub fn to_svg(&self) -> Result<String> {
        draw::svg(self).map_err(|reason| MetricsError::Plot { title: self.title.clone(), reason })
    }

    /// Writes the plot as an SVG file.
    ///
    /// # Errors
    /// As [`to_svg`](Self::to_svg), and [`MetricsError::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.to_svg()?)
            .map_err(|source| MetricsError::Io { path: path.to_owned(), source })
    }
}
