//! What a comparison is made of.

use super::peer::{Entry, Peer};

/// Work that our program and the peers' do alike.
#[derive(Debug)]
pub(super) struct Workload {
    /// The name on the command line; names of cases begin with it.
    pub(super) name: &'static str,
    /// The heading of its section.
    pub(super) title: &'static str,
    /// What everybody does, for the reader.
    pub(super) description: &'static str,
    pub(super) metric: Metric,
    /// Our program; it takes `--cases A,B --seconds S` and prints a measurement for each case.
    pub(super) example: &'static str,
    /// What all programs of the workload are told, ours too.
    pub(super) args: &'static [&'static str],
    /// How long each case runs, and with `--quick`.
    pub(super) seconds: [f64; 2],
    pub(super) cases: Vec<Case>,
    pub(super) peers: Vec<Entry>,
}

/// One line of a workload's table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The name in reports.
    pub(super) name: String,
    /// What programs call it.
    pub(super) key: String,
    /// What we want to reach, by peer.
    pub(super) goals: Vec<(Peer, Goal)>,
    /// Whether `--quick` measures it.
    pub(super) quick: bool,
}

/// What we want to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// So many times as good as the peer.
    Ratio(f64),
    /// A figure of our own that is not exceeded.
    AtMost(f64),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// Environment steps per second.
    EnvSteps,
    /// Rows per second.
    Rows,
    /// Microseconds per environment step.
    StepCost,
    /// Most memory held, in MB.
    Memory,
}

impl Metric {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::EnvSteps => "env steps/s",
            Self::Rows => "rows/s",
            Self::StepCost => "µs/env step",
            Self::Memory => "MB",
        }
    }

    /// How many times as good `ours` is.
    pub(super) fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Self::EnvSteps | Self::Rows => ours / peer,
            Self::StepCost | Self::Memory => peer / ours,
        }
    }
}

impl Workload {
    /// The cases that are measured, given the names that were asked for (none means all).
    pub(super) fn select(&self, names: &[String], quick: bool) -> Vec<&Case> {
        let asked =
            |case: &&Case| names.iter().any(|name| *name == self.name || *name == case.name);
        let by_default = |case: &&Case| names.is_empty() && (case.quick || !quick);
        self.cases.iter().filter(|case| asked(case) || by_default(case)).collect()
    }
}
