//! Checks and measurements of a device, for a machine that has one and little time.
//!
//! `gpu-check all` runs the others as processes of their own, one after the other, each with a time limit. It
//! writes every result to `results.jsonl` as it comes, and `summary.md` after each part. `scripts/gpu-check` calls it,
//! and `cargo xtask gpu-check` builds it.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]
#![allow(clippy::print_stdout, reason = "programs report on the standard output")]

mod all;
mod compare;
#[path = "../../../../tests/devices/comparison.rs"]
mod comparison;
mod launches;
mod learn;
mod on_device;
mod peaks;
mod plan;
mod report;
mod results;
mod sac;
#[path = "../../../../examples/common/settings.rs"]
mod settings;
mod update;

use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};
use rekindle::prelude::*;

/// Checks and measures a device.
#[derive(Parser)]
struct Cli {
    /// Device: `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cuda", global = true)]
    device: DeviceSpec,
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    All(all::Args),
    Compare(compare::Args),
    Learn(learn::Args),
    Peaks(peaks::Args),
    Rollouts(on_device::Args),
    Update(update::Args),
    Sac(sac::Args),
    Launches(launches::Args),
}

static SUBJECT: OnceLock<DeviceSpec> = OnceLock::new();

/// The device of the command line.
fn subject_spec() -> DeviceSpec {
    SUBJECT.get().copied().unwrap_or_default()
}

fn main() -> Result<ExitCode, MainError> {
    let Cli { device, program } = Cli::parse();
    SUBJECT.get_or_init(|| device);
    let passes = match program {
        Program::All(args) => all::run(&args)?,
        Program::Compare(args) => compare::run(&args)?,
        Program::Learn(args) => learn::run(&args)?,
        Program::Peaks(args) => peaks::run(&args).map(|()| true)?,
        Program::Rollouts(args) => on_device::run(&args).map(|()| true)?,
        Program::Update(args) => update::run(&args).map(|()| true)?,
        Program::Sac(args) => sac::run(&args).map(|()| true)?,
        Program::Launches(args) => launches::run(&args).map(|()| true)?,
    };
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
