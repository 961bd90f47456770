//! Rekindle's programs in `cargo xtask compare`, one per subcommand.
//!
//! One program, because link-time optimization takes minutes per program.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "programs report on the standard output")]

mod a2c;
mod acting;
mod asynchronous;
mod mlp;
mod network;
mod off_policy;
mod offline;
mod plot_scaling;
mod ppo;
mod python;
mod replay;
mod update;

use clap::{Parser, Subcommand};
use rekindle::prelude::*;

// Not documentation, which would replace that of the programs.
#[derive(clap::Args)]
struct Timing {
    /// Seconds to measure each case
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Measures rekindle.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    Ppo(ppo::Args),
    A2c(a2c::Args),
    Asynchronous(asynchronous::Args),
    OffPolicy(off_policy::Args),
    Offline(offline::Args),
    Replay(replay::Args),
    Acting(acting::Args),
    Update(update::Args),
    Mlp(mlp::Args),
    Network(network::Args),
    PythonEnvironments(python::StepArgs),
    PythonPpo(python::PpoArgs),
    PlotScaling(plot_scaling::Args),
}

fn main() -> Result<(), MainError> {
    match Cli::parse().program {
        Program::Ppo(args) => ppo::run(&args)?,
        Program::A2c(args) => a2c::run(&args)?,
        Program::Asynchronous(args) => asynchronous::run(&args)?,
        Program::OffPolicy(args) => off_policy::run(&args)?,
        Program::Offline(args) => offline::run(&args)?,
        Program::Replay(args) => replay::run(&args)?,
        Program::Acting(args) => acting::run(&args)?,
        Program::Update(args) => update::run(&args)?,
        Program::Mlp(args) => mlp::run(&args)?,
        Program::Network(args) => network::run(&args)?,
        Program::PythonEnvironments(args) => python::step(&args)?,
        Program::PythonPpo(args) => python::ppo(&args)?,
        Program::PlotScaling(args) => plot_scaling::run(&args)?,
    }
    Ok(())
}
