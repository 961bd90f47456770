//! `cargo xtask compare`: speed compared with other libraries, on one machine and in one run.
//!
//! A peer and rekindle take turns (A B A B …) after a warm-up that finds the peer's best setting. The
//! results are medians, and the median of the ratios within each pair. Figures of different machines or
//! different runs cannot be compared.

mod learning;
mod measurement;
mod peer;
mod python;
mod report;
mod rust;
mod scaling;
mod turns;
mod workload;
mod workloads;

use std::path::Path;
use std::process::Command;

use self::learning::Learning;
use self::measurement::measure;
use self::peer::{Entry, Peer, Setting};
use self::python::Environment;
use self::turns::{Comparison, Turns};
use self::workload::{Case, Workload};
use self::workloads::workloads;
use crate::cargo::build_measure;
use crate::error::{Error, Result};
use crate::{document, machine};

/// Workloads, peers and number of repetitions.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run fewer, shorter cases: one pair each, no warm-up, under five minutes; does not write
    /// docs/compare.md
    #[arg(long)]
    quick: bool,
    /// Print one JSON object per case instead of tables
    #[arg(long)]
    json: bool,
    /// Pairs of runs per case [default: 5, or 1 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: Option<u32>,
    /// Workloads or cases, separated by commas, such as `acting,mlp-train-64-128,learning`;
    /// overwrites their sections of docs/compare.md with only these cases [default: all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Libraries to compare with, installed on first use; PufferLib only if it is named
    #[arg(
        long, value_enum, value_delimiter = ',',
        default_values_t = Peer::by_default(),
    )]
    peers: Vec<Peer>,
}

impl Args {
    fn pairs(&self) -> u32 {
        self.pairs.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Returns an error for unknown workloads.
    fn check(&self, workloads: &[Workload]) -> Result<()> {
        let known = |name: &String| {
            name == learning::NAME
                || workloads
                    .iter()
                    .any(|workload| !workload.select(std::slice::from_ref(name), false).is_empty())
        };
        let Some(name) = self.workloads.iter().find(|name| !known(name)) else { return Ok(()) };
        let known: Vec<_> =
            workloads.iter().map(|workload| workload.name).chain([learning::NAME]).collect();
        Err(Error::UnknownWorkload { name: name.clone(), known: known.join(", ") })
    }

    /// Returns whether to compare final returns. `--quick` leaves them out unless they are named.
    fn compares_learning(&self) -> bool {
        let asked = self.workloads.iter().any(|name| name == learning::NAME);
        let all = self.workloads.is_empty() && !self.quick;
        self.peers.contains(&Peer::Sb3) && (asked || all)
    }

    /// Prints a section, and writes it to the page unless `--quick` is set.
    fn publish(&self, title: &str, body: &str, json: &[String]) -> Result<()> {
        if self.json {
            json.iter().for_each(|line| println!("{line}"));
        } else {
            println!("\n## {title}\n\n{body}");
        }
        if self.quick {
            return Ok(());
        }
        document::write_section(&Path::new(DOCS).join(PAGE), INTRODUCTION, title, body)
    }
}

const DOCS: &str = "docs";
const PAGE: &str = "compare.md";
const INTRODUCTION: &str = "# Speed beside other libraries\n\n\
    A peer and rekindle take turns on one otherwise idle machine. Each peer uses the number of threads\n\
    or env runners that was best in a warm-up; rekindle uses its defaults. Start-up is excluded. Figures\n\
    are medians (minimum – maximum). The ratio is taken within each pair: rekindle's speed divided by the\n\
    peer's, or the peer's memory divided by rekindle's. Only ratios carry over to other machines.\n\
    `cargo xtask compare` writes this page.\n";

/// Measures the chosen workloads.
pub(crate) fn run(args: &Args) -> Result<()> {
    let workloads = workloads();
    args.check(&workloads)?;
    let python = Environment::prepare(&args.peers)?;
    let mut command = "cargo xtask compare".to_owned();
    if !args.workloads.is_empty() {
        command += &format!(" --workloads {}", args.workloads.join(","));
    }
    let (date, machine) = (machine::today(), machine::describe());
    let made = format!("Made on {date} with {machine} by `{command}`; pairs: {}.", args.pairs());
    for workload in &workloads {
        let comparisons = compare(workload, args, &python)?;
        if comparisons.is_empty() {
            continue;
        }
        let mut body = report::section(workload, &comparisons, &made);
        if workload.name == "scaling" && !args.quick {
            scaling::plot(&comparisons, Path::new(DOCS))?;
            body += &format!("\n![{}]({})\n", workload.title, scaling::FIGURE);
        }
        args.publish(workload.title, &body, &report::json(&comparisons))?;
    }
    if args.compares_learning() {
        let learning = Learning::run(&python)?;
        args.publish(learning::TITLE, &learning.section(&made), &[learning.json()])?;
    }
    Ok(())
}

/// Measures one workload in turns with each of the chosen peers.
fn compare(workload: &Workload, args: &Args, python: &Environment) -> Result<Vec<Comparison>> {
    let cases = workload.select(&args.workloads, args.quick);
    let chosen = workload.peers.iter().filter(|entry| args.peers.contains(&entry.peer));
    let entries: Vec<&Entry> = chosen.collect();
    if cases.is_empty() || entries.is_empty() {
        return Ok(Vec::new());
    }
    let measure_program = build_measure()?;
    let keys: Vec<&str> = cases.iter().map(|case| case.key.as_str()).collect();
    let seconds = workload.seconds[usize::from(args.quick)].to_string();
    let prepare = |command: &mut Command| {
        command.args(workload.args);
        command.args(["--cases", &keys.join(","), "--seconds", &seconds]);
    };
    let mut comparisons = Vec::new();
    for entry in entries {
        let mut theirs = entry.command(python)?;
        prepare(&mut theirs);
        let mut ours = Command::new(&measure_program);
        prepare(ours.arg(workload.program));
        ours.env("REKINDLE_PYTHON", python.interpreter());
        let turns = Turns {
            peer: entry.peer,
            metric: workload.metric,
            cases: &cases,
            settings: entry.settings,
            pairs: args.pairs(),
            warm_up: !args.quick,
        };
        comparisons.extend(turns.alternate(
            |setting| {
                let mut command = copy(&theirs);
                measure(command.args(setting.args), workload.metric, &keys)
            },
            || measure(&mut ours, workload.metric, &keys),
        )?);
    }
    // Tables group the peers of a case.
    let position = |name: &str| cases.iter().position(|case: &&Case| case.name == name);
    comparisons.sort_by_key(|comparison| position(&comparison.case));
    Ok(comparisons)
}

/// Copies program and arguments of a command.
fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}
