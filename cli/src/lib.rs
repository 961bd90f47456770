//! The program `rekindle`: training, resuming, evaluating, inspecting and plotting runs from the command line.
//!
//! A custom program offers the same commands with its own environments, modules, catalogs and algorithms:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use rekindle::env::classic_control::CartPole;
//! use rekindle::prelude::*;
//!
//! fn main() -> ExitCode {
//!     rekindle_cli::run(|| {
//!         let short = EnvSpec::new("Lab/ShortCartPole-v0", CartPole::new);
//!         register(short.with_max_episode_steps(100))?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the command failed: a file, a device, an environment, a checkpoint |
//! | 2 | the command line or a setting is wrong, or no algorithm can be built from the settings; nothing was done |
//! | 130 | interrupted by Ctrl-C or a signal to terminate; the state of training was saved |
#![forbid(unsafe_code)]
// They panic if nobody reads what they print. Use `output::say` and `output::tell`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod config;
mod configs;
pub mod engine;
mod error;
mod evaluate;
mod export;
mod inspect;
mod interrupt;
mod lines;
mod list;
mod output;
mod play;
mod plot;
mod progress;
mod resume;
mod run_path;
mod train;
mod training_loop;
mod tune;
mod view;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Cli, Command};
use crate::error::{CliError, Result};
use crate::output::tell;

pub use crate::error::BoxError;

/// Runs the program with the arguments of the process. `register` is called first. It registers custom environments
/// (`register`), modules (`register_module`), catalogs, connectors and algorithms (`register_algorithm`).
///
/// Returns the [exit code](crate#exit-codes).
pub fn run(register: impl FnOnce() -> std::result::Result<(), BoxError>) -> ExitCode {
    run_with(std::env::args_os(), register)
}

/// Runs the program with other arguments. The first argument is the name of the program.
pub fn run_with(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    register: impl FnOnce() -> std::result::Result<(), BoxError>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, and mistakes go to standard error. A closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    show_warnings();
    let outcome = register().map_err(CliError::Register).and_then(|()| dispatch(cli.command));
    match outcome.and_then(|()| output::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if let Some(message) = error.message() {
                tell!("error: {message}");
            }
            ExitCode::from(code)
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => train::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Config(args) => config::run(&args),
        Command::List(args) => list::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::View(args) => view::run(&args),
        Command::Play(args) => play::run(&args),
        Command::Tune(args) => tune::run(&args),
    }
}

/// Prints the library's warnings to standard error.
pub fn show_warnings() {
    // Fails if the program already has a subscriber, which then shows the warnings.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        // Also if another crate of a custom program adds colors, which a file or pipe cannot show.
        .with_ansi(false)
        // Otherwise a warning that cannot be written panics.
        .log_internal_errors(false)
        .without_time()
        .with_target(false)
        .try_init();
}
