//! Rewards times a constant.

use rekindle_core::ConfigError;
use serde_json::Value;

use super::{Connector, RewardContext};
use crate::Result;

/// Multiplies the rewards that losses see by a constant, as Gymnasium's `TransformReward` does with
/// `lambda r: factor * r`.
///
/// The connector has no state. Reported episode returns are not scaled.
#[derive(Debug, Clone)]
pub struct ScaleRewards {
    factor: f64,
}

impl ScaleRewards {
    /// Multiplies by `factor`.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) if the factor is 0 or not finite.
    pub fn new(factor: f64) -> Result<Self> {
        if factor == 0.0 || !factor.is_finite() {
            return Err(ConfigError::new(
                "ScaleRewards.factor",
                factor.to_string(),
                "it must be finite and not 0, which would remove all rewards",
            )
            .into());
        }
        Ok(Self { factor })
    }
}

impl Connector for ScaleRewards {
    fn name(&self) -> &'static str {
        "ScaleRewards"
    }

    fn transforms_rewards(&self) -> bool {
        true
    }

    fn transform_rewards(&mut self, rewards: &mut [f64], _cx: RewardContext<'_>) -> Result<()> {
        rewards.iter_mut().for_each(|reward| *reward *= self.factor);
        Ok(())
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_are_multiplied_and_factors_that_remove_them_refused() {
        let mut rewards = [-16.0, 4.0];
        let cx = RewardContext { update: true, starts: &[false; 2], slots: None };
        ScaleRewards::new(0.125).unwrap().transform_rewards(&mut rewards, cx).unwrap();
        assert_eq!(rewards, [-2.0, 0.5]);
        for factor in [0.0, f64::NAN, f64::NEG_INFINITY] {
            let error = ScaleRewards::new(factor).unwrap_err().to_string();
            assert!(error.contains("`ScaleRewards.factor`"), "{error}");
        }
    }
}
