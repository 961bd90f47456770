//! The choice of an optimizer.

use rekindle_core::ConfigError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The rule that turns gradients into steps.
///
/// In JSON `{"type": "adam"}`, with the settings that differ from the defaults. The types are `adam`,
/// `adam_w`, `r_adam`, `rms_prop` and `sgd`.
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
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019): `p ← (1 − lr·λ)·p`, then Adam's
    /// step.
    AdamW {
        /// Decay of the first moment, in `[0, 1)`.
        beta_1: f32,
        /// Decay of the second moment, in `[0, 1)`.
        beta_2: f32,
        /// Added to the root of the second moment; positive.
        epsilon: f32,
        /// Weight decay λ.
        weight_decay: f32,
    },
    /// Rectified Adam (Liu et al., 2020), as PyTorch computes it.
    RAdam {
        /// Decay of the first moment, in `[0, 1)`.
        beta_1: f32,
        /// Decay of the second moment, in `[0, 1)`.
        beta_2: f32,
        /// Added to the root of the second moment; positive.
        epsilon: f32,
    },
    /// RMSprop (Tieleman and Hinton, 2012) in PyTorch's form: `epsilon` is added to the root, and the
    /// average starts at 0. TensorFlow's form differs.
    RmsProp {
        /// Decay of the average of squared gradients, in `[0, 1)`.
        alpha: f32,
        /// Added to the root of the average; positive.
        epsilon: f32,
    },
    /// Gradient descent: `p − lr·g`, with momentum μ `v ← μ·v + g`, `p − lr·v`.
    Sgd {
        /// Momentum μ, in `[0, 1)`; 0 for none.
        momentum: f32,
    },
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
const WEIGHT_DECAY: f32 = 1e-2;
const ALPHA: f32 = 0.99;

impl Default for OptimizerConfig {
    /// Adam with PyTorch's defaults.
    fn default() -> Self {
        Self::adam(EPSILON)
    }
}

impl OptimizerConfig {
    /// Creates Adam with the usual decays, 0.9 and 0.999.
    #[must_use]
    pub fn adam(epsilon: f32) -> Self {
        Self::Adam { beta_1: BETA_1, beta_2: BETA_2, epsilon }
    }

    /// Creates Adam with decoupled weight decay and PyTorch's other defaults.
    #[must_use]
    pub fn adam_w(weight_decay: f32) -> Self {
        Self::AdamW { beta_1: BETA_1, beta_2: BETA_2, epsilon: EPSILON, weight_decay }
    }

    /// Creates rectified Adam with PyTorch's defaults.
    #[must_use]
    pub fn r_adam() -> Self {
        Self::RAdam { beta_1: BETA_1, beta_2: BETA_2, epsilon: EPSILON }
    }

    /// Creates RMSprop with a decay of 0.99.
    #[must_use]
    pub fn rms_prop(epsilon: f32) -> Self {
        Self::RmsProp { alpha: ALPHA, epsilon }
    }

    /// Creates gradient descent without momentum.
    #[must_use]
    pub fn sgd() -> Self {
        Self::Sgd { momentum: 0.0 }
    }

    /// The name of the rule.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Adam { .. } => "Adam",
            Self::AdamW { .. } => "AdamW",
            Self::RAdam { .. } => "RAdam",
            Self::RmsProp { .. } => "RMSprop",
            Self::Sgd { .. } => "SGD",
        }
    }

    /// The names of the moments that the rule keeps of each parameter.
    pub(crate) fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::Adam { .. } | Self::AdamW { .. } | Self::RAdam { .. } => {
                &["moment_1", "moment_2"]
            }
            Self::RmsProp { .. } => &["square_average"],
            Self::Sgd { momentum } if *momentum > 0.0 => &["momentum"],
            Self::Sgd { .. } => &[],
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`] for a decay outside `[0, 1)` in single precision, for an `epsilon` that is not
    /// positive and finite, and for a negative weight decay: steps would not be finite.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let decay = |field, decay: f32| match (0.0..1.0).contains(&decay) {
            true => Ok(()),
            false => Err(ConfigError::new(field, decay, "it must be at least 0 and below 1")),
        };
        let epsilon = |epsilon: f32| match epsilon > 0.0 && epsilon.is_finite() {
            true => Ok(()),
            false => {
                let constraint = "it must be positive and finite";
                Err(ConfigError::new("optimizer.epsilon", epsilon, constraint))
            }
        };
        match *self {
            Self::Adam { beta_1, beta_2, epsilon: e }
            | Self::AdamW { beta_1, beta_2, epsilon: e, .. }
            | Self::RAdam { beta_1, beta_2, epsilon: e } => {
                decay("optimizer.beta_1", beta_1)?;
                decay("optimizer.beta_2", beta_2)?;
                epsilon(e)?;
            }
            Self::RmsProp { alpha, epsilon: e } => {
                decay("optimizer.alpha", alpha)?;
                epsilon(e)?;
            }
            Self::Sgd { momentum } => decay("optimizer.momentum", momentum)?,
        }
        match *self {
            Self::AdamW { weight_decay, .. } if !(0.0..=1e18).contains(&weight_decay) => {
                let constraint = "it must be finite, not negative, and at most 1e18";
                Err(ConfigError::new("optimizer.weight_decay", weight_decay, constraint))
            }
            _ => Ok(()),
        }
    }
}

impl TryFrom<Value> for OptimizerConfig {
    type Error = String;

    /// Written by hand, because the messages of a derived implementation name Rust's types.
    fn try_from(value: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Betas {
            beta_1: f32,
            beta_2: f32,
            epsilon: f32,
        }
        impl Default for Betas {
            fn default() -> Self {
                Self { beta_1: BETA_1, beta_2: BETA_2, epsilon: EPSILON }
            }
        }
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Decoupled {
            beta_1: f32,
            beta_2: f32,
            epsilon: f32,
            weight_decay: f32,
        }
        impl Default for Decoupled {
            fn default() -> Self {
                let Betas { beta_1, beta_2, epsilon } = Betas::default();
                Self { beta_1, beta_2, epsilon, weight_decay: WEIGHT_DECAY }
            }
        }
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Averages {
            alpha: f32,
            epsilon: f32,
        }
        impl Default for Averages {
            fn default() -> Self {
                Self { alpha: ALPHA, epsilon: EPSILON }
            }
        }
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Descent {
            momentum: f32,
        }
        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Form {
            Adam(Betas),
            AdamW(Decoupled),
            RAdam(Betas),
            RmsProp(Averages),
            Sgd(Descent),
        }
        if value.get("type").is_none_or(|name| !name.is_string()) {
            return Err(format!(
                "an optimizer is an object with a type, `{{\"type\": \"adam\"}}` or `{{\"type\": \"sgd\"}}`, not {value}"
            ));
        }
        Ok(match Form::deserialize(value).map_err(|error| format!("optimizer: {error}"))? {
            Form::Adam(Betas { beta_1, beta_2, epsilon }) => Self::Adam { beta_1, beta_2, epsilon },
            Form::AdamW(Decoupled { beta_1, beta_2, epsilon, weight_decay }) => {
                Self::AdamW { beta_1, beta_2, epsilon, weight_decay }
            }
            Form::RAdam(Betas { beta_1, beta_2, epsilon }) => {
                Self::RAdam { beta_1, beta_2, epsilon }
            }
            Form::RmsProp(Averages { alpha, epsilon }) => Self::RmsProp { alpha, epsilon },
            Form::Sgd(Descent { momentum }) => Self::Sgd { momentum },
        })
    }
}
