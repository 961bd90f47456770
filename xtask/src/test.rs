//! `cargo xtask test`: the checks that every change must pass.
//!
//! The steps share one profile and one target directory, so that no crate is built twice. Two things would
//! build crates again: other `RUSTFLAGS`, and other features. Features of dependencies depend on whether
//! development dependencies count. They do for lints and tests, and for `cargo doc` only if it documents
//! an example, which is why it documents one.
//!
//! Checks that need other features, and so build Burn again, run with `--all` only.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::cargo;
use crate::error::Result;
use crate::{book, chromium, mpi, package, process, python, vulkan};

/// Checks to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also run the checks that take long: GPU backends, benchmarks, model checking, more fuzzing
    #[arg(long)]
    all: bool,
}

/// A call of Cargo.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    environment: Option<(&'static str, &'static str)>,
    /// Whether the step takes long and runs with `--all` only.
    slow: bool,
    needs: Option<Need>,
}

/// What a step needs beside the toolchain. Without it the step is left out.
#[derive(Clone, Copy)]
enum Need {
    Vulkan,
    /// Python with Gymnasium.
    Python,
    Chromium,
    /// Python for the package `rekindle`, which has an environment of its own.
    Package,
    MdBook,
    /// Open MPI, and libclang for its bindings.
    Mpi,
}

impl Need {
    /// Provides it to the command, or returns what is missing.
    fn provide(self, command: &mut Command) -> std::result::Result<(), String> {
        match self {
            Self::Vulkan if !vulkan::provide() => Err("no Vulkan driver".to_owned()),
            Self::Chromium if !chromium::is_installed() => {
                Err("no Chromium, or no Python".to_owned())
            }
            Self::Package if package::provide().is_none() => {
                Err(format!("no Python from {}", package::OLDEST_PYTHON))
            }
            Self::Python => {
                let python = python::provide_for_tests().ok_or("no Python with Gymnasium")?;
                command.env("REKINDLE_PYTHON", python);
                Ok(())
            }
            Self::MdBook if !book::is_installed() => {
                Err("no mdBook; `cargo xtask book` installs it".to_owned())
            }
            Self::Mpi => mpi::provide(),
            Self::Vulkan | Self::Chromium | Self::Package | Self::MdBook => Ok(()),
        }
    }
}

