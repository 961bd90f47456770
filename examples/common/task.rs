//! A task of a learning example.

/// The task of one learning example, and the threshold that counts as learned.
#[derive(Debug)]
pub(crate) struct Task {
    /// Name in `cargo xtask learn`.
    pub(crate) name: &'static str,
    /// Name of the example.
    pub(crate) example: &'static str,
    /// The argument of the example that chooses the task, if it has several.
    pub(crate) choice: Option<&'static str>,
    /// The method, for reports.
    pub(crate) algorithm: &'static str,
    /// The environment, for reports.
    pub(crate) env: &'static str,
    /// The heading of its section in `docs/results.md`.
    pub(crate) section: &'static str,
    /// Key of the metric that is compared with the threshold.
    pub(crate) metric: &'static str,
    /// Smallest value of the metric that counts as learned.
    pub(crate) threshold: f64,
    /// Environment steps after which the example gives up.
    pub(crate) max_steps: u64,
}

impl Task {
    /// Returns what the metric measures, in words.
    pub(crate) fn metric_in_words(&self) -> &'static str {
        match self.metric {
            LEARNED_RETURN => "mean return of module `learned` in the last 100 episodes",
            EVALUATION_RETURN => "mean return of an evaluation",
            _ => "mean return of the last 100 episodes",
        }
    }

    /// Returns the name of the directory of its runs.
    pub(crate) fn name_of_run(&self) -> String {
        match self.choice {
            Some(choice) => format!("{}_{}", self.example, choice.replace('-', "_")),
            None => self.example.into(),
        }
    }
}

/// Mean return of the last 100 training episodes, summed over agents.
pub(super) const EPISODE_RETURN: &str = "env_runners/episode_return_mean";
/// Mean return of module `learned` alone, in games against an opponent.
pub(super) const LEARNED_RETURN: &str = "env_runners/module_episode_returns_mean/learned";
/// Mean return of the last evaluation.
pub(crate) const EVALUATION_RETURN: &str = "evaluation/env_runners/episode_return_mean";
