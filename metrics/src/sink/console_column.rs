//! The columns of the console.

use super::{super::humanize::humanize, Metrics};

/// The narrowest column, in characters; wide enough for `-0.0123` and `12.3k`.
const MIN_WIDTH: usize = 7;
/// What a cell without a value shows.
const MISSING: &str = "-";

/// How a number is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// At most so many significant digits and a suffix: `12.3k`.
    Short(usize),
    /// Exactly so many decimals: `0.250`.
    Fixed(usize),
}

/// A column of [`ConsoleSink`](super::ConsoleSink): a label and what to show under it.
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
    /// The keys of each part.
    Shares(Vec<Vec<String>>),
}

impl ConsoleColumn {
    /// The metric at `key`.
    #[must_use]
    pub fn new(label: impl Into<String>, key: impl Into<String>, format: Format) -> Self {
        Self { label: label.into(), content: Content::Value { key: key.into(), format } }
    }

    /// How parts share their total, in per cent: `62/20/8/10`. Each part is the sum of the metrics
    /// at its keys.
    #[must_use]
    pub fn shares(label: impl Into<String>, parts: &[&[&str]]) -> Self {
        let owned = |keys: &&[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Self { label: label.into(), content: Content::Shares(parts.iter().map(owned).collect()) }
    }

    /// The columns for PPO with the default module: progress, returns, losses, and where the time
    /// goes (environment, inference, connectors, learner).
    #[must_use]
    pub fn ppo() -> Vec<Self> {
        use Format::{Fixed, Short};
        vec![
            Self::new("steps", "env_runners/num_env_steps_sampled_lifetime", Short(3)),
            Self::new("steps/s", "env_runners/num_env_steps_sampled_lifetime_throughput", Short(3)),
            Self::new("return", "env_runners/episode_return_mean", Short(4)),
            Self::new("min", "env_runners/episode_return_min", Short(4)),
            Self::new("max", "env_runners/episode_return_max", Short(4)),
            Self::new("ep len", "env_runners/episode_len_mean", Short(4)),
            Self::new("pi loss", "learners/default_policy/policy_loss", Short(3)),
            Self::new("vf loss", "learners/default_policy/vf_loss", Short(3)),
            Self::new("kl", "learners/default_policy/mean_kl_loss", Fixed(4)),
            Self::new("entropy", "learners/default_policy/entropy", Fixed(3)),
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
            ),
        ]
    }

    /// The header, aligned with the cells.
    pub(super) fn header(&self) -> String {
        self.align(&self.label)
    }

    /// The aligned cell for `metrics`.
    pub(super) fn cell(&self, metrics: &Metrics) -> String {
        let text = match &self.content {
            Content::Value { key, format } => metrics.get(key).map(|value| format.apply(value)),
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

/// The percentages of the parts; `None` without a positive total.
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
