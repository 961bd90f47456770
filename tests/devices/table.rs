//! The table of differences: every encoder, head, distribution and loss, forward and gradient.

use std::fmt::Write as _;
use std::path::Path;

use burn::prelude::*;

use crate::{cases, cpu, difference, subject, subject_spec};

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
    pub(crate) run: Box<dyn Fn(&Device) -> Computed>,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        tolerance: f32,
        run: impl Fn(&Device) -> Computed + 'static,
    ) -> Self {
        Self { name: name.into(), tolerance, run: Box::new(run) }
    }
}

#[test]
fn everything_computes_the_same_numbers() {
    let (cpu, subject) = (cpu(), subject());
    let mut table = format!(
        "Largest differences between `{}` and `cpu`, relative to 1 + the size of the number.\n\n\
         | what | numbers | forward | gradient | allowed |\n|---|---|---|---|---|\n",
        subject_spec()
    );
    let mut failed = Vec::new();
    for case in cases::all() {
        let (expected, found) = ((case.run)(&cpu), (case.run)(&subject));
        let numbers = expected.forward.len() + expected.gradient.len();
        let forward = difference(&found.forward, &expected.forward);
        let gradient = difference(&found.gradient, &expected.gradient);
        let finite = expected.forward.iter().chain(&expected.gradient).all(|x| x.is_finite());
        let varied = expected.gradient.iter().any(|x| *x != 0.0) || expected.gradient.is_empty();
        let Case { name, tolerance, .. } = case;
        writeln!(
            table,
            "| {name} | {numbers} | {forward:.1e} | {gradient:.1e} | {tolerance:.0e} |"
        )
        .unwrap();
        // A comparison with NaN is false, so NaN fails.
        if !(finite && varied && forward <= tolerance && gradient <= tolerance) {
            failed.push(name);
        }
    }
    println!("{table}");
    let name = format!("parity-{}.md", subject_spec().to_string().replace(':', "-"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, table).unwrap();
    println!("written to {}", path.display());
    assert!(failed.is_empty(), "beyond what is allowed: {failed:?}");
}
