//! Off-policy estimators: the return of a policy from episodes of another one, without playing it.

use rekindle_core::Generator;
use serde::{Deserialize, Serialize};

use crate::error::{OfflineError, Result};

/// How the return of a policy is estimated from episodes of another one.
///
/// With the ratio `ρ_t = π(a_t|s_t)/μ(a_t|s_t)` of the policy π and the one that acted, μ, and `w_t = ρ_0⋯ρ_t`:
///
/// | estimator | of an episode | bias | variance |
/// |---|---|---|---|
/// | [`ImportanceSampling`](Self::ImportanceSampling) | `w_{T−1} · Σ γᵗ r_t` | none | high |
/// | [`WeightedImportanceSampling`](Self::WeightedImportanceSampling) | as above, over all `w_{T−1}` | vanishes | lower |
/// | [`PerDecisionImportanceSampling`](Self::PerDecisionImportanceSampling) | `Σ γᵗ w_t r_t` | none | lower |
/// | [`PerDecisionWeightedImportanceSampling`](Self::PerDecisionWeightedImportanceSampling) | as above, over all `w_t` of a step | vanishes | low |
/// | [`DirectMethod`](Self::DirectMethod) | `V(s_0)` | that of V | low |
/// | [`DoublyRobust`](Self::DoublyRobust) | `V + ρ(r + γ·DR' − Q)`, from the end | none if ρ or Q is right | lower |
///
/// Precup et al. (2000); Jiang and Li (2016, equation 10) for the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Estimator {
    /// Ordinary importance sampling; RLlib's `ImportanceSampling`.
    #[serde(rename = "is", alias = "importance_sampling")]
    ImportanceSampling,
    /// Weighted importance sampling; RLlib's `WeightedImportanceSampling`.
    #[serde(rename = "wis", alias = "weighted_importance_sampling")]
    WeightedImportanceSampling,
    /// Importance sampling of each reward.
    #[serde(rename = "pdis", alias = "per_decision_importance_sampling")]
    PerDecisionImportanceSampling,
    /// Weighted importance sampling of each reward. An episode that has ended keeps its last weight, with rewards 0.
    #[serde(rename = "pdwis", alias = "per_decision_weighted_importance_sampling")]
    PerDecisionWeightedImportanceSampling,
    /// The mean of the estimated values of first observations; RLlib's `DirectMethod`.
    #[serde(rename = "dm", alias = "direct_method")]
    DirectMethod,
    /// Estimated values, corrected by importance sampling; RLlib's `DoublyRobust`.
    #[serde(rename = "dr", alias = "doubly_robust")]
    DoublyRobust,
}

impl Estimator {
    /// All estimators.
    pub const ALL: [Self; 6] = [
        Self::ImportanceSampling,
        Self::WeightedImportanceSampling,
        Self::PerDecisionImportanceSampling,
        Self::PerDecisionWeightedImportanceSampling,
        Self::DirectMethod,
        Self::DoublyRobust,
    ];

    /// Returns the short name, for settings and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ImportanceSampling => "is",
            Self::WeightedImportanceSampling => "wis",
            Self::PerDecisionImportanceSampling => "pdis",
            Self::PerDecisionWeightedImportanceSampling => "pdwis",
            Self::DirectMethod => "dm",
            Self::DoublyRobust => "dr",
        }
    }

    /// Whether the estimator reads the ratios of probabilities.
    #[must_use]
    pub fn needs_ratios(self) -> bool {
        self != Self::DirectMethod
    }

    /// Whether the estimator reads estimated values.
    #[must_use]
    pub fn needs_values(self) -> bool {
        matches!(self, Self::DirectMethod | Self::DoublyRobust)
    }
}