impl Step {
    const fn new(name: &'static str, args: &'static [&'static str]) -> Self {
        Self { name, args, environment: None, slow: false, needs: None }
    }

    const fn with_env(mut self, key: &'static str, value: &'static str) -> Self {
        self.environment = Some((key, value));
        self
    }

    const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    const fn needs(mut self, need: Need) -> Self {
        self.needs = Some(need);
        self
    }

    fn command(&self) -> Command {
        let mut command = cargo(self.args);
        command.envs(self.environment);
        command
    }
}

/// All steps, the cheapest first.
const STEPS: [Step; 19] = [
    Step::new("format", &["fmt", "--all", "--check"]),
    Step::new("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step::new(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--lib", "--bins", "--example", "cartpole_ppo"],
    )
    .with_env("RUSTDOCFLAGS", "-D warnings -D missing_docs"),
    // Without the benchmarks, whose dependencies are not built otherwise.
    Step::new(
        "tests",
        &["test", "--workspace", "--exclude", "rekindle-benches", "--tests", "--no-fail-fast"],
    ),
    Step::new(
        "documentation tests",
        &["test", "--workspace", "--exclude", "rekindle-benches", "--doc", "--no-fail-fast"],
    ),
    // These tests are ignored otherwise. The program that writes golden checkpoints is also ignored, and must not run
    // here.
    Step::new(
        "tests with Python",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "python",
            "--test",
            "it",
            "--test",
            "cli",
            "--test",
            "onnx_export",
            "--",
            "--ignored",
            "--skip",
            "golden",
            "--skip",
            "chromium",
        ],
    )
    .needs(Need::Python),
    Step::new(
        "page in Chromium",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "cli",
            "--",
            "--ignored",
            "chromium",
        ],
    )
    .needs(Need::Chromium),
    Step::new("Python package", &["run", "--quiet", "--package", "xtask", "--", "python"])
        .slow()
        .needs(Need::Package),
    Step::new("several processes with MPI", &["run", "--quiet", "--package", "xtask", "--", "mpi"])
        .slow()
        .needs(Need::Mpi),
    Step::new("book", &["run", "--quiet", "--package", "xtask", "--", "book"])
        .slow()
        .needs(Need::MdBook),
    Step::new(
        "tests of benchmarks",
        &["test", "--package", "rekindle-benches", "--tests", "--benches"],
    )
    .slow(),
    Step::new("more fuzzing", &["test", "--package", "rekindle-checkpoint", "--test", "fuzz"])
        .with_env("REKINDLE_FUZZ_INPUTS", "200000")
        .slow(),
    Step::new(
        "more fuzzing of recorded data",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "files",
            "--",
            "mutated",
        ],
    )
    .with_env("REKINDLE_FUZZ_INPUTS", "10000")
    .slow(),
    Step::new(
        "50 killed recordings",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "it",
            "--",
            "everything_before_the_last_file_is_read_after_a_kill",
        ],
    )
    .with_env("REKINDLE_TEST_KILLS", "50")
    .slow(),
    Step::new(
        "memory of a large replay buffer",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "memory",
            "--",
            "--ignored",
        ],
    )
    .slow(),
    Step::new(
        "20 killed runs",
        &[
            "test",
            "--workspace",
            "--exclude",
            "rekindle-benches",
            "--test",
            "it",
            "--",
            "a_killed_run_goes_on_from_its_last_checkpoint",
        ],
    )
    .with_env("REKINDLE_TEST_KILLS", "20")
    .slow(),
    Step::new("model checking", &["test", "--package", "rekindle-parallel", "--lib"])
        .with_env("RUSTFLAGS", "--cfg loom")
        .slow(),
    // Compiles CUDA, which cannot run without a GPU.
    Step::new(
        "lints with GPUs",
        &["clippy", "--workspace", "--lib", "--features", "cuda,wgpu", "--", "-D", "warnings"],
    )
    .slow(),
    Step::new(
        "numbers on WGPU",
        &["test", "--workspace", "--features", "wgpu", "--test", "devices", "--", "--nocapture"],
    )
    .slow()
    .needs(Need::Vulkan),
];

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    provide("fmt", "rustfmt")?;
    provide("clippy", "clippy")?;
    let (mut times, mut left_out) = (Vec::new(), Vec::new());
    for step in &STEPS {
        if step.slow && !args.all {
            left_out.push(format!("{} (--all)", step.name));
            continue;
        }
        let mut command = step.command();
        if let Some(Err(missing)) = step.needs.map(|need| need.provide(&mut command)) {
            left_out.push(format!("{} ({missing})", step.name));
            continue;
        }
        let start = Instant::now();
        process::run(&mut command)?;
        times.push((step.name, start.elapsed()));
    }
    print!("\n{}", table(&times, &left_out));
    Ok(())
}

/// Installs the toolchain component behind a Cargo command if it is missing.
fn provide(subcommand: &str, component: &str) -> Result<()> {
    if process::succeeds(&mut cargo(&[subcommand, "--version"])) {
        return Ok(());
    }
    eprintln!("`cargo {subcommand}` is missing; rustup installs the component {component}");
    process::run(Command::new("rustup").args(["component", "add", component]))
}

/// The time of each step, their sum, and the steps that were left out.
fn table(times: &[(&str, Duration)], left_out: &[String]) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    let rows = times.iter().copied().chain([("all passed", total)]);
    let mut text: String =
        rows.map(|(name, time)| format!("{name:<20} {:>7.1} s\n", time.as_secs_f64())).collect();
    if !left_out.is_empty() {
        text += &format!("left out: {}\n", left_out.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_with_the_sum_and_the_steps_left_out() {
        let times = [("format", Duration::from_millis(1500)), ("tests", Duration::from_secs(60))];
        let expected = "format                   1.5 s\n\
                        tests                   60.0 s\n\
                        all passed              61.5 s\n";
        assert_eq!(table(&times, &[]), expected);
        let left_out = ["lints with GPUs (--all)", "numbers on WGPU (--all)"].map(str::to_owned);
        let last = "left out: lints with GPUs (--all), numbers on WGPU (--all)\n";
        assert_eq!(table(&times, &left_out), format!("{expected}{last}"));
    }

    #[test]
    fn steps_that_build_dependencies_again_are_slow() {
        let rebuilds = |step: &&Step| {
            let flags = step.environment.is_some_and(|(key, _)| key == "RUSTFLAGS");
            flags || step.args.contains(&"--features")
        };
        for step in STEPS.iter().filter(rebuilds) {
            assert!(step.slow, "{}", step.name);
        }
    }
}
