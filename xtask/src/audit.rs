//! `cargo xtask audit`: licenses, sources and known vulnerabilities of dependencies.

use crate::cargo::cargo;
use crate::error::{Error, Result};
use crate::process;

/// Dependency checks to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Skip the check for known vulnerabilities, which needs network access
    #[arg(long)]
    no_advisories: bool,
}

/// Runs cargo-deny, and installs it first if it is missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !process::succeeds(&mut cargo(&["deny", "--version"])) {
        eprintln!("cargo-deny is missing; building and installing it takes minutes");
        process::run(&mut cargo(&["install", "cargo-deny", "--locked"]))?;
    }
    process::run(&mut cargo(&["deny", "check", "licenses", "sources", "bans"]))?;
    if args.no_advisories {
        eprintln!("warning: skipped known vulnerabilities (--no-advisories)");
        return Ok(());
    }
    process::run(&mut cargo(&["deny", "fetch", "db"]))
        .map_err(|source| Error::NoAdvisories { source: Box::new(source) })?;
    process::run(&mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
}
