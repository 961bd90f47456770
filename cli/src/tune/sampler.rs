//! Choosing the settings of the next trial.

use rekindle::core::Generator;

use super::space::{Dimension, Kind, Space};
use crate::args::SamplerKind;

/// Candidates per dimension. The most promising candidate is used (Optuna's default).
const CANDIDATES: usize = 24;
/// Largest number of good trials (Optuna's default).
const MAX_GOOD: usize = 25;

/// A finished trial: the values of its dimensions, and the objective, which is to be large.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observed {
    pub(super) values: Vec<f64>,
    pub(super) objective: f64,
}

/// Returns the values of the next trial.
///
/// Random search draws from the whole space. The tree-structured Parzen estimator (Bergstra et al., 2011) draws from
/// the space for the first `startup` trials. After these, it takes the best tenth of the trials as good, estimates
/// the density of good and of other values for each dimension on its own, and takes the candidate that has the
/// largest ratio of the two.
pub(super) fn next(
    kind: SamplerKind,
    space: &Space,
    observed: &[Observed],
    startup: usize,
    rng: &mut Generator,
) -> Vec<f64> {
    let is_random = kind == SamplerKind::Random || observed.len() < startup.max(2);
    let mut ranked: Vec<&Observed> = observed.iter().collect();
    ranked.sort_by(|a, b| b.objective.total_cmp(&a.objective));
    let good = ranked.len().div_ceil(10).min(MAX_GOOD);
    let dimensions = space.0.iter().enumerate();
    dimensions
        .map(|(index, dimension)| match is_random {
            true => draw(dimension, rng),
            false => {
                let of = |trials: &[&Observed]| {
                    let values = trials.iter().filter_map(|trial| trial.values.get(index));
                    Density::new(dimension, values.copied())
                };
                let (good, other) = (of(&ranked[..good]), of(&ranked[good..]));
                best_candidate(&good, &other, rng)
            }
        })
        .collect()
}

/// Draws from the whole range of a dimension.
fn draw(dimension: &Dimension, rng: &mut Generator) -> f64 {
    match &dimension.kind {
        Kind::Choices(choices) => rng.integers(0, choices.len() as i64) as f64,
        range => from_unit(range, rng.random()),
    }
}

fn best_candidate(good: &Density<'_>, other: &Density<'_>, rng: &mut Generator) -> f64 {
    let mut best = (f64::NEG_INFINITY, 0.0);
    for _ in 0..CANDIDATES {
        let candidate = good.draw(rng);
        let score = good.log_density(candidate) - other.log_density(candidate);
        if score > best.0 {
            best = (score, candidate);
        }
    }
    good.value(best.1)
}

/// The position of a number in its range, from 0 to 1.
fn to_unit(kind: &Kind, value: f64) -> f64 {
    match *kind {
        Kind::Choices(_) => value,
        Kind::Range { low, high, log: true, .. } => (value / low).ln() / (high / low).ln(),
        Kind::Range { low, high, .. } => (value - low) / (high - low),
    }
}

/// The number at a position in a range.
fn from_unit(kind: &Kind, unit: f64) -> f64 {
    match *kind {
        Kind::Choices(_) => unit,
        Kind::Range { low, high, log, integer } => {
            let value = match log {
                true => low * (high / low).powf(unit),
                false => low + unit * (high - low),
            };
            let value = if integer { value.round() } else { value };
            value.clamp(low, high)
        }
    }
}

