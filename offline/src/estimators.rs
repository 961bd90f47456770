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
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Estimator {
    /// Ordinary importance sampling; RLlib's `ImportanceSampling`.
    ImportanceSampling,
    /// Weighted importance sampling; RLlib's `WeightedImportanceSampling`.
    WeightedImportanceSampling,
    /// Importance sampling of each reward.
    PerDecisionImportanceSampling,
    /// Weighted importance sampling of each reward. An episode that has ended keeps its last weight, with rewards 0.
    PerDecisionWeightedImportanceSampling,
    /// The mean of the estimated values of first observations; RLlib's `DirectMethod`.
    DirectMethod,
    /// Estimated values, corrected by importance sampling; RLlib's `DoublyRobust`.
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

    /// Returns the short name, for metrics.
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
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    fn episode(ratios: [f64; 2], rewards: [f64; 2]) -> EstimatedEpisode {
        EstimatedEpisode {
            rewards: rewards.to_vec(),
            log_ratios: ratios.map(f64::ln).to_vec(),
            ..EstimatedEpisode::default()
        }
    }

    fn two() -> Vec<EstimatedEpisode> {
        vec![episode([0.5, 2.0], [1.0, 2.0]), episode([1.5, 0.8], [0.0, 3.0])]
    }

    #[test]
    fn estimates_equal_the_reference_figures() {
        let of = |estimator| estimate(estimator, &two(), 0.9).unwrap();
        close(of(Estimator::ImportanceSampling), 3.02);
        close(of(Estimator::WeightedImportanceSampling), 2.745_455);
        close(of(Estimator::PerDecisionImportanceSampling), 2.77);
        close(of(Estimator::PerDecisionWeightedImportanceSampling), 2.540_909);
    }

    #[test]
    fn doubly_robust_estimates_need_only_one_right_part() {
        // By hand: DR₁ = 2 + 2·(2 + 0 − 1) = 4, DR₀ = 1 + 0.5·(1 + 0.9·4 − 0.5) = 3.05.
        let mut first = episode([0.5, 2.0], [1.0, 2.0]);
        (first.values, first.action_values) = (vec![1.0, 2.0, 0.0], vec![0.5, 1.0]);
        let of = |estimator, episode: &EstimatedEpisode| {
            estimate(estimator, std::slice::from_ref(episode), 0.9).unwrap()
        };
        close(of(Estimator::DoublyRobust, &first), 3.05);
        close(of(Estimator::DirectMethod, &first), 1.0);
        // Without values it is importance sampling of each reward, and with exact ones of the policy that acted the
        // return itself.
        (first.values, first.action_values) = (vec![0.0; 3], vec![0.0; 2]);
        close(
            of(Estimator::DoublyRobust, &first),
            of(Estimator::PerDecisionImportanceSampling, &first),
        );
        first.log_ratios = vec![0.0; 2];
        (first.values, first.action_values) = (vec![9.0, 7.0, 0.0], vec![9.0, 7.0]);
        close(of(Estimator::DoublyRobust, &first), 2.8);
        // The value after a truncated episode counts.
        first.values[2] = 10.0;
        close(of(Estimator::DoublyRobust, &first), 2.8 + 8.1);
    }

    #[test]
    fn all_estimators_of_the_policy_that_acted_are_the_mean_return() {
        let mut episodes = vec![episode([1.0; 2], [1.0, 2.0]), episode([1.0; 2], [0.0, 3.0])];
        episodes.push(EstimatedEpisode {
            rewards: vec![4.0],
            log_ratios: vec![0.0],
            ..EstimatedEpisode::default()
        });
        let mean = (2.8 + 2.7 + 4.0) / 3.0;
        for estimator in Estimator::ALL.into_iter().filter(|estimator| !estimator.needs_values()) {
            close(estimate(estimator, &episodes, 0.9).unwrap(), mean);
        }
    }

    #[test]
    fn weights_of_long_episodes_do_not_overflow() {
        let long = |ratio: f64, reward: f64| EstimatedEpisode {
            rewards: vec![reward; 1000],
            log_ratios: vec![ratio; 1000],
            ..EstimatedEpisode::default()
        };
        let episodes = [long(2.0, 1.0), long(1.0, 5.0)];
        let found = estimate(Estimator::WeightedImportanceSampling, &episodes, 1.0).unwrap();
        close(found, 1000.0);
    }

    #[test]
    fn draws_without_the_largest_weights_count_the_others() {
        // The weight of one episode exceeds the others by more than a number holds, and a third of the draws lacks it.
        let mut episodes: Vec<_> = (0..40).map(|_| episode([0.5, 0.5], [3.0, 0.0])).collect();
        episodes.push(episode([1.0, 1.0], [7.0, 0.0]));
        episodes[40].log_ratios = vec![0.0, 2000.0];
        let found = estimate_with_interval(
            Estimator::WeightedImportanceSampling,
            &episodes,
            1.0,
            0.9,
            200,
            &mut Generator::from_seed(0),
        );
        let found = found.unwrap();
        close(found.value, 7.0);
        close(found.low, 3.0);
        close(found.high, 7.0);
    }

    #[test]
    fn estimates_that_are_not_finite_are_refused_by_estimator_and_episode() {
        let mut episodes = two();
        episodes[1].log_ratios[0] = 1e30;
        let message = |estimator, episodes: &[EstimatedEpisode]| {
            estimate(estimator, episodes, 0.9).unwrap_err().to_string()
        };
        for estimator in [Estimator::ImportanceSampling, Estimator::PerDecisionImportanceSampling] {
            let found = message(estimator, &episodes);
            let expected = format!(
                "the estimator `{}` cannot estimate: the weight of episode 1 is too large",
                estimator.name()
            );
            assert!(found.starts_with(&expected), "{found}");
        }
        let mut robust = episodes.clone();
        for episode in &mut robust {
            (episode.values, episode.action_values) = (vec![0.0; 3], vec![0.0; 2]);
        }
        robust[1].rewards[0] = 1.0;
        assert!(message(Estimator::DoublyRobust, &robust).contains("the weight of episode 1"));
        // Relative to the largest weight, all others are 0.
        for estimator in [
            Estimator::WeightedImportanceSampling,
            Estimator::PerDecisionWeightedImportanceSampling,
        ] {
            close(estimate(estimator, &episodes, 0.9).unwrap(), 2.7);
        }
        for (number, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
            let mut invalid = two();
            invalid[1].log_ratios[1] = number;
            let found = message(Estimator::WeightedImportanceSampling, &invalid);
            let expected = format!("`log_ratios` of episode 1 holds {shown} at step 1");
            assert!(found.contains(&expected), "{found}");
            invalid[0].rewards[0] = number;
            let found = message(Estimator::ImportanceSampling, &invalid);
            assert!(found.contains("`rewards` of episode 0 holds"), "{found}");
        }
        // An action that the policy never takes.
        let mut never = two();
        never[0].log_ratios[1] = f64::NEG_INFINITY;
        close(estimate(Estimator::WeightedImportanceSampling, &never, 0.9).unwrap(), 2.7);
        never[1].log_ratios[0] = f64::NEG_INFINITY;
        let found = message(Estimator::WeightedImportanceSampling, &never);
        assert!(found.contains("`wis` cannot estimate: all weights are 0"), "{found}");
        close(estimate(Estimator::ImportanceSampling, &never, 0.9).unwrap(), 0.0);
    }

    #[test]
    fn intervals_cover_the_mean_about_as_often_as_they_say() {
        let mut rng = Generator::from_seed(0);
        let covered = (0..200).filter(|_| {
            let episodes: Vec<_> =
                (0..40).map(|_| episode([1.0; 2], [rng.standard_normal(), 0.0])).collect();
            let mut draws = Generator::from_seed(rng.next_u64());
            let found = estimate_with_interval(
                Estimator::ImportanceSampling,
                &episodes,
                0.9,
                0.9,
                200,
                &mut draws,
            );
            let found = found.unwrap();
            assert!(found.low <= found.value && found.value <= found.high);
            found.low <= 0.0 && 0.0 <= found.high
        });
        let covered = covered.count();
        assert!((160..=195).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn missing_columns_are_refused_by_name() {
        let message = |estimator, episodes: &[EstimatedEpisode]| {
            estimate(estimator, episodes, 0.9).unwrap_err().to_string()
        };
        assert!(message(Estimator::ImportanceSampling, &[]).contains("no episodes"));
        let mut without = two();
        without[1].log_ratios.clear();
        let found = message(Estimator::WeightedImportanceSampling, &without);
        assert!(found.contains("`log_ratios` of episode 1 has 0 numbers instead of 2"), "{found}");
        let found = message(Estimator::DoublyRobust, &two());
        assert!(found.contains("`values` of episode 0 has 0 numbers instead of 3"), "{found}");
        let found = message(Estimator::DirectMethod, &two());
        assert!(found.contains("`values` of episode 0 has no numbers"), "{found}");
    }
}
