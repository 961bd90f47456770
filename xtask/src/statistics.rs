//! Means and medians, and their formatting.

/// Returns the arithmetic mean, or NaN without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the sample standard deviation, or NaN for fewer than two values.
pub(crate) fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    if values.len() < 2 { f64::NAN } else { (squares / (values.len() - 1) as f64).sqrt() }
}

/// Median and range of several values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Summarizes values. All three numbers are NaN without values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(sorted.len() / 2));
        Self { median, min: at(0), max: at(last) }
    }

    /// Writes `median (min – max)`, each formatted by `format`.
    pub(crate) fn write(&self, format: impl Fn(f64) -> String) -> String {
        format!("{} ({} – {})", format(self.median), format(self.min), format(self.max))
    }
}

/// Writes `mean ± deviation`, each formatted by `format`; only the mean for one value, `–` for none.
pub(crate) fn mean_and_deviation(values: &[f64], format: impl Fn(f64) -> String) -> String {
    match values.len() {
        0 => "–".to_owned(),
        1 => format(mean(values)),
        _ => format!("{} ± {}", format(mean(values)), format(standard_deviation(values))),
    }
}

/// Writes a whole number with spaces between thousands: `102 400`.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let sign = if value.round() < 0.0 { "-" } else { "" };
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    format!("{sign}{}", groups.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation() {
        let tenths = |value| format!("{value:.1}");
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0, 4.0], tenths), "2.5 ± 1.3");
        assert_eq!(mean_and_deviation(&[7.0], tenths), "7.0");
        assert_eq!(mean_and_deviation(&[], tenths), "–");
    }

    #[test]
    fn the_median_does_not_depend_on_order() {
        let spread = Spread::of(&[9.0, 1.0, 4.0]);
        assert_eq!(spread, Spread { median: 4.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 9.0]).median, 3.0);
        assert!(Spread::of(&[]).median.is_nan());
        assert_eq!(spread.write(grouped), "4 (1 – 9)");
    }

    #[test]
    fn thousands_are_grouped() {
        let values = [0.0, 999.4, 1000.0, 102_400.0, -1_234_567.0].map(grouped);
        assert_eq!(values, ["0", "999", "1 000", "102 400", "-1 234 567"]);
    }
}