/// An episode of the policy that acted, as estimators read it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EstimatedEpisode {
    /// Rewards, `[T]`.
    pub rewards: Vec<f64>,
    /// Logarithms of the ratios ρ, `[T]`; empty for [`Estimator::DirectMethod`]. Negative infinity is the logarithm of
    /// the ratio of an action that the policy never takes.
    pub log_ratios: Vec<f64>,
    /// Values of the evaluated policy, `[T]` and that of the observation after the last step: 0 if the environment
    /// ended the episode. [`Estimator::DirectMethod`] reads the first one alone. Empty for estimators that read none.
    pub values: Vec<f64>,
    /// Values of the actions of the data, `[T]`; empty for estimators other than [`Estimator::DoublyRobust`].
    pub action_values: Vec<f64>,
}

/// An estimated return with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// Estimates the discounted return of a policy.
///
/// # Errors
/// [`OfflineError::Estimator`] without episodes; if columns that the estimator reads are missing, of another length, or
/// hold numbers that are not finite; if the weight of an episode overflows, or if all weights are 0.
pub fn estimate(estimator: Estimator, episodes: &[EstimatedEpisode], gamma: f64) -> Result<f64> {
    check(estimator, episodes)?;
    Terms::of(estimator, episodes, gamma)?.of_all(estimator, episodes.len())
}

/// Estimates the discounted return of a policy, with a confidence interval from `resamples` draws of as many episodes
/// with replacement (the percentile bootstrap). `confidence` is 0.95, for example.
///
/// # Errors
/// As [`estimate`].
pub fn estimate_with_interval(
    estimator: Estimator,
    episodes: &[EstimatedEpisode],
    gamma: f64,
    confidence: f64,
    resamples: usize,
    rng: &mut Generator,
) -> Result<Estimate> {
    check(estimator, episodes)?;
    let (terms, count) = (Terms::of(estimator, episodes, gamma)?, episodes.len());
    let value = terms.of_all(estimator, count)?;
    let draws = (0..resamples.max(1)).map(|_| {
        let drawn: Vec<_> = (0..count).map(|_| rng.integers(0, count as i64) as usize).collect();
        terms.estimate(&drawn)
    });
    // A draw whose episodes all have the weight 0 estimates nothing.
    let mut estimates: Vec<f64> = draws.filter(|estimate| !estimate.is_nan()).collect();
    estimates.sort_unstable_by(f64::total_cmp);
    let outside = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let at = |share: f64| {
        let last = estimates.len().saturating_sub(1);
        estimates.get((share * last as f64).round() as usize).copied().unwrap_or(value)
    };
    let (low, high) = (at(outside), at(1.0 - outside));
    match low.is_finite() && high.is_finite() {
        true => Ok(Estimate { value, low, high }),
        false => refuse(estimator, OVERFLOW.into()),
    }
}

/// The reason for an estimate that is not finite.
const OVERFLOW: &str = "the sum over the episodes is too large for a number; check the rewards, values and `action_logp` of the data, or use a weighted estimator (wis, pdwis)";

fn refuse<T>(estimator: Estimator, reason: String) -> Result<T> {
    Err(OfflineError::Estimator { estimator: estimator.name(), reason })
}

