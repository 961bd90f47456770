//! The running episodes and the time that a call takes.

use std::time::{Duration, Instant};

use rekindle_metrics::MetricsLogger;
use serde::{Deserialize, Serialize};

use super::SampleOptions;
use crate::error::Result;
use crate::experience::EpisodeSummary;

/// The running episode of an environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpisodeTracker {
    pub(crate) id: u64,
    /// Steps so far.
    pub(crate) t: usize,
    /// Sum of the rewards of all agents so far.
    pub(crate) episode_return: f64,
}

impl EpisodeTracker {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    pub(crate) fn summary(&self) -> EpisodeSummary {
        EpisodeSummary { episode_return: self.episode_return, len: self.t }
    }
}

/// The end of a call that has a time limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) fn of(options: SampleOptions) -> Self {
        // Without a limit if the end is later than the clock can represent.
        Self(options.time_limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// Whether the time limit has passed. The clock is read only if there is a limit.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Number of steps of a vector without the end of an episode after which a call for complete
/// episodes warns for the first time.
const LONG: usize = 100_000;

/// Watches a call for complete episodes, which does not end if the environment never ends one.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The episodes that ended so far.
    episodes: usize,
    /// Steps of the vector since the last one.
    steps: usize,
    /// The number of steps at which the next warning is due.
    limit: usize,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { episodes: 0, steps: 0, limit: LONG }
    }

    /// Counts a step of the vector, after which `episodes` have ended in the call. Warns when none has
    /// ended for long, each time after twice as many steps.
    pub(crate) fn step(&mut self, env: &str, episodes: usize) {
        if self.is_long(episodes) {
            tracing::warn!(
                env,
                steps = self.steps,
                "no episode ends, and a call for complete episodes waits for them; register the \
                 environment with a limit (`with_max_episode_steps`), collect steps instead of \
                 episodes, or set a time limit"
            );
        }
    }

    fn is_long(&mut self, episodes: usize) -> bool {
        if episodes != self.episodes {
            *self = Self { episodes, ..Self::new() };
            return false;
        }
        self.steps += 1;
        let is_long = self.steps == self.limit;
        if is_long {
            self.limit = self.limit.saturating_mul(2);
        }
        is_long
    }
}

/// The time that the parts of a call took.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) reset: Duration,
    pub(crate) env: Duration,
    pub(crate) inference: Duration,
    pub(crate) env_to_module: Duration,
    pub(crate) module_to_env: Duration,
}

impl Timers {
    pub(crate) fn log(&self, metrics: &mut MetricsLogger) -> Result<()> {
        for (key, time) in [
            ("env_reset_timer", self.reset),
            ("env_step_timer", self.env),
            ("rlmodule_inference_timer", self.inference),
            ("env_to_module_connector_timer", self.env_to_module),
            ("module_to_env_connector_timer", self.module_to_env),
        ] {
            metrics.log_time(key, time)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_the_end_of_an_episode_are_long_after_ever_more_of_them() {
        let mut watch = Watch::new();
        let mut long =
            |steps: usize, episodes| (1..=steps).filter(|_| watch.is_long(episodes)).count();
        assert_eq!((long(LONG - 1, 0), long(1, 0)), (0, 1));
        assert_eq!((long(LONG - 1, 0), long(1, 0), long(LONG, 0)), (0, 1, 0));
        // An episode that ends begins a new count.
        assert_eq!((long(LONG, 1), long(1, 1)), (0, 1));
    }
}
