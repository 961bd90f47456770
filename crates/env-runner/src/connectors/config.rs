//! Connectors as data.

use rekindle_env::Space;
use serde::{Deserialize, Serialize};

use super::{Connector, MeanStdFilter, PrevActionsPrevRewards};

/// A connector of the env-to-module pipeline, for configurations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
#[non_exhaustive]
pub enum ConnectorConfig {
    /// [`MeanStdFilter`].
    MeanStdFilter {
        /// Whether the running mean is subtracted.
        #[serde(default = "yes")]
        de_mean_to_zero: bool,
        /// Whether the result is divided by the running standard deviation.
        #[serde(default = "yes")]
        de_std_to_one: bool,
        /// Bound on the absolute result; `None` for no bound.
        #[serde(default = "ten")]
        clip_by_value: Option<f32>,
    },
    /// [`PrevActionsPrevRewards`].
    PrevActionsPrevRewards {
        /// How many of the last actions are added; 0 for none.
        #[serde(default = "one")]
        n_prev_actions: usize,
        /// How many of the last rewards are added; 0 for none.
        #[serde(default = "one")]
        n_prev_rewards: usize,
    },
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

#[allow(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn ten() -> Option<f32> {
    Some(10.0)
}

impl ConnectorConfig {
    /// RLlib's defaults of the filter: mean 0, deviation 1, bound 10.
    pub fn mean_std_filter() -> Self {
        Self::MeanStdFilter {
            de_mean_to_zero: true,
            de_std_to_one: true,
            clip_by_value: Some(10.0),
        }
    }

    /// Creates the connector, for a policy with these actions.
    pub fn build(&self, actions: &Space) -> Box<dyn Connector> {
        match self {
            Self::MeanStdFilter { de_mean_to_zero, de_std_to_one, clip_by_value } => {
                Box::new(MeanStdFilter::new(*de_mean_to_zero, *de_std_to_one, *clip_by_value))
            }
            Self::PrevActionsPrevRewards { n_prev_actions, n_prev_rewards } => Box::new(
                PrevActionsPrevRewards::new(actions.clone(), *n_prev_actions, *n_prev_rewards),
            ),
        }
    }
}
