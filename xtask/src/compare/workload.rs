//! Workloads, cases, goals and metrics.

use super::peer::{Entry, Peer};

/// Work that rekindle and its peers do alike.
#[derive(Debug)]
pub(super) struct Workload {
    /// The name on the command line; names of cases begin with it.
    pub(super) name: &'static str,
    /// The heading of its section.
    pub(super) title: &'static str,
    /// Description of the work, for the report.
    pub(super) description: &'static str,
    pub(super) metric: Metric,
    /// Subcommand of `measure`. It takes `--cases A,B --seconds S` and prints a measurement per case.
    pub(super) program: &'static str,
    /// Further arguments of all programs of the workload.
    pub(super) args: &'static [&'static str],
    /// Seconds per case, without and with `--quick`.
    pub(super) seconds: [f64; 2],
    pub(super) cases: Vec<Case>,
    pub(super) peers: Vec<Entry>,
}

/// One line of a workload's table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Name in reports.
    pub(super) name: String,
    /// Name on the command line of programs.
    pub(super) key: String,
    /// Goals, by peer.
    pub(super) goals: Vec<(Peer, Goal)>,
    /// Whether `--quick` includes it.
    pub(super) quick: bool,
}

/// A goal of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Smallest factor by which rekindle is better than the peer.
    Ratio(f64),
    /// Largest value of rekindle's own figure.
    AtMost(f64),
}

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// Environment steps per second.
    EnvSteps,
    /// Rows per second.
    Rows,
    /// Microseconds per environment step.
    StepCost,
    /// Microseconds per step of a vector.
    VectorStepCost,
    /// Peak memory in MB.
    Memory,
}

impl Metric {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::EnvSteps => "env steps/s",
            Self::Rows => "rows/s",
            Self::StepCost => "µs/env step",
            Self::VectorStepCost => "µs/vector step",
            Self::Memory => "MB",
        }
    }

    /// Returns the factor by which `ours` is better.
    pub(super) fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Self::EnvSteps | Self::Rows => ours / peer,
            Self::StepCost | Self::VectorStepCost | Self::Memory => peer / ours,
        }
    }
}

impl Workload {
    /// Returns the cases to measure for the given names. No names means all cases.
    pub(super) fn select(&self, names: &[String], quick: bool) -> Vec<&Case> {
        let asked =
            |case: &&Case| names.iter().any(|name| *name == self.name || *name == case.name);
        let by_default = |case: &&Case| names.is_empty() && (case.quick || !quick);
        self.cases.iter().filter(|case| asked(case) || by_default(case)).collect()
    }
}
