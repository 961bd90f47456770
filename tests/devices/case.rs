//! One computation, and its comparison between two devices.

use burn::prelude::*;

use super::difference;

/// Results of a case on a device.
pub(crate) struct Computed {
    pub(crate) forward: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
}

/// A computation to compare between devices.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Largest allowed difference, relative to 1 + the absolute value.
    pub(crate) tolerance: f32,
    run: Box<dyn Fn(&Device) -> Computed>,
}

/// The largest differences between two devices.
pub(crate) struct Compared {
    /// Numbers that were compared.
    pub(crate) numbers: usize,
    pub(crate) forward: f32,
    pub(crate) gradient: f32,
    /// Whether the results are finite, gradients vary, and all differences are allowed.
    pub(crate) passes: bool,
}

impl Case {
    pub(super) fn new(
        name: impl Into<String>,
        tolerance: f32,
        run: impl Fn(&Device) -> Computed + 'static,
    ) -> Self {
        Self { name: name.into(), tolerance, run: Box::new(run) }
    }

    /// Computes the case on both devices.
    pub(crate) fn compare(&self, cpu: &Device, subject: &Device) -> Compared {
        let (expected, found) = ((self.run)(cpu), (self.run)(subject));
        let numbers = expected.forward.len() + expected.gradient.len();
        let forward = difference(&found.forward, &expected.forward);
        let gradient = difference(&found.gradient, &expected.gradient);
        let finite = expected.forward.iter().chain(&expected.gradient).all(|x| x.is_finite());
        let varied = expected.gradient.iter().any(|x| *x != 0.0) || expected.gradient.is_empty();
        // A comparison with NaN is false, so NaN fails.
        let allowed = forward <= self.tolerance && gradient <= self.tolerance;
        Compared { numbers, forward, gradient, passes: finite && varied && allowed }
    }
}
