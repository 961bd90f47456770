//! Short text forms of numbers.

/// Magnitudes and their suffixes, largest first.
const SUFFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

/// Formats `value` with at most `digits` significant digits and a suffix for its magnitude: `12.3k`.
pub(super) fn humanize(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        // Adding zero turns -0 into 0.
        return (value + 0.0).to_string();
    }
    let digits = digits.max(1);
    // Rounded first: 999_999 is 1M, not 1000k.
    let rounded = round(value, digits);
    let magnitude = rounded.abs();
    if !(1e-3..1e15).contains(&magnitude) {
        return format!("{rounded:e}");
    }
    let (scale, suffix) =
        SUFFIXES.into_iter().find(|(scale, _)| magnitude >= *scale).unwrap_or((1.0, ""));
    let scaled = rounded / scale;
    let integer_digits = scaled.abs().log10().floor() as i32 + 1;
    let decimals = (digits as i32 - integer_digits).max(0) as usize;
    let text = format!("{scaled:.decimals$}");
    let short = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{suffix}")
}

/// Rounds `value` to `digits` significant digits.
fn round(value: f64, digits: usize) -> f64 {
    // The decimal formatter rounds exactly, which scaling by powers of ten does not.
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (475.25, "475"),
            (-0.01234, "-0.0123"),
            (0.5, "0.5"),
            (12_345.0, "12.3k"),
            (100_000.0, "100k"),
            (999_999.0, "1M"),
            (4_000_000.0, "4M"),
            (2.5e9, "2.5G"),
            (0.000_123_4, "1.23e-4"),
            (-1e20, "-1e20"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(humanize(value, 3), text);
        }
        assert_eq!(humanize(1_234_567.0, 4), "1.235M");
    }
}
