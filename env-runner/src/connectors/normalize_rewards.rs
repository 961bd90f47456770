//! Rewards divided by the deviation of the discounted return.

use rekindle_core::ConfigError;
use serde_json::Value;

use super::running_stats::SharedStats;
use super::saved::{invalid, load_state, save_state};
use super::{Connector, RewardContext};
use crate::{Result, RunnerError};

/// Divides rewards by the running standard deviation of the discounted return; Gymnasium's
/// `NormalizeReward`, SB3's `VecNormalize`.
///
/// With `G ← γ·G + r` along each episode (0 before its first reward), a reward becomes
/// `clip(r / √(Var[G] + ε), ±clip_by_value)`. `Var[G]` covers all values of `G` so far, including
/// this step, and is 1 before the second reward. The mean is not subtracted, because that would
/// change the task.
///
/// `G` is reset after each episode, terminated or truncated, as in `VecNormalize`. Gymnasium resets
/// it one step earlier, and not after a truncation.
///
/// # State
/// The statistics of `G`, which runners merge between samples, and for each running episode its
/// `G`. Rewards that are not finite are skipped and counted ([`skipped`](Self::skipped)); they pass
/// unchanged. Evaluation divides by the trained deviation and does not update it.
#[derive(Debug, Clone)]
pub struct NormalizeRewards {
    gamma: f64,
    epsilon: f64,
    clip_by_value: Option<f64>,
    stats: SharedStats,
    /// `G` of each running episode.
    returns: Vec<f64>,
}

const NAME: &str = "NormalizeRewards";

impl NormalizeRewards {
    /// Creates a connector without statistics. `gamma` is the discount factor per step, usually the
    /// one of the algorithm.
    ///
    /// # Errors
    /// [`RunnerError::Config`] if `gamma` is outside [0, 1], or `epsilon` or `clip_by_value`
    /// is not above 0 and finite.
    pub fn new(gamma: f64, epsilon: f64, clip_by_value: Option<f64>) -> Result<Self> {
        let refuse = |field, value: f64, constraint: &'static str| {
            RunnerError::from(ConfigError::new(field, value.to_string(), constraint))
        };
        if !(0.0..=1.0).contains(&gamma) {
            let constraint = "it must be between 0 and 1";
            return Err(refuse("NormalizeRewards.gamma", gamma, constraint));
        }
        if !epsilon.is_finite() || epsilon <= 0.0 {
            let constraint = "it must be above 0 and finite";
            return Err(refuse("NormalizeRewards.epsilon", epsilon, constraint));
        }
        if let Some(bound) = clip_by_value
            && (!bound.is_finite() || bound <= 0.0)
        {
            let constraint = "it must be above 0 and finite; leave it out (`None`) for no bound";
            return Err(refuse("NormalizeRewards.clip_by_value", bound, constraint));
        }
        Ok(Self {
            gamma,
            epsilon,
            clip_by_value,
            stats: SharedStats::default(),
            returns: Vec::new(),
        })
    }

    /// Returns the number of rewards that the statistics skipped because they were not finite.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.stats.skipped()
    }

    /// Advances the returns of the running episodes and learns from them.
    fn learn(&mut self, rewards: &[f64], cx: RewardContext<'_>) {
        let count = cx.num_slots(rewards.len());
        if self.returns.len() != count {
            self.returns.clear();
            self.returns.resize(count, 0.0);
        }
        for (row, reward) in rewards.iter().enumerate() {
            let Some(discounted) = self.returns.get_mut(cx.slot(row)) else { continue };
            if cx.starts.get(row) == Some(&true) {
                *discounted = 0.0;
            }
            if reward.is_finite() {
                // Bounded, so that the sum of squares stays finite for rewards near `f64::MAX`.
                *discounted = (self.gamma * *discounted + reward).clamp(-1e100, 1e100);
                self.stats.push(NAME, std::iter::once(*discounted));
            } else {
                self.stats.skip(NAME);
            }
        }
    }
}