fn check(estimator: Estimator, episodes: &[EstimatedEpisode]) -> Result<()> {
    let refuse = |reason: String| refuse(estimator, reason);
    if episodes.is_empty() {
        return refuse("there are no episodes; record some".into());
    }
    for (number, episode) in episodes.iter().enumerate() {
        let steps = episode.rewards.len();
        let is_dr = estimator == Estimator::DoublyRobust;
        if estimator == Estimator::DirectMethod && episode.values.is_empty() {
            return refuse(format!("`values` of episode {number} has no numbers"));
        }
        let columns = [
            ("log_ratios", estimator.needs_ratios(), episode.log_ratios.len(), steps),
            ("values", is_dr, episode.values.len(), steps + 1),
            ("action_values", is_dr, episode.action_values.len(), steps),
        ];
        for (column, is_read, found, expected) in columns {
            if is_read && found != expected {
                return refuse(format!(
                    "`{column}` of episode {number} has {found} numbers instead of {expected}"
                ));
            }
        }
        let values =
            if is_dr { &episode.values[..] } else { episode.values.get(..1).unwrap_or(&[]) };
        let read = [
            ("rewards", estimator != Estimator::DirectMethod, &episode.rewards[..]),
            ("log_ratios", estimator.needs_ratios(), &episode.log_ratios),
            ("values", estimator.needs_values(), values),
            ("action_values", is_dr, &episode.action_values),
        ];
        for (column, is_read, numbers) in read {
            // An action that the policy never takes has the ratio 0.
            let is_valid =
                |x: &f64| x.is_finite() || column == "log_ratios" && *x == f64::NEG_INFINITY;
            if is_read && let Some(step) = numbers.iter().position(|x| !is_valid(x)) {
                return refuse(format!(
                    "`{column}` of episode {number} holds {} at step {step}; correct or leave out the episode",
                    numbers[step]
                ));
            }
        }
    }
    Ok(())
}

/// What an estimator adds up over episodes: a mean, or for each step a weighted mean.
enum Terms {
    /// The estimates of the episodes.
    Means(Vec<f64>),
    /// For each episode, the weighted reward of each step.
    Weighted(Vec<Vec<Weighted>>),
}

/// A discounted reward with its weight.
#[derive(Debug, Clone, Copy)]
struct Weighted {
    log_weight: f64,
    /// Relative to the largest weight of the step, so that none overflows.
    weight: f64,
    reward: f64,
}

impl Weighted {
    fn new(log_weight: f64, reward: f64) -> Self {
        Self { log_weight, weight: 0.0, reward }
    }
}

/// Returns a weighted mean, relative to the largest weight; NaN if all weights are 0.
fn weighted_mean(drawn: impl Iterator<Item = Weighted> + Clone) -> f64 {
    let mean = |weighted: &mut dyn Iterator<Item = (f64, f64)>| {
        let sums = weighted.fold((0.0, 0.0), |(weights, rewards), (weight, reward)| {
            (weights + weight, rewards + weight * reward)
        });
        (sums.0, sums.1 / sums.0)
    };
    let (weights, estimate) = mean(&mut drawn.clone().map(|of| (of.weight, of.reward)));
    // Without the episodes of the largest weights, the others may round to 0.
    if weights >= 1e-200 {
        return estimate;
    }
    let largest = drawn.clone().map(|of| of.log_weight).fold(f64::NEG_INFINITY, f64::max);
    match largest.is_finite() {
        true => mean(&mut drawn.map(|of| ((of.log_weight - largest).exp(), of.reward))).1,
        false => f64::NAN,
    }
}

