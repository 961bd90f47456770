//! `cargo xtask audit`: may we use what we depend on, and is it safe?

use crate::cargo::cargo;
use crate::error::{Error, Result};
use crate::process;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave known vulnerabilities out: their database is a Git repository, which needs a network.
    #[arg(long)]
    no_advisories: bool,
}

/// Runs cargo-deny, which is installed first if it is missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !process::succeeds(&mut cargo(&["deny", "--version"])) {
        eprintln!("cargo-deny is missing; it is built and installed, which takes minutes");
        process::run(&mut cargo(&["install", "cargo-deny", "--locked"]))?;
    }
    process::run(&mut cargo(&["deny", "check", "licenses", "sources", "bans"]))?;
    if args.no_advisories {
        eprintln!("warning: known vulnerabilities were not checked (--no-advisories)");
        return Ok(());
    }
    process::run(&mut cargo(&["deny", "fetch", "db"]))
        .map_err(|source| Error::NoAdvisories { source: Box::new(source) })?;
    process::run(&mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
}
