//! The project's chores. `cargo xtask --help` lists them.
//!
//! Commands are echoed to the standard error as they run. Reports go to the standard output.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people")]

mod apt;
mod audit;
mod book;
mod cargo;
mod chromium;
mod compare;
mod document;
mod error;
mod fuzz;
mod gpu_check;
#[cfg(test)]
mod layout;
mod learn;
mod machine;
mod mpi;
mod package;
mod process;
mod python;
mod statistics;
mod test;
mod vulkan;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};

/// Runs the project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Checks format, lints, documentation and tests: what every change must pass
    Test(test::Args),
    /// Trains the tuned configurations and learning examples over several seeds; writes docs/results.md and its plots
    Learn(learn::Args),
    /// Compares speed with other libraries on this machine; writes docs/compare.md
    Compare(compare::Args),
    /// Builds target/gpu-check/gpu-check, which scripts/gpu-check runs on a machine with a GPU
    GpuCheck(gpu_check::Args),
    /// Fuzzes the checkpoint readers with corrupted files for minutes (`test` does so for seconds)
    Fuzz(fuzz::Args),
    /// Checks dependencies (licenses, sources, vulnerabilities; see deny.toml), packages, and the interface
    Audit(audit::Args),
    /// Builds the book of docs into target/book, and checks its links
    Book(book::Args),
    /// Builds the Python package and tests it with pytest
    Python(package::Args),
    /// Builds the MPI engine and tests it with several processes, where MPI is installed
    Mpi(mpi::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a chore from the root of the workspace, regardless of the current directory.
fn run(chore: &Chore) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&root).map_err(Error::io(&root))?;
    match chore {
        Chore::Test(args) => test::run(args),
        Chore::Learn(args) => learn::run(args),
        Chore::Compare(args) => compare::run(args),
        Chore::GpuCheck(args) => gpu_check::run(args),
        Chore::Fuzz(args) => fuzz::run(args),
        Chore::Audit(args) => audit::run(args),
        Chore::Book(args) => book::run(args),
        Chore::Python(args) => package::run(args),
        Chore::Mpi(args) => mpi::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
