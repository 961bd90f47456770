//! `cargo xtask learn`: whether the algorithms learn, how fast, and how reliably over seeds.
//!
//! A task with a tuned configuration in `cli/configs` is trained by the program `rekindle`, and any other task by its
//! example. Tasks in Python environments train for a number of steps; `all` leaves them out. Tasks that learn from
//! recordings make these first.

mod budgets;
mod peer;
mod recorded;
mod recordings;
mod report;
mod seeds;
#[path = "../../examples/common/tasks.rs"]
mod tasks;
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::PossibleValuesParser;

use self::budgets::{BUDGETS, Budget};
use self::recorded::{Goal, RecordedTask};
use self::seeds::Seeds;
use self::tasks::{ALL as TASKS, CONTROLS, Task};
use self::training::{Program, Training};
use crate::cargo::{build_examples, build_rekindle};
use crate::error::{Error, Result};
use crate::{document, machine, process};

/// What to train, and how often.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Task to learn
    #[arg(default_value = ALL, value_parser = PossibleValuesParser::new(names()))]
    task: String,
    /// Seeds, one run after the other: `0..5` is 0 to 4, `3` is 3 alone
    #[arg(long, default_value = "0..5")]
    seeds: Seeds,
    /// Directory for the runs, relative to the workspace, with one directory per task and seed
    #[arg(long, default_value = "runs/learn")]
    out: PathBuf,
    /// Use the seeds that are complete in that directory, and train only the others
    #[arg(long)]
    resume: bool,
    /// Also train Stable-Baselines3 with the same settings, for tasks with a number of steps in environments of MuJoCo
    #[arg(long)]
    peer: bool,
}

/// The name of all tasks together.
const ALL: &str = "all";
/// The example that plots `metrics.jsonl` of several runs.
const PLOT_EXAMPLE: &str = "plot_runs";
const DOCS: &str = "docs";
const CONFIGS: &str = "cli/configs";
const PAGE: &str = "results.md";
const INTRODUCTION: &str = "# What the examples learn\n\n\
    Training stops when the metric of the task reaches the threshold: the mean return of the last 100\n\
    training episodes, summed over agents, unless stated otherwise. The policy is then saved and plays\n\
    100 greedy episodes on seeds that training has not seen. Wall time is that of the whole program,\n\
    evaluation included. Seeds run one after the other.\n\
    `cargo xtask learn` writes this page.\n";

fn names() -> impl Iterator<Item = &'static str> {
    let budgets = BUDGETS.iter().map(|budget| budget.name);
    let recorded = recorded::TASKS.iter().map(|task| task.name);
    TASKS.iter().map(|task| task.name).chain(recorded).chain(budgets).chain([ALL])
}

/// Trains all seeds of the chosen tasks, and writes a section and a plot for each task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let budget = BUDGETS.iter().find(|budget| budget.name == args.task);
    if args.peer && !budget.is_some_and(|budget| budget.has_peer) {
        return Err(Error::NoPeer { task: args.task.clone() });
    }
    if let Some(budget) = budget {
        return learn_with_budget(budget, args);
    }
    let mut unsolved = Vec::new();
    for task in TASKS.iter().filter(|task| args.task == ALL || args.task == task.name) {
        if !learn(task, args)? {
            unsolved.push(task.name.to_owned());
        }
    }
    for task in recorded::TASKS.iter().filter(|task| args.task == ALL || args.task == task.name) {
        if !learn_from_recordings(task, args)? {
            unsolved.push(task.name.to_owned());
        }
    }
    if unsolved.is_empty() { Ok(()) } else { Err(Error::NotSolved { tasks: unsolved }) }
}

/// Trains all seeds of a task with a number of steps.
fn learn_with_budget(budget: &Budget, args: &Args) -> Result<()> {
    let [plot] = build_examples([PLOT_EXAMPLE])?;
    let program = build_rekindle()?;
    let runs = budgets::train(budget, &program, &args.seeds, &args.out, args.resume)?;
    let peers = match args.peer {
        true => peer::train(budget, &args.seeds, &args.out, args.resume)?,
        false => Vec::new(),
    };
    let docs = Path::new(DOCS);
    process::run(
        Command::new(plot)
            .arg("--title")
            .arg(format!("{} on {}", budget.algorithm, budget.env))
            .args(["--metric", TASKS[0].metric])
            .arg("--out")
            .arg(docs.join(budget.figure()))
            .args(runs.iter().map(|run| &run.folder)),
    )?;
    let made = format!(
        "Made on {} with {} by `cargo xtask learn {} --seeds {}{}`.",
        machine::today(),
        machine::describe(),
        budget.name,
        args.seeds,
        if args.peer { " --peer" } else { "" },
    );
    let body = budgets::section(budget, &runs, &peers, &made);
    println!("\n{body}");
    document::write_section(&docs.join(PAGE), INTRODUCTION, &budget.section(), &body)
}

