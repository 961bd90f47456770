//! Rewards within bounds.

use rekindle_core::ConfigError;
use serde_json::Value;

use super::{Connector, RewardContext};
use crate::Result;

/// Clips the rewards that losses see to `±limit`, or takes their signs if there is no limit;
/// RLlib's `clip_rewards` setting and Gymnasium's `ClipReward`.
///
/// A NaN stays NaN. The connector has no state. Reported episode returns are not clipped.
#[derive(Debug, Clone)]
pub struct ClipRewards {
    limit: Option<f64>,
}

impl ClipRewards {
    /// Clips to `±limit`; `None` replaces rewards by −1, 0 or 1, as is usual for Atari games.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) if the limit is not above 0 and finite.
    pub fn new(limit: Option<f64>) -> Result<Self> {
        match limit {
            Some(limit) if limit <= 0.0 || !limit.is_finite() => Err(ConfigError::new(
                "ClipRewards.limit",
                limit.to_string(),
                "it must be above 0 and finite; leave it out (`None`) for signs",
            )
            .into()),
            _ => Ok(Self { limit }),
        }
    }
}

impl Connector for ClipRewards {
    fn name(&self) -> &'static str {
        "ClipRewards"
    }

    fn transforms_rewards(&self) -> bool {
        true
    }

    fn transform_rewards(&mut self, rewards: &mut [f64], _cx: RewardContext<'_>) -> Result<()> {
        for reward in rewards {
            *reward = match self.limit {
                Some(limit) => reward.clamp(-limit, limit),
                None if *reward == 0.0 => 0.0,
                None => reward.signum(),
            };
        }
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

    fn clip(limit: Option<f64>) -> Vec<f64> {
        let mut rewards = vec![-7.5, -0.25, -0.0, 0.0, 0.5, 3.0, f64::INFINITY];
        let starts = [false; 7];
        let cx = RewardContext { update: true, starts: &starts, slots: None };
        ClipRewards::new(limit).unwrap().transform_rewards(&mut rewards, cx).unwrap();
        rewards
    }

    #[test]
    fn rewards_are_clipped_to_the_limit_or_become_signs() {
        assert_eq!(clip(Some(2.0)), [-2.0, -0.25, 0.0, 0.0, 0.5, 2.0, 2.0]);
        assert_eq!(clip(None), [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn limits_that_silence_or_flip_rewards_are_refused() {
        for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = ClipRewards::new(Some(limit)).unwrap_err().to_string();
            assert!(error.contains("`ClipRewards.limit`"), "{error}");
        }
    }
}