impl Terms {
    /// Computes the terms of all episodes.
    ///
    /// # Errors
    /// [`OfflineError::Estimator`] if the weight of an episode overflows.
    fn of(estimator: Estimator, episodes: &[EstimatedEpisode], gamma: f64) -> Result<Self> {
        let discounted = |episode: &EstimatedEpisode| -> Vec<f64> {
            let rewards = episode.rewards.iter().enumerate();
            rewards.map(|(t, reward)| gamma.powi(t as i32) * reward).collect()
        };
        let log_weights = |episode: &EstimatedEpisode| {
            let mut sum = 0.0;
            episode
                .log_ratios
                .iter()
                .map(|ratio| {
                    sum += ratio;
                    sum
                })
                .collect::<Vec<_>>()
        };
        let total = |episode: &EstimatedEpisode| discounted(episode).iter().sum::<f64>();
        let last = |episode: &EstimatedEpisode| log_weights(episode).last().copied().unwrap_or(0.0);
        let each = |of: &dyn Fn(&EstimatedEpisode) -> f64| {
            let means: Vec<f64> = episodes.iter().map(of).collect();
            match means.iter().position(|mean| !mean.is_finite()) {
                Some(number) => refuse(
                    estimator,
                    format!(
                        "the weight of episode {number} is too large for a number: its actions are far more probable now than by the recorded `action_logp`; leave out the episode, or use a weighted estimator (wis, pdwis)"
                    ),
                ),
                None => Ok(Self::Means(means)),
            }
        };
        match estimator {
            Estimator::ImportanceSampling => each(&|episode| last(episode).exp() * total(episode)),
            Estimator::PerDecisionImportanceSampling => each(&|episode| {
                let weights = log_weights(episode).into_iter().map(f64::exp);
                weights.zip(discounted(episode)).map(|(weight, reward)| weight * reward).sum()
            }),
            Estimator::DirectMethod => each(&|episode| episode.values[0]),
            Estimator::DoublyRobust => each(&|episode| doubly_robust(episode, gamma)),
            Estimator::WeightedImportanceSampling => {
                let of =
                    |episode: &EstimatedEpisode| vec![Weighted::new(last(episode), total(episode))];
                Ok(Self::relative(episodes.iter().map(of).collect()))
            }
            Estimator::PerDecisionWeightedImportanceSampling => {
                let longest = episodes.iter().map(|episode| episode.rewards.len()).max();
                let of = |episode: &EstimatedEpisode| {
                    let (weights, rewards) = (log_weights(episode), discounted(episode));
                    let end = weights.last().copied().unwrap_or(0.0);
                    (0..longest.unwrap_or(0))
                        .map(|t| match rewards.get(t) {
                            Some(reward) => Weighted::new(weights[t], *reward),
                            None => Weighted::new(end, 0.0),
                        })
                        .collect()
                };
                Ok(Self::relative(episodes.iter().map(of).collect()))
            }
        }
    }

    fn relative(mut steps: Vec<Vec<Weighted>>) -> Self {
        let longest = steps.first().map_or(0, Vec::len);
        for t in 0..longest {
            let largest = steps.iter().map(|of| of[t].log_weight).fold(f64::NEG_INFINITY, f64::max);
            let shift = if largest.is_finite() { largest } else { 0.0 };
            steps.iter_mut().for_each(|of| of[t].weight = (of[t].log_weight - shift).exp());
        }
        Self::Weighted(steps)
    }

    /// Returns the estimate from all episodes.
    ///
    /// # Errors
    /// [`OfflineError::Estimator`] if it is not finite.
    fn of_all(&self, estimator: Estimator, count: usize) -> Result<f64> {
        let all: Vec<_> = (0..count).collect();
        let estimate = self.estimate(&all);
        match (estimate.is_finite(), self) {
            (true, _) => Ok(estimate),
            (false, Self::Weighted(_)) if estimate.is_nan() => refuse(
                estimator,
                "all weights are 0: the policy never takes the recorded actions; use data of a policy that is more alike, or the direct method".into(),
            ),
            _ => refuse(estimator, OVERFLOW.into()),
        }
    }

    /// Returns the estimate from some episodes; NaN if they have no weight.
    fn estimate(&self, episodes: &[usize]) -> f64 {
        match self {
            Self::Means(means) => {
                episodes.iter().map(|index| means[*index]).sum::<f64>() / episodes.len() as f64
            }
            Self::Weighted(steps) => {
                let longest = steps.first().map_or(0, Vec::len);
                let of_step =
                    |t: usize| weighted_mean(episodes.iter().map(|index| steps[*index][t]));
                (0..longest).map(of_step).sum()
            }
        }
    }
}

fn doubly_robust(episode: &EstimatedEpisode, gamma: f64) -> f64 {
    let steps = episode.rewards.len();
    let mut after = episode.values[steps];
    for t in (0..steps).rev() {
        let error = episode.rewards[t] + gamma * after - episode.action_values[t];
        after = episode.values[t] + episode.log_ratios[t].exp() * error;
    }
    after
}

#[cfg(test)]
mod tests;
