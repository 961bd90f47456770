//! Connectors as data.

use rekindle_env::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Connector, FlattenObservations, FrameStacking, MeanStdFilter, PrevActionsPrevRewards, registry,
};
use crate::Result;

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
    /// One that [`register_connector`](super::register_connector) made known.
    Custom {
        /// The name it was registered under.
        name: String,
        /// Its settings.
        #[serde(default)]
        config: Value,
    },
    /// [`FlattenObservations`].
    FlattenObservations {
        /// Keys of the parts of a Dict that are dropped.
        #[serde(default)]
        keys_to_remove: Vec<String>,
    },
    /// [`FrameStacking`].
    FrameStacking {
        /// How many observations are stacked.
        num_frames: usize,
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

    /// A connector that [`register_connector`](super::register_connector) made known.
    pub fn custom(name: impl Into<String>, config: impl Into<Value>) -> Self {
        Self::Custom { name: name.into(), config: config.into() }
    }

    /// Creates the connector, for a policy with these actions.
    ///
    /// # Errors
    /// [`RunnerError::UnregisteredConnector`](crate::RunnerError::UnregisteredConnector), or that
    /// of a user's connector.
    pub fn build(&self, actions: &Space) -> Result<Box<dyn Connector>> {
        Ok(match self {
            Self::Custom { name, config } => return registry::build(name, config, actions),
            Self::MeanStdFilter { de_mean_to_zero, de_std_to_one, clip_by_value } => {
                Box::new(MeanStdFilter::new(*de_mean_to_zero, *de_std_to_one, *clip_by_value))
            }
            Self::FlattenObservations { keys_to_remove } => {
                Box::new(FlattenObservations::new(keys_to_remove.clone()))
            }
            Self::FrameStacking { num_frames } => Box::new(FrameStacking::new(*num_frames)),
            Self::PrevActionsPrevRewards { n_prev_actions, n_prev_rewards } => Box::new(
                PrevActionsPrevRewards::new(actions.clone(), *n_prev_actions, *n_prev_rewards),
            ),
        })
    }
}
