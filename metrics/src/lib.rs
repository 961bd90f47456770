//! Metrics: what RLlib calls `MetricsLogger`, plus sinks and learning curves.
//!
//! A component logs values into a [`MetricsLogger`] under paths such as
//! `env_runners/episode_return_mean`; each path owns one [`Stats`] series with one [`Reducer`].
//! Once per training iteration the root logger is reduced to [`Metrics`], an ordered map from path
//! to number, which [`Sink`]s write and [`LearningCurve`] plots.
//!
//! Parallel components (environment runners, learners) each own a logger. They hand over their values
//! with [`MetricsLogger::take`], and the root merges them with [`MetricsLogger::aggregate`]. Averages
//! are weighted by the number of values behind them, a window is applied once (at the root), and memory
//! does not grow with the number of values.
//!
//! ```
//! use rekindle_metrics::{MetricsLogger, Reducer};
//!
//! # fn main() -> rekindle_metrics::Result<()> {
//! let mut runner = MetricsLogger::new();
//! for episode_return in [10.0, 20.0, 60.0] {
//!     runner.log_value("episode_return_mean", episode_return, Reducer::mean_over(100))?;
//! }
//!
//! let mut root = MetricsLogger::new();
//! root.aggregate("env_runners", [runner.take()])?;
//! assert_eq!(root.reduce().get("env_runners/episode_return_mean"), Some(30.0));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod curve;
mod error;
mod exact;
mod humanize;
mod logger;
mod path;
mod reducer;
mod results;
mod sink;
mod stats;

pub use curve::LearningCurve;
pub use error::{MetricsError, Result};
pub use logger::{MetricsLogger, MetricsState};
pub use reducer::Reducer;
pub use results::Metrics;
pub use sink::{
    ConsoleColumn, ConsoleSink, CsvSink, Format, ITERATION, JsonlSink, OrWarn, ScalarNames, Sink,
    TensorBoardSink, read_jsonl, read_last_jsonl,
};
pub use stats::Stats;
