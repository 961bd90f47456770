//! `cargo xtask compare`: how fast are we beside other libraries, on one machine and in one run?
//!
//! A peer and our program take turns (A B A B …). The first pair warms caches up and is dropped;
//! of the others, medians and the ratio within each pair count. A figure from another machine or
//! another run means nothing.

mod measurement;
mod python;
mod report;
mod workloads;

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use self::measurement::{Comparison, alternate, measure};
use self::python::Environment;
use self::workloads::{WORKLOADS, Workload};
use crate::cargo::build_examples;
use crate::error::Result;
use crate::{document, machine};

/// What to compare with, and how carefully.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Two pairs of shorter runs, for a first look in a few minutes; docs/compare.md stays.
    #[arg(long)]
    quick: bool,
    /// Print one JSON object per workload instead of tables.
    #[arg(long)]
    json: bool,
    /// Pairs that count, after the one that is dropped [default: 5, with --quick 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: Option<u32>,
    /// The libraries to compare with; they are installed on first use.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Peer::Sb3, Peer::Rllib])]
    peers: Vec<Peer>,
}

impl Args {
    fn pairs(&self) -> u32 {
        self.pairs.unwrap_or(if self.quick { 2 } else { 5 })
    }
}

/// A library to compare with.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Peer {
    /// Stable-Baselines3.
    Sb3,
    /// Ray RLlib.
    Rllib,
}

const PAGE: &str = "docs/compare.md";
const INTRODUCTION: &str = "# Speed beside other libraries\n\n\
    A peer and rekindle take turns on one machine with nothing beside them; the first pair of runs\n\
    is dropped. Figures are environment steps per second of training, start-up and warm-up\n\
    excluded: median (minimum – maximum). The ratio is taken within each pair. Only ratios mean\n\
    something elsewhere. `cargo xtask compare` makes this page.\n";

/// Measures every workload.
pub(crate) fn run(args: &Args) -> Result<()> {
    let python = Environment::prepare(&args.peers)?;
    for workload in WORKLOADS {
        let comparisons = compare(workload, args, &python)?;
        let made = format!(
            "Made on {} with {} by `cargo xtask compare`, {} pairs.",
            machine::today(),
            machine::describe(),
            args.pairs(),
        );
        let body = report::section(workload, &comparisons, &made);
        if args.json {
            println!("{}", report::json(workload, &comparisons));
        } else {
            println!("\n{body}");
        }
        if !args.quick {
            document::write_section(Path::new(PAGE), INTRODUCTION, workload.title, &body)?;
        }
    }
    Ok(())
}

/// Measures a workload against each variant of the chosen peers.
fn compare(workload: &Workload, args: &Args, python: &Environment) -> Result<Vec<Comparison>> {
    let [example] = build_examples([workload.example])?;
    let steps = if args.quick { workload.quick_steps } else { workload.steps }.to_string();
    let variants = workload.peers.iter().filter(|variant| args.peers.contains(&variant.peer));
    variants
        .map(|variant| {
            let mut theirs = python.script(variant.script);
            theirs.args(["--steps", &steps, "--threads", &variant.threads.to_string()]);
            let mut ours = Command::new(&example);
            ours.args(["--workload", workload.name, "--steps", &steps]);
            alternate(
                args.pairs(),
                || measure(workload, &mut theirs),
                || measure(workload, &mut ours),
            )
        })
        .collect()
}
