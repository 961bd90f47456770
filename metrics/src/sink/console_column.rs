//! The columns of the console.

use crate::humanize::humanize;
use crate::results::Metrics;

/// The narrowest column, in characters; wide enough for `-0.0123` and `12.3k`.
const MIN_WIDTH: usize = 7;
/// The text of a cell without a value.
const MISSING: &str = "-";

/// How a number is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// At most this many significant digits, and a suffix for the magnitude: `12.3k`.
    Short(usize),
    /// Exactly this many decimals: `0.250`.
    Fixed(usize),
}

/// A column of [`ConsoleSink`](super::ConsoleSink): a label and the metric below it.
#[derive(Clone, Debug)]
pub struct ConsoleColumn {
    label: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Value {
        key: String,
        format: Format,
    },
    /// The mean of the metrics `<group>/<any>/<name>`.
    MeanOver {
        group: String,
        name: String,
        format: Format,
    },
    /// The keys of each part.
    Shares(Vec<Vec<String>>),
}

impl ConsoleColumn {
    /// Creates a column that shows the metric at `key`.
    #[must_use]
    pub fn new(label: impl Into<String>, key: impl Into<String>, format: Format) -> Self {
        Self { label: label.into(), content: Content::Value { key: key.into(), format } }
    }

    /// Creates a column that shows the mean of the metrics `<group>/<any>/<name>`, such as
    /// `learners/<module>/policy_loss` over all modules.
    #[must_use]
    pub fn mean_over(
        label: impl Into<String>,
        group: impl Into<String>,
        name: impl Into<String>,
        format: Format,
    ) -> Self {
        let (group, name) = (group.into(), name.into());
        Self { label: label.into(), content: Content::MeanOver { group, name, format } }
    }

    /// Creates a column that shows the shares of several parts in their total, in percent:
    /// `62/20/8/10`. Each part is the sum of the metrics at its keys.
    #[must_use]
    pub fn shares(label: impl Into<String>, parts: &[&[&str]]) -> Self {
        let owned = |keys: &&[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Self { label: label.into(), content: Content::Shares(parts.iter().map(owned).collect()) }
    }

    /// Returns columns that every algorithm fills: steps, returns, episode lengths, and the shares of
    /// the [time](Self::time) that environments, inference, connectors and learner take.
    #[must_use]
    pub fn progress() -> Vec<Self> {
        use Format::Short;
        vec![
            Self::new("steps", "env_runners/num_env_steps_sampled_lifetime", Short(3)),
            Self::new("steps/s", "env_runners/num_env_steps_sampled_lifetime_throughput", Short(3)),
            Self::new("return", "env_runners/episode_return_mean", Short(4)),
            Self::new("min", "env_runners/episode_return_min", Short(4)),
            Self::new("max", "env_runners/episode_return_max", Short(4)),
            Self::new("ep len", "env_runners/episode_len_mean", Short(4)),
            Self::time(),
        ]
    }

    /// Returns columns that algorithms fill that learn from recorded data: steps learned from, the seconds of the
    /// updates of an iteration, and the seconds that these waited for data.
    #[must_use]
    pub fn learning() -> Vec<Self> {
        use Format::Short;
        vec![
            Self::new("steps", "learners/__all_modules__/num_env_steps_trained_lifetime", Short(3)),
            Self::new("update s", "timers/learner_update_timer", Short(3)),
            Self::new("wait s", "timers/offline_data_wait_timer", Short(2)),
        ]
    }

    /// Returns the column `env/inf/con/lrn %`: the shares of the time that environments, inference
    /// (forward passes of acting), connectors and learner take, in percent.
    #[must_use]
    pub fn time() -> Self {
        Self::shares(
            "env/inf/con/lrn %",
            &[
                &["env_runners/env_step_timer", "env_runners/env_reset_timer"],
                &["env_runners/rlmodule_inference_timer"],
                &[
                    "env_runners/env_to_module_connector_timer",
                    "env_runners/module_to_env_connector_timer",
                    "learners/learner_connector_timer",
                ],
                &["timers/learner_update_timer"],
            ],
        )
    }

    /// Returns the header, aligned with the cells.
    pub(super) fn header(&self) -> String {
        self.align(&self.label)
    }

    /// Returns the aligned cell for `metrics`.
    pub(super) fn cell(&self, metrics: &Metrics) -> String {
        let text = match &self.content {
            Content::Value { key, format } => metrics.get(key).map(|value| format.apply(value)),
            Content::MeanOver { group, name, format } => {
                mean_over(group, name, metrics).map(|mean| format.apply(mean))
            }
            Content::Shares(parts) => shares(parts, metrics),
        };
        self.align(text.as_deref().unwrap_or(MISSING))
    }

    fn align(&self, text: &str) -> String {
        format!("{text:>width$}", width = self.label.chars().count().max(MIN_WIDTH))
    }
}

impl Format {
    fn apply(self, value: f64) -> String {
        match self {
            Self::Short(digits) => humanize(value, digits),
            Self::Fixed(decimals) => format!("{value:.decimals$}"),
        }
    }
}

/// Returns the mean of the metrics `<group>/<any>/<name>`, or `None` if there are none.
fn mean_over(group: &str, name: &str, metrics: &Metrics) -> Option<f64> {
    let values = metrics.iter().filter_map(|(key, value)| {
        let rest = key.strip_prefix(group)?.strip_prefix('/')?;
        let (_, last) = rest.split_once('/')?;
        (last == name).then_some(value)
    });
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    (count > 0.0).then(|| sum / count)
}

/// Returns the percentages of the parts, or `None` without a positive total.
fn shares(parts: &[Vec<String>], metrics: &Metrics) -> Option<String> {
    // Not `sum()`: the sum of no floats is -0.
    let seconds = |keys: &Vec<String>| {
        keys.iter().filter_map(|key| metrics.get(key)).fold(0.0, |total, value| total + value)
    };
    let sums: Vec<f64> = parts.iter().map(seconds).collect();
    let total: f64 = sums.iter().sum();
    let share = |sum: &f64| format!("{:.0}", 100.0 * sum / total);
    (total > 0.0).then(|| sums.iter().map(share).collect::<Vec<_>>().join("/"))
}
