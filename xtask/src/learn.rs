//! `cargo xtask learn`: do the examples learn, how fast, and how reliably over seeds?

mod report;
mod seeds;
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::PossibleValuesParser;

use self::seeds::Seeds;
use self::training::Training;
use crate::cargo::build_examples;
use crate::error::{Error, Result};
use crate::{document, machine, process};

/// What to train.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The environment to learn.
    #[arg(default_value = ALL, value_parser = PossibleValuesParser::new(names()))]
    task: String,
    /// Seeds, one run after the other: `0..5` is 0, 1, 2, 3 and 4; `3` is 3 alone.
    #[arg(long, default_value = "0..5")]
    seeds: Seeds,
    /// The folder for the runs, relative to the workspace: a folder per task and seed.
    #[arg(long, default_value = "runs/learn")]
    out: PathBuf,
}

/// An environment that an example learns.
struct Task {
    /// The name on the command line.
    name: &'static str,
    /// What the example trains and where.
    algorithm: &'static str,
    env: &'static str,
    /// It takes `--seed` and `--out`, writes `metrics.jsonl` and prints its greedy return.
    example: &'static str,
    /// What is measured in training, by its key in `metrics.jsonl`.
    metric: &'static str,
    /// The value that counts as learnt.
    threshold: f64,
    /// When it gives up, in environment steps.
    max_steps: u64,
}

/// One line per learning figure of the project.
const TASKS: [Task; 12] = [
    Task {
        name: "cartpole",
        algorithm: "PPO",
        env: "CartPole-v1",
        example: "cartpole_ppo",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 300_000,
    },
    Task {
        name: "pendulum",
        algorithm: "PPO",
        env: "Pendulum-v1",
        example: "pendulum_ppo",
        metric: EPISODE_RETURN,
        threshold: -300.0,
        max_steps: 400_000,
    },
    Task {
        name: "multi-agent-cartpole",
        algorithm: "Independent PPO",
        env: "MultiAgentCartPole-v1, 2 agents",
        example: "multi_agent_cartpole_ppo",
        metric: EPISODE_RETURN,
        threshold: 900.0,
        max_steps: 400_000,
    },
    Task {
        name: "shared-encoder",
        algorithm: "PPO with a shared encoder",
        env: "MultiAgentCartPole-v1, 2 agents, shared encoder",
        example: "shared_encoder_cartpole_ppo",
        metric: EPISODE_RETURN,
        threshold: 900.0,
        max_steps: 400_000,
    },
    Task {
        name: "stateless-cartpole",
        algorithm: "PPO with an LSTM",
        env: "StatelessCartPole-v1",
        example: "stateless_cartpole_lstm_ppo",
        metric: EPISODE_RETURN,
        threshold: 350.0,
        max_steps: 300_000,
    },
    Task {
        name: "multi-agent-pendulum",
        algorithm: "Independent PPO",
        env: "MultiAgentPendulum-v1, 2 agents",
        example: "multi_agent_pendulum_ppo",
        metric: EPISODE_RETURN,
        threshold: -600.0,
        max_steps: 400_000,
    },
    Task {
        name: "catch",
        algorithm: "PPO with a CNN",
        env: "Catch-v0",
        example: "catch_ppo",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 200_000,
    },
    Task {
        name: "breakout",
        algorithm: "PPO with a CNN",
        env: "Breakout-v0",
        example: "breakout_ppo",
        metric: EPISODE_RETURN,
        threshold: 10.0,
        max_steps: 3_000_000,
    },
    Task {
        name: "nested-cartpole",
        algorithm: "PPO",
        env: "NestedCartPole-v1",
        example: "nested_cartpole_ppo",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 300_000,
    },
    Task {
        name: "crashing-cartpole",
        algorithm: "PPO",
        env: "CrashingCartPole-v1",
        example: "crashing_cartpole_ppo",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 300_000,
    },
    Task {
        name: "truncated-cartpole",
        algorithm: "PPO, trained on 50 steps, evaluated on 500",
        env: "CartPole-v1, truncated",
        example: "truncated_cartpole_ppo",
        metric: "evaluation/env_runners/episode_return_mean",
        threshold: 490.0,
        max_steps: 500_000,
    },
    Task {
        name: "rock-paper-scissors",
        algorithm: "PPO with an LSTM against a heuristic",
        env: "RockPaperScissors-v0",
        example: "rock_paper_scissors_ppo",
        metric: "env_runners/module_episode_returns_mean/learned",
        threshold: 7.0,
        max_steps: 200_000,
    },
];

/// The mean return of the last 100 training episodes, summed over agents.
const EPISODE_RETURN: &str = "env_runners/episode_return_mean";
const ALL: &str = "all";
/// Draws `metrics.jsonl` of several runs as one SVG.
const PLOT_EXAMPLE: &str = "plot_runs";
const DOCS: &str = "docs";
const PAGE: &str = "results.md";
const INTRODUCTION: &str = "# What the examples learn\n\n\
    Training stops when the mean return of the last 100 training episodes (summed over agents, if\n\
    nothing else is said) reaches the threshold. The policy is then saved and plays 100 greedy\n\
    episodes on seeds that training has not seen. Wall time is that of the whole program, evaluation included; seeds run one after\n\
    the other with nothing beside them. `cargo xtask learn` makes this page.\n";

fn names() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|task| task.name).chain([ALL])
}

/// Trains all seeds of the chosen tasks and writes a section and a plot for each.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut unsolved = Vec::new();
    for task in TASKS.iter().filter(|task| args.task == ALL || args.task == task.name) {
        if !learn(task, args)? {
            unsolved.push(task.name.to_owned());
        }
    }
    if unsolved.is_empty() { Ok(()) } else { Err(Error::NotSolved { tasks: unsolved }) }
}

/// Whether all seeds reached the threshold.
fn learn(task: &Task, args: &Args) -> Result<bool> {
    let [example, plot] = build_examples([task.example, PLOT_EXAMPLE])?;
    let folder = |seed: u64| args.out.join(task.name).join(format!("seed-{seed}"));
    let trainings = args
        .seeds
        .iter()
        .map(|seed| Training::run(task, &example, seed, &folder(seed)))
        .collect::<Result<Vec<_>>>()?;

    let docs = Path::new(DOCS);
    fs::create_dir_all(docs).map_err(Error::io(docs))?;
    let figure = format!("{}.svg", task.example);
    process::run(
        Command::new(plot)
            .arg("--title")
            .arg(format!("{} on {}", task.algorithm, task.env))
            .arg(format!("--threshold={}", task.threshold))
            .args(["--metric", task.metric])
            .arg("--out")
            .arg(docs.join(&figure))
            .args(args.seeds.iter().map(folder)),
    )?;
    let made = format!(
        "Made on {} with {} by `cargo xtask learn {} --seeds {}`.",
        machine::today(),
        machine::describe(),
        task.name,
        args.seeds,
    );
    let body = report::section(task, &trainings, &figure, &made);
    println!("\n{body}");
    document::write_section(&docs.join(PAGE), INTRODUCTION, task.env, &body)?;
    Ok(trainings.iter().all(|training| training.steps_to_threshold.is_some()))
}
