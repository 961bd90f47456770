//! Settings of replay buffers.

use rekindle_core::settings::{at_least_one, between_0_and_1, positive};
use rekindle_core::{ConfigError, settings};
use serde::{Deserialize, Serialize};

use crate::Schedule;

settings! {
    /// Settings of a [`ReplayBuffer`](super::ReplayBuffer).
    pub struct ReplayConfig {
        /// Number of steps that are kept for each module: the latest ones.
        set capacity: usize = 1_000_000, at_least_one;
        /// Draws transitions in proportion to their errors; `None` draws all alike.
        into prioritized: Option<PrioritizedConfig> = None, checked;
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
        /// What importance weights are divided by, so that none is above 1.
        set weights_by: LargestWeight = LargestWeight::Buffer;
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
