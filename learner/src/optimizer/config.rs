//! The choice of an optimizer.

use rekindle_core::ConfigError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The rule that turns gradients into steps.
///
/// In JSON `{"type": "adam"}`, with `beta_1`, `beta_2` and `epsilon` where they differ from the
/// defaults, or `{"type": "sgd"}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", try_from = "Value")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Adam (Kingma and Ba, 2015), as Burn and PyTorch compute it.
    Adam {
        /// Decay of the first moment, in `[0, 1)`.
        beta_1: f32,
        /// Decay of the second moment, in `[0, 1)`.
        beta_2: f32,
        /// Added to the root of the second moment; positive.
        epsilon: f32,
    },
    /// Gradient descent: `p − lr·g`.
    Sgd,
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

impl Default for OptimizerConfig {
    /// Adam with PyTorch's defaults.
    fn default() -> Self {
        Self::adam(EPSILON)
    }
}

impl OptimizerConfig {
    /// Adam with the usual decays, 0.9 and 0.999.
    #[must_use]
    pub fn adam(epsilon: f32) -> Self {
        Self::Adam { beta_1: BETA_1, beta_2: BETA_2, epsilon }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] for a decay outside `[0, 1)` in single precision, and for an `epsilon` that
    /// is not positive and finite: steps would not be finite.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self::Adam { beta_1, beta_2, epsilon } = *self else { return Ok(()) };
        for (field, decay) in [("optimizer.beta_1", beta_1), ("optimizer.beta_2", beta_2)] {
            if !(0.0..1.0).contains(&decay) {
                return Err(ConfigError::new(field, decay, "it must be at least 0 and below 1"));
            }
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let constraint = "it must be positive and finite";
            return Err(ConfigError::new("optimizer.epsilon", epsilon, constraint));
        }
        Ok(())
    }
}

impl TryFrom<Value> for OptimizerConfig {
    type Error = String;

    /// Written by hand, because the messages of a derived implementation name Rust's types.
    fn try_from(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
        enum Form {
            Adam {
                #[serde(default = "beta_1")]
                beta_1: f32,
                #[serde(default = "beta_2")]
                beta_2: f32,
                #[serde(default = "epsilon")]
                epsilon: f32,
            },
            Sgd {},
        }
        fn beta_1() -> f32 {
            BETA_1
        }
        fn beta_2() -> f32 {
            BETA_2
        }
        fn epsilon() -> f32 {
            EPSILON
        }
        if value.get("type").is_none_or(|name| !name.is_string()) {
            return Err(format!(
                "an optimizer is an object with a type, `{{\"type\": \"adam\"}}` or `{{\"type\": \"sgd\"}}`, not {value}"
            ));
        }
        match Form::deserialize(value).map_err(|error| format!("optimizer: {error}"))? {
            Form::Adam { beta_1, beta_2, epsilon } => Ok(Self::Adam { beta_1, beta_2, epsilon }),
            Form::Sgd {} => Ok(Self::Sgd),
        }
    }
}