/// An estimated density of the values of a dimension.
enum Density<'a> {
    /// Probabilities of choices.
    Choices { weights: Vec<f64>, kind: &'a Kind },
    /// A mixture of normal distributions, cut off at 0 and 1: one at each value, and a wide one in the middle.
    Mixture { parts: Vec<(f64, f64)>, kind: &'a Kind },
}

impl<'a> Density<'a> {
    fn new(dimension: &'a Dimension, values: impl Iterator<Item = f64>) -> Self {
        let kind = &dimension.kind;
        if let Kind::Choices(choices) = kind {
            // Each choice counts as seen once more than it was.
            let mut weights = vec![1.0; choices.len()];
            for value in values {
                if let Some(weight) = weights.get_mut(value as usize) {
                    *weight += 1.0;
                }
            }
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total);
            return Self::Choices { weights, kind };
        }
        let mut centers: Vec<f64> = values.map(|value| to_unit(kind, value)).collect();
        centers.push(0.5);
        centers.sort_by(f64::total_cmp);
        // The width of a part is the distance to the farther neighbor, within bounds.
        let narrowest = 1.0 / (1.0 + centers.len() as f64).min(100.0);
        let at = |index: Option<usize>| index.and_then(|index| centers.get(index).copied());
        let parts = centers.iter().enumerate().map(|(index, &center)| {
            let before = center - at(index.checked_sub(1)).unwrap_or(0.0);
            let after = at(Some(index + 1)).unwrap_or(1.0) - center;
            let width = if center == 0.5 { 1.0 } else { before.max(after).clamp(narrowest, 1.0) };
            (center, width)
        });
        Self::Mixture { parts: parts.collect(), kind }
    }

    /// Draws an index of a choice, or a position in the range.
    fn draw(&self, rng: &mut Generator) -> f64 {
        match self {
            Self::Choices { weights, .. } => {
                let mut left = rng.random();
                let found = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                found.unwrap_or(weights.len().saturating_sub(1)) as f64
            }
            Self::Mixture { parts, .. } => {
                let (center, width) = parts[rng.integers(0, parts.len() as i64) as usize];
                // At least a third of a normal distribution around a point of the range is within the range.
                for _ in 0..100 {
                    let drawn = center + width * rng.standard_normal();
                    if (0.0..=1.0).contains(&drawn) {
                        return drawn;
                    }
                }
                center
            }
        }
    }

    /// Computes the logarithm of the density, up to a constant that all densities share.
    fn log_density(&self, at: f64) -> f64 {
        match self {
            Self::Choices { weights, .. } => {
                weights.get(at as usize).copied().unwrap_or_default().ln()
            }
            Self::Mixture { parts, .. } => {
                let density: f64 = parts
                    .iter()
                    .map(|(center, width)| {
                        let score = (at - center) / width;
                        let within =
                            normal_cdf((1.0 - center) / width) - normal_cdf(-center / width);
                        (-0.5 * score * score).exp() / (width * within)
                    })
                    .sum();
                (density / parts.len() as f64).ln()
            }
        }
    }

    fn value(&self, drawn: f64) -> f64 {
        match self {
            Self::Choices { kind, .. } | Self::Mixture { kind, .. } => from_unit(kind, drawn),
        }
    }
}

/// The distribution function of the standard normal distribution, to 1e-7 (Abramowitz and Stegun, 7.1.26).
fn normal_cdf(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .into_iter()
        .fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    let erf = 1.0 - polynomial * (-z * z).exp();
    0.5 * (1.0 + erf.copysign(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        let text = r#"
            "a" = { low = 1e-5, high = 1.0, log = true }
            "b" = ["x", "y", "z"]
            "c" = { low = -5, high = 5, integer = true }
        "#;
        Space::from_toml(text, "space").unwrap()
    }

    /// Largest, 0, at a = 1e-3, b = "z", c = 2.
    fn objective(values: &[f64]) -> f64 {
        let a = (values[0].log10() + 3.0).powi(2);
        -a - (if values[1] == 2.0 { 0.0 } else { 4.0 }) - 0.2 * (values[2] - 2.0).powi(2)
    }

    /// The best objective of a search of some trials.
    fn search(kind: SamplerKind, trials: usize, seed: u64) -> f64 {
        let (space, mut observed) = (space(), Vec::new());
        for trial in 0..trials {
            let mut rng = Generator::from_key(&[seed, trial as u64]);
            let values = next(kind, &space, &observed, 10, &mut rng);
            observed.push(Observed { objective: objective(&values), values });
        }
        observed.iter().map(|trial| trial.objective).fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn values_are_within_their_ranges() {
        let (space, mut observed) = (space(), Vec::new());
        for trial in 0..200 {
            let mut rng = Generator::from_seed(trial);
            let values = next(SamplerKind::Tpe, &space, &observed, 10, &mut rng);
            assert!((1e-5..=1.0).contains(&values[0]), "{values:?}");
            assert!([0.0, 1.0, 2.0].contains(&values[1]), "{values:?}");
            assert!((-5.0..=5.0).contains(&values[2]) && values[2].fract() == 0.0, "{values:?}");
            observed.push(Observed { objective: objective(&values), values });
        }
    }

    #[test]
    fn the_estimator_finds_better_settings_than_random_search() {
        let mean = |kind| (0..20).map(|seed| search(kind, 60, seed)).sum::<f64>() / 20.0;
        let (tpe, random) = (mean(SamplerKind::Tpe), mean(SamplerKind::Random));
        assert!(tpe > 0.5 * random, "{tpe} {random}");
    }

    #[test]
    fn the_distribution_function_is_that_of_the_normal_distribution() {
        for (x, expected) in
            [(0.0, 0.5), (1.0, 0.841_344_746), (-1.959_964, 0.025), (4.0, 0.999_968_33)]
        {
            assert!((normal_cdf(x) - expected).abs() < 2e-7, "{x}");
        }
    }
}
