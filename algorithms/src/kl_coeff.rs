//! The adaptive weight of a penalty on the divergence from an older policy.

/// The weight of a KL penalty. It adapts to a target divergence (Schulman et al., 2017, section 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KlCoeff {
    value: f64,
    target: f64,
}

/// The range in which the weight adapts. Without a floor it would round to 0 after a thousand quiet
/// updates and never rise again.
const RANGE: [f64; 2] = [1e-6, 1e6];

impl KlCoeff {
    pub(crate) fn new(value: f64, target: f64) -> Self {
        Self { value, target }
    }

    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    pub(crate) fn set(&mut self, value: f64) {
        self.value = value;
    }

    /// Adapts to the divergence of an update. The weight does not leave [`RANGE`], unless it is outside
    /// already.
    pub(crate) fn adapt(&mut self, kl: f64) {
        let [floor, ceiling] = RANGE;
        if kl > 2.0 * self.target {
            self.value = (self.value * 1.5).min(ceiling.max(self.value));
        } else if kl < 0.5 * self.target {
            self.value = (self.value * 0.5).max(floor.min(self.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: f64, kl: f64, updates: usize) -> f64 {
        let mut coeff = KlCoeff::new(value, 0.01);
        (0..updates).for_each(|_| coeff.adapt(kl));
        coeff.value()
    }

    #[test]
    fn the_kl_coefficient_adapts_by_strict_inequalities() {
        for (kl, expected) in [(0.021, 0.3), (0.02, 0.2), (0.005, 0.2), (0.0049, 0.1)] {
            assert!((after(0.2, kl, 1) - expected).abs() < 1e-12, "{kl}");
        }
    }

    #[test]
    fn the_kl_coefficient_comes_back_after_any_number_of_quiet_or_loud_updates() {
        let quiet = after(0.2, 0.0, 5000);
        assert!(quiet > 0.0 && after(quiet, 1.0, 100) > 0.2, "{quiet}");
        let loud = after(0.2, 1.0, 5000);
        assert!(loud.is_finite() && after(loud, 0.0, 100) < 0.2, "{loud}");
        // An initial weight outside the range is the user's choice and stays there.
        assert_eq!([after(0.0, 0.0, 9), after(0.0, 1.0, 9)], [0.0, 0.0]);
        assert_eq!([after(1e-9, 0.0, 9), after(1e9, 1.0, 9)], [1e-9, 1e9]);
    }
}
