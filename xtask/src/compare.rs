//! `cargo xtask compare`: how fast are we beside other libraries, on one machine and in one run?
//!
//! A peer and our program take turns (A B A B …) after a warm-up that finds the peer's best
//! setting. Medians count, and the ratio within each pair. A figure from another machine or another
//! run means nothing.

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
use crate::cargo::build_examples;
use crate::error::{Error, Result};
use crate::{document, machine};

/// What to compare with, and how carefully.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One pair of shorter runs without a warm-up, fewer cases: a first look in less than five
    /// minutes; docs/compare.md stays.
    #[arg(long)]
    quick: bool,
    /// Print one JSON object per case instead of tables.
    #[arg(long)]
    json: bool,
    /// Pairs that count [default: 5, with --quick 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: Option<u32>,
    /// Workloads or cases of them, with commas between, such as `acting,mlp-train-64-128,learning`;
    /// their sections of docs/compare.md then hold those cases alone [default: all].
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// The libraries to compare with; they are installed on first use.
    #[arg(
        long, value_enum, value_delimiter = ',',
        default_values_t = [Peer::Sb3, Peer::Rllib, Peer::Sbx, Peer::Torch, Peer::Thrust],
    )]
    peers: Vec<Peer>,
}

impl Args {
    fn pairs(&self) -> u32 {
        self.pairs.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Refuses names that no workload has.
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

    /// Whether final returns are compared, which a quick look leaves out unless asked for.
    fn compares_learning(&self) -> bool {
        let asked = self.workloads.iter().any(|name| name == learning::NAME);
        let all = self.workloads.is_empty() && !self.quick;
        self.peers.contains(&Peer::Sb3) && (asked || all)
    }

    /// Shows a section, and keeps it unless the look was quick.
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
    A peer and rekindle take turns on one machine with nothing beside them, each peer with the\n\
    number of threads or env runners that was best in a warm-up, rekindle as it comes. Start-up is\n\
    excluded. Figures are medians (minimum – maximum). The ratio is taken within each pair: how many\n\
    times as fast rekindle is, or how many times as lean. Only ratios mean something elsewhere.\n\
    `cargo xtask compare` makes this page.\n";

/// Measures every workload that was asked for.
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

/// Measures a workload beside each of the chosen peers.
fn compare(workload: &Workload, args: &Args, python: &Environment) -> Result<Vec<Comparison>> {
    let cases = workload.select(&args.workloads, args.quick);
    let chosen = workload.peers.iter().filter(|entry| args.peers.contains(&entry.peer));
    let entries: Vec<&Entry> = chosen.collect();
    if cases.is_empty() || entries.is_empty() {
        return Ok(Vec::new());
    }
    let [example] = build_examples([workload.example])?;
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
        let mut ours = Command::new(&example);
        prepare(&mut ours);
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
    // Tables list the peers of a case together.
    let position = |name: &str| cases.iter().position(|case: &&Case| case.name == name);
    comparisons.sort_by_key(|comparison| position(&comparison.case));
    Ok(comparisons)
}

/// A command to which arguments may be added.
fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}