/// Learns all seeds of a task from recordings. Returns whether they show what they must.
fn learn_from_recordings(task: &RecordedTask, args: &Args) -> Result<bool> {
    let program = build_rekindle()?;
    let example = match task.goal {
        Goal::Improves { example, .. } => Some(build_examples([example])?),
        _ => None,
    };
    let example = example.as_ref().map(|[path]| path.as_path());
    let runs = task.learn(&program, example, &args.seeds, &args.out, args.resume)?;
    let made = format!(
        "Made on {} with {} by `cargo xtask learn {} --seeds {}`.",
        machine::today(),
        machine::describe(),
        task.name,
        args.seeds,
    );
    let body = task.describe(&runs, &made);
    println!("\n{body}");
    document::write_section(&Path::new(DOCS).join(PAGE), INTRODUCTION, &task.section(), &body)?;
    Ok(task.is_reached(&runs))
}

/// Trains all seeds of a task. Returns whether all of them reached the threshold, which those of a control need not.
fn learn(task: &Task, args: &Args) -> Result<bool> {
    let config = Path::new(CONFIGS).join(format!("{}.toml", task.name));
    let (program, plot, source) = if config.is_file() {
        let [plot] = build_examples([PLOT_EXAMPLE])?;
        let source = config.display().to_string();
        (Program::Rekindle { program: build_rekindle()?, config }, plot, source)
    } else {
        let [example, plot] = build_examples([task.example, PLOT_EXAMPLE])?;
        (Program::Example(example), plot, format!("examples/{}.rs", task.example))
    };
    let folder = |seed: u64| args.out.join(task.name).join(format!("seed-{seed}"));
    let trainings = args
        .seeds
        .iter()
        .map(|seed| Training::run(task, &program, seed, &folder(seed), args.resume))
        .collect::<Result<Vec<_>>>()?;

    let docs = Path::new(DOCS);
    fs::create_dir_all(docs).map_err(Error::io(docs))?;
    let figure = format!("{}.svg", task.name_of_run());
    process::run(
        Command::new(plot)
            .arg("--title")
            .arg(format!("{} on {}", task.algorithm, task.env))
            .arg(format!("--threshold={}", task.threshold))
            .args(["--metric", task.metric])
            .arg("--out")
            .arg(docs.join(&figure))
            .args(trainings.iter().map(|training| &training.folder)),
    )?;
    let made = format!(
        "Made on {} with {} by `cargo xtask learn {} --seeds {}`.",
        machine::today(),
        machine::describe(),
        task.name,
        args.seeds,
    );
    let body = report::section(task, &source, &trainings, &figure, &made);
    println!("\n{body}");
    document::write_section(&docs.join(PAGE), INTRODUCTION, task.section, &body)?;
    let reached = trainings.iter().all(|training| training.steps_to_threshold.is_some());
    Ok(reached || CONTROLS.contains(&task.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(example: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        fs::read_to_string(path.join(format!("{example}.rs"))).unwrap()
    }

    #[test]
    fn every_task_is_learned_by_an_example_that_reads_this_table() {
        for task in TASKS {
            let source = source_of(task.example);
            // Examples of one file repeat their line of the table.
            let repeats = source.contains(&format!(": f64 = {:.1};", task.threshold))
                && source.contains(&format!(": u64 = {}_000;", task.max_steps / 1000));
            let reads = match task.choice {
                Some(choice) => {
                    source.contains("Chosen::parse(") && source.contains("&tasks::") && {
                        let shared = source_of("common/environments");
                        source.contains(choice) || shared.contains(choice) || choice == "cartpole"
                    }
                }
                None => source.contains("common::learn(&tasks::"),
            };
            assert!(reads || repeats, "{}", task.name);
        }
    }

    #[test]
    fn tuned_configurations_have_the_limits_of_their_tasks() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/configs");
        let mut compared = 0;
        for entry in fs::read_dir(configs).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy();
            let Some(task) = TASKS.iter().find(|task| task.name == name) else { continue };
            let text = fs::read_to_string(&path).unwrap().replace('_', "");
            let metric = (task.metric != TASKS[0].metric)
                .then(|| format!("stop_metric = \"{}\"", task.metric));
            let limits = [
                Some(format!("max_env_steps = {}", task.max_steps)),
                Some(format!("stop_value = {:?}", task.threshold)),
                metric,
            ];
            for limit in limits.into_iter().flatten() {
                assert!(text.contains(&limit.replace('_', "")), "{name}: no `{limit}`");
            }
            compared += 1;
        }
        assert!(compared > 30, "{compared}");
    }

    #[test]
    fn names_headings_and_titles_are_unique() {
        for (index, task) in TASKS.iter().enumerate() {
            for other in &TASKS[..index] {
                assert_ne!(task.name, other.name);
                assert_ne!(task.section, other.section, "sections of docs/results.md");
                let title = |task: &Task| (task.algorithm, task.env);
                assert_ne!(title(task), title(other), "titles of plots");
            }
        }
    }
}
