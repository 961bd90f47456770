//! The settings of networks of action values.

use rekindle_core::{ConfigError, Schedule};
use serde::{Deserialize, Serialize};

use crate::roles::ValueDistribution;

/// The settings that a [`QNetwork`](super::QNetwork) has beside those of a `DefaultModelConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QNetworkConfig {
    /// Whether action values are the sum of a value and of advantages with mean 0 (Wang et al., 2016).
    ///
    /// Default: `true`.
    pub dueling: bool,
    /// Probability of a random action over environment steps. Without effect on a noisy network.
    ///
    /// Default: 1 at the start, 0.05 from step 10 000 on.
    pub epsilon: Schedule,
    /// Number of atoms of the distribution of each action's return (C51); 1 for a network of expected values.
    ///
    /// Default: 1.
    pub num_atoms: usize,
    /// Return of the first atom.
    ///
    /// Default: −10.
    pub v_min: f64,
    /// Return of the last atom.
    ///
    /// Default: 10.
    pub v_max: f64,
    /// Number of quantiles of the distribution of each action's return (QR-DQN); `None` for none.
    ///
    /// Default: `None`.
    pub num_quantiles: Option<usize>,
    /// Whether all layers of the heads are noisy, which explores in place of ε (Fortunato et al., 2018; Hessel et al.,
    /// 2018). Heads without hidden layers get one of 256 units, because noise on output layers alone explores too
    /// little; `vf_head_fcnet_hiddens` of `[]` keeps them without.
    ///
    /// Default: `false`.
    pub noisy: bool,
    /// Standard deviation of the noise at the start, times the root of a layer's inputs.
    ///
    /// Default: 0.5.
    pub sigma0: f64,
    /// Whether the module has target networks. Without them, it has half the parameters, and losses that need
    /// them refuse it.
    ///
    /// Default: `true`.
    pub target_network: bool,
    /// Whether every hidden layer of the encoder and the heads is normalized before its activation:
    /// `fcnet_use_layernorm`, `conv_use_layernorm` and `head_fcnet_use_layernorm` at once.
    ///
    /// Default: `false`.
    pub use_layernorm: bool,
}

impl Default for QNetworkConfig {
    fn default() -> Self {
        Self {
            dueling: true,
            epsilon: Schedule::from([(0, 1.0), (10_000, 0.05)]),
            num_atoms: 1,
            v_min: -10.0,
            v_max: 10.0,
            num_quantiles: None,
            noisy: false,
            sigma0: 0.5,
            target_network: true,
            use_layernorm: false,
        }
    }
}

impl QNetworkConfig {
    /// Returns the kind of distribution that the network has for each action's return; `None` for a network of
    /// expected values.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that describe none ([`ValueDistribution::from_settings`]).
    pub fn value_distribution(&self) -> Result<Option<ValueDistribution>, ConfigError> {
        let range = [self.v_min, self.v_max];
        ValueDistribution::from_settings(self.num_atoms, range, self.num_quantiles)
    }

    /// Checks the value of each field.
    ///
    /// # Errors
    /// [`ConfigError`] with field, value and constraint.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.epsilon.validate("epsilon")?;
        self.value_distribution()?;
        if self.sigma0 >= 0.0 && self.sigma0.is_finite() {
            return Ok(());
        }
        Err(ConfigError::new("sigma0", self.sigma0, "it must be finite and not negative"))
    }
}
