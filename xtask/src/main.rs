//! The project's chores. `cargo xtask --help` tells what there is.
//!
//! Commands are echoed to the standard error as they run; reports go to the standard output.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people")]

mod audit;
mod cargo;
mod compare;
mod document;
mod error;
mod fuzz;
mod learn;
mod machine;
mod process;
mod statistics;
mod test;
mod vulkan;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Format, lints, documentation, tests: what must pass before a change goes in.
    Test,
    /// Trains the learning examples over several seeds; writes docs/results.md and its plots.
    Learn(learn::Args),
    /// Measures our speed against other libraries on this machine; writes docs/compare.md.
    Compare(compare::Args),
    /// Feeds broken files to what reads checkpoints; `test` does so, too, for a moment.
    Fuzz(fuzz::Args),
    /// Licences, sources and known vulnerabilities of all dependencies (see deny.toml).
    Audit(audit::Args),
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

/// Runs a chore from the root of the workspace, wherever it was called.
fn run(chore: &Chore) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&root).map_err(Error::io(&root))?;
    match chore {
        Chore::Test => test::run(),
        Chore::Learn(args) => learn::run(args),
        Chore::Compare(args) => compare::run(args),
        Chore::Fuzz(args) => fuzz::run(args),
        Chore::Audit(args) => audit::run(args),
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
