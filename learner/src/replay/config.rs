//! Settings of replay buffers.

use std::fmt;
use std::ops::RangeInclusive;

use rekindle_core::settings::{at_least_one, between_0_and_1, positive};
use rekindle_core::{ConfigError, Schedule, settings};
use serde::{Deserialize, Serialize};

settings! {
    /// Settings of a [`ReplayBuffer`](super::ReplayBuffer).
    pub struct ReplayConfig {
        /// Number of steps that are kept for each module: the latest ones.
        set capacity: usize = 1_000_000, at_least_one;
        /// Draws transitions in proportion to their errors; `None` draws all alike.
        into prioritized: Option<PrioritizedConfig> = None, checked;
        /// Whether checkpoints hold the stored steps. A run that is restored without them collects new ones
        /// before it learns.
        set in_checkpoints: bool = true;
    }
}

settings! {
    /// Settings of prioritized replay (Schaul et al., 2016).
    pub struct PrioritizedConfig {
        /// Exponent of the priorities `(|δ| + epsilon)^alpha`: 0 draws all alike.
        set alpha: f64 = 0.6, between_0_and_1;
        /// Exponent of the importance weights over environment steps: 1 corrects for all of the bias.
        into beta: Schedule = Schedule::Constant(0.4);
        /// What is added to an absolute error.
        set epsilon: f64 = 1e-6, positive;
        /// Share of the largest error of a sequence in its priority, for modules with memory; the rest is the share
        /// of the mean (Kapturowski et al., 2019).
        set eta: f64 = 0.9, between_0_and_1;
        /// What importance weights are divided by, so that none is above 1.
        set weights_by: LargestWeight = LargestWeight::Buffer;
    }
}

/// Steps of a transition: in JSON `3` or `[1, 5]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum NStep {
    /// The same number for all transitions.
    Steps(usize),
    /// A number from a range, with both ends, drawn for each transition.
    Range([usize; 2]),
}

impl From<usize> for NStep {
    fn from(steps: usize) -> Self {
        Self::Steps(steps)
    }
}

impl From<RangeInclusive<usize>> for NStep {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self::Range([*range.start(), *range.end()])
    }
}

impl fmt::Display for NStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Range([low, high]) => write!(f, "[{low}, {high}]"),
        }
    }
}

impl NStep {
    /// Returns the numbers of steps.
    #[must_use]
    pub fn range(self) -> RangeInclusive<usize> {
        match self {
            Self::Steps(steps) => steps..=steps,
            Self::Range([low, high]) => low..=high,
        }
    }

    /// Returns the largest number of steps.
    #[must_use]
    pub fn most(self) -> usize {
        *self.range().end()
    }

    /// Checks that there is a number of steps, and that none is 0.
    ///
    /// # Errors
    /// [`ConfigError`] that names `field`.
    pub fn check(field: &'static str, n_step: &Self) -> Result<(), ConfigError> {
        let range = n_step.range();
        match *range.start() >= 1 && !range.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::new(
                field,
                n_step,
                "it must be at least 1, or a range `[least, most]` of such numbers",
            )),
        }
    }
}

/// The largest importance weight, by which all are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LargestWeight {
    /// The largest that a stored transition would have, as in RLlib.
    #[default]
    Buffer,
    /// The largest of the minibatch, as in Dopamine and CleanRL.
    Batch,
}

fn checked(field: &'static str, config: &Option<PrioritizedConfig>) -> Result<(), ConfigError> {
    let Some(config) = config else { return Ok(()) };
    config.check_fields().map_err(|error| error.within(field))?;
    config.beta.validate("beta").map_err(|error| error.within(field))
}
