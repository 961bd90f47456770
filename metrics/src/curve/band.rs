//! The mean and range of several runs.

use super::Run;

/// Grid points of a band; a plot cannot resolve more.
const POINTS: usize = 256;

/// The mean, minimum and maximum of several runs over the range of x that all of them cover.
#[derive(Debug, PartialEq)]
pub(super) struct Band {
    pub(super) mean: Vec<(f64, f64)>,
    pub(super) min: Vec<(f64, f64)>,
    pub(super) max: Vec<(f64, f64)>,
}

impl Band {
    /// Computes the band. Returns `None` for fewer than two runs and for runs without a common range.
    pub(super) fn of(runs: &[Run]) -> Option<Self> {
        let runs: Vec<&[(f64, f64)]> =
            runs.iter().map(|run| run.points.as_slice()).filter(|run| !run.is_empty()).collect();
        let start = runs.iter().filter_map(|run| run.first()).map(|p| p.0).reduce(f64::max)?;
        let end = runs.iter().filter_map(|run| run.last()).map(|p| p.0).reduce(f64::min)?;
        if runs.len() < 2 || start >= end {
            return None;
        }
        let mut band = Self { mean: Vec::new(), min: Vec::new(), max: Vec::new() };
        for index in 0..POINTS {
            let fraction = index as f64 / (POINTS - 1) as f64;
            // This form hits both ends exactly, and so never leaves the range of a run.
            let x = (1.0 - fraction) * start + fraction * end;
            let values: Vec<f64> = runs.iter().filter_map(|run| interpolate(run, x)).collect();
            band.mean.push((x, values.iter().sum::<f64>() / values.len() as f64));
            band.min.push((x, values.iter().copied().fold(f64::INFINITY, f64::min)));
            band.max.push((x, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
        }
        Some(band)
    }

    /// Returns the outline, along the maximum and back along the minimum.
    pub(super) fn outline(&self) -> Vec<(f64, f64)> {
        self.max.iter().chain(self.min.iter().rev()).copied().collect()
    }
}

/// Returns the value at `x` on the straight lines between sorted points. Beyond the ends it is constant.
fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = points.partition_point(|point| point.0 <= x);
    match (next.checked_sub(1).and_then(|before| points.get(before)), points.get(next)) {
        // `next` lies strictly to the right of x and `before` does not, so they differ.
        (Some(a), Some(b)) => Some(a.1 + (b.1 - a.1) * ((x - a.0) / (b.0 - a.0))),
        (Some(end), None) | (None, Some(end)) => Some(end.1),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(points: &[(f64, f64)]) -> Run {
        Run { label: String::new(), points: points.to_vec() }
    }

    #[test]
    fn runs_on_different_grids_are_averaged_where_they_overlap() {
        let band = Band::of(&[
            run(&[(0.0, 0.0), (10.0, 10.0)]),
            run(&[(2.0, 6.0), (4.0, 8.0), (12.0, 16.0)]),
        ])
        .unwrap();
        assert_eq!((band.mean[0], *band.mean.last().unwrap()), ((2.0, 4.0), (10.0, 12.0)));
        assert_eq!((band.min[0], band.max[0]), ((2.0, 2.0), (2.0, 6.0)));
        assert_eq!(band.outline().len(), 2 * POINTS);
    }

    #[test]
    fn interpolation_is_linear_and_takes_steps_at_equal_x() {
        let points = [(0.0, 0.0), (1.0, 2.0), (1.0, 4.0), (3.0, 8.0)];
        for (x, y) in [(0.5, 1.0), (1.0, 4.0), (2.0, 6.0), (3.0, 8.0), (9.0, 8.0), (-1.0, 0.0)] {
            assert_eq!(interpolate(&points, x), Some(y), "at {x}");
        }
        assert_eq!(interpolate(&[], 0.0), None);
    }

    #[test]
    fn there_is_no_band_without_a_common_range() {
        assert_eq!(Band::of(&[run(&[(0.0, 1.0), (1.0, 1.0)])]), None);
        assert_eq!(
            Band::of(&[run(&[(0.0, 1.0), (1.0, 1.0)]), run(&[(2.0, 1.0), (3.0, 1.0)])]),
            None
        );
        assert_eq!(Band::of(&[run(&[]), run(&[])]), None);
    }
}