impl Connector for NormalizeRewards {
    fn name(&self) -> &'static str {
        NAME
    }

    fn transforms_rewards(&self) -> bool {
        true
    }

    fn transform_rewards(&mut self, rewards: &mut [f64], cx: RewardContext<'_>) -> Result<()> {
        self.stats.reserve(1);
        if cx.update {
            self.learn(rewards, cx);
        }
        let deviation = (self.stats.current().variance(0) + self.epsilon).sqrt();
        for reward in rewards.iter_mut().filter(|reward| reward.is_finite()) {
            *reward /= deviation;
            if let Some(bound) = self.clip_by_value {
                *reward = reward.clamp(-bound, bound);
            }
        }
        Ok(())
    }

    fn get_memory(&self) -> Result<Value> {
        save_state(&self.returns)
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        self.returns = match memory.is_null() {
            true => Vec::new(),
            false => load_state(NAME, memory)?,
        };
        if self.returns.iter().all(|discounted| discounted.is_finite()) {
            return Ok(());
        }
        self.returns.clear();
        Err(invalid(NAME, "a return is not finite"))
    }

    fn get_state(&self) -> Result<Value> {
        self.stats.save()
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        self.stats.load(NAME, state, 1)
    }

    fn take_delta(&mut self) -> Result<Value> {
        self.stats.take_delta()
    }

    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        self.stats.merge(NAME, deltas, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::Slots;

    fn step(
        connector: &mut NormalizeRewards,
        rewards: &[f64],
        starts: &[bool],
        update: bool,
    ) -> Vec<f64> {
        let mut rewards = rewards.to_vec();
        let cx = RewardContext { update, starts, slots: None };
        connector.transform_rewards(&mut rewards, cx).unwrap();
        rewards
    }

    fn connector() -> NormalizeRewards {
        NormalizeRewards::new(0.5, 1e-8, Some(10.0)).unwrap()
    }

    #[test]
    fn rewards_are_divided_by_the_deviation_of_the_discounted_return() {
        let mut connector = connector();
        // Returns 1 and 3: mean 2, variance 1.
        let first = step(&mut connector, &[1.0, 3.0], &[true, true], true);
        assert!((first[0] - 1.0).abs() < 1e-6 && (first[1] - 3.0).abs() < 1e-6, "{first:?}");
        // Returns 0.5 + 1.5 = 2 and 7 (after a reset). The mean of 1, 3, 2, 7 is 3.25, and the
        // variance (5.0625 + 0.0625 + 1.5625 + 14.0625) / 4.
        let second = step(&mut connector, &[1.5, 7.0], &[false, true], true);
        let deviation = 5.1875_f64.sqrt();
        assert!((second[0] - 1.5 / deviation).abs() < 1e-8, "{second:?}");
        assert!((second[1] - 7.0 / deviation).abs() < 1e-8, "{second:?}");
        // Evaluation does not update the statistics.
        let state = connector.get_state().unwrap();
        let frozen = step(&mut connector, &[1.5, 7.0], &[false, false], false);
        assert_eq!((frozen, connector.get_state().unwrap()), (second, state));
    }

    #[test]
    fn equal_rewards_do_not_explode() {
        // The variance is 0 as long as all returns are equal.
        assert_eq!(step(&mut connector(), &[1.0; 8], &[true; 8], true), [10.0; 8]);
    }

    #[test]
    fn a_reward_that_is_not_finite_is_skipped_counted_and_harms_no_later_one() {
        let (mut with, mut without) = (connector(), connector());
        step(&mut without, &[1.0, 3.0], &[true; 2], true);
        step(&mut with, &[1.0, 3.0], &[true; 2], true);
        let bad = step(&mut with, &[f64::NAN, f64::NEG_INFINITY], &[false; 2], true);
        assert!(bad[0].is_nan() && bad[1] == f64::NEG_INFINITY);
        assert_eq!((with.skipped(), without.skipped()), (2, 0));
        let next = |c: &mut NormalizeRewards| step(c, &[1.5, 7.0], &[false, true], true);
        assert_eq!(next(&mut with), next(&mut without));
        let mut restored = connector();
        restored.set_state(&with.get_state().unwrap()).unwrap();
        restored.set_memory(&with.get_memory().unwrap()).unwrap();
        assert_eq!(next(&mut restored), next(&mut with));
    }

    #[test]
    fn two_runners_learn_as_one() {
        let mut two = [connector(), connector()];
        let mut one = connector();
        for t in 0..6 {
            let rewards: Vec<_> = (0..4).map(|i| f64::from(i * 7 + t).sin()).collect();
            step(&mut one, &rewards, &[t == 0; 4], true);
            step(&mut two[0], &rewards[..2], &[t == 0; 2], true);
            step(&mut two[1], &rewards[2..], &[t == 0; 2], true);
            let deltas: Vec<_> = two.iter_mut().map(|c| c.take_delta().unwrap()).collect();
            two.iter_mut().for_each(|c| c.merge(&deltas).unwrap());
        }
        let variances =
            [&one, &two[0], &two[1]].map(|connector| connector.stats.current().variance(0));
        assert!(variances.iter().all(|v| (v - variances[0]).abs() < 1e-12), "{variances:?}");
    }

    #[test]
    fn episodes_are_told_apart_by_their_slots() {
        let mut connector = connector();
        for (slot, reward) in [(1, 1.0), (0, 4.0), (1, 2.0)] {
            let slots = Slots { of_rows: &[slot], count: 2 };
            let cx = RewardContext { update: true, starts: &[false], slots: Some(slots) };
            connector.transform_rewards(&mut [reward], cx).unwrap();
        }
        assert_eq!(connector.returns, [4.0, 2.5]);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let refusals = [
            (NormalizeRewards::new(1.5, 1e-8, None), "gamma"),
            (NormalizeRewards::new(f64::NAN, 1e-8, None), "gamma"),
            (NormalizeRewards::new(0.9, 0.0, None), "epsilon"),
            (NormalizeRewards::new(0.9, 1e-8, Some(-1.0)), "clip_by_value"),
        ];
        for (result, field) in refusals {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&format!("`NormalizeRewards.{field}`")), "{error}");
        }
    }
}
