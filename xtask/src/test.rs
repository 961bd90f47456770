//! `cargo xtask test`: what must pass before a change goes in.
//!
//! All steps share one profile and one target folder, and nothing is built twice but what the last
//! two need. Two things would: other `RUSTFLAGS` in one of the steps, and other features. Features
//! of dependencies depend on whether development dependencies count; in lints and tests they do, in
//! `cargo doc` only if it documents examples, too. Without `--examples` it would check Burn a second
//! time. The last two steps have other features on purpose: they are about other devices.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::cargo;
use crate::error::Result;
use crate::{process, vulkan};

/// A call of Cargo.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    environment: Option<(&'static str, &'static str)>,
    needs_vulkan: bool,
}

impl Step {
    const fn new(name: &'static str, args: &'static [&'static str]) -> Self {
        Self { name, args, environment: None, needs_vulkan: false }
    }

    const fn with_env(mut self, key: &'static str, value: &'static str) -> Self {
        self.environment = Some((key, value));
        self
    }

    const fn with_vulkan(mut self) -> Self {
        self.needs_vulkan = true;
        self
    }

    fn command(&self) -> Command {
        let mut command = cargo(self.args);
        command.envs(self.environment);
        command
    }
}

/// The cheap ones first.
const STEPS: [Step; 7] = [
    Step::new("format", &["fmt", "--all", "--check"]),
    Step::new("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Step::new(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--lib", "--bins", "--examples"],
    )
    .with_env("RUSTDOCFLAGS", "-D warnings -D missing_docs"),
    Step::new("tests", &["test", "--workspace", "--tests", "--no-fail-fast"]),
    Step::new("documentation tests", &["test", "--workspace", "--doc", "--no-fail-fast"]),
    // Also that they compile, of which CUDA has nothing else to show here.
    Step::new(
        "lints with GPUs",
        &["clippy", "--workspace", "--lib", "--features", "cuda,wgpu", "--", "-D", "warnings"],
    ),
    Step::new(
        "numbers on WGPU",
        &["test", "--workspace", "--features", "wgpu", "--test", "devices", "--", "--nocapture"],
    )
    .with_vulkan(),
];

/// Runs the steps in order, up to the first that fails.
pub(crate) fn run() -> Result<()> {
    provide("fmt", "rustfmt")?;
    provide("clippy", "clippy")?;
    let mut times = Vec::new();
    for step in &STEPS {
        if step.needs_vulkan && !vulkan::provide() {
            eprintln!("left out: {}", step.name);
            continue;
        }
        let start = Instant::now();
        process::run(&mut step.command())?;
        times.push((step.name, start.elapsed()));
    }
    print!("\n{}", table(&times));
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

/// How long each step took.
fn table(times: &[(&str, Duration)]) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    let rows = times.iter().copied().chain([("all passed", total)]);
    rows.map(|(name, time)| format!("{name:<20} {:>7.1} s\n", time.as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_with_the_sum() {
        let times = [("format", Duration::from_millis(1500)), ("tests", Duration::from_secs(60))];
        let expected = "format                   1.5 s\n\
                        tests                   60.0 s\n\
                        all passed              61.5 s\n";
        assert_eq!(table(&times), expected);
    }

    #[test]
    fn only_rustdoc_gets_flags() {
        for step in STEPS.iter().filter(|step| step.environment.is_some()) {
            assert_eq!(step.args.first(), Some(&"doc"));
            assert_eq!(step.environment.map(|(key, _)| key), Some("RUSTDOCFLAGS"));
        }
    }
}
