//! `cargo xtask audit`: licenses, sources and known vulnerabilities of dependencies; changes of the interface since the
//! last release; packages.

use std::process::Command;

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

/// Packages that are not published.
const UNPUBLISHED: [&str; 4] = ["--exclude", "xtask", "--exclude", "rekindle-benches"];

/// Runs the checks, and installs their tools first if they are missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    provide("deny")?;
    check_packages()?;
    check_interface()?;
    process::run(&mut cargo(&["deny", "check", "licenses", "sources", "bans"]))?;
    if args.no_advisories {
        eprintln!("warning: skipped known vulnerabilities (--no-advisories)");
        return Ok(());
    }
    process::run(&mut cargo(&["deny", "fetch", "db"]))
        .map_err(|source| Error::NoAdvisories { source: Box::new(source) })?;
    process::run(&mut cargo(&["deny", "check", "--disable-fetch", "advisories"]))
}

/// Installs a subcommand of Cargo if it is missing.
fn provide(subcommand: &str) -> Result<()> {
    if process::succeeds(&mut cargo(&[subcommand, "--version"])) {
        return Ok(());
    }
    eprintln!("cargo-{subcommand} is missing; building and installing it takes minutes");
    process::run(&mut cargo(&["install", &format!("cargo-{subcommand}"), "--locked"]))
}

/// Packs all packages that are published. Their files are complete and their manifests valid. They are not built: tests
/// build the same files.
fn check_packages() -> Result<()> {
    let package = ["package", "--workspace", "--no-verify", "--allow-dirty"];
    process::run(&mut cargo(&[&package[..], &UNPUBLISHED].concat()))
}

/// Checks that the interface is compatible with the last release, unless the version says otherwise. A release is a tag
/// such as `v0.1.0`.
fn check_interface() -> Result<()> {
    let tags = ["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"];
    if !process::succeeds(Command::new("git").args(tags)) {
        eprintln!("warning: there is no release to compare the interface with (no tag v…)");
        return Ok(());
    }
    let release = process::capture(Command::new("git").args(tags))?;
    provide("semver-checks")?;
    let check = ["semver-checks", "--workspace", "--baseline-rev", release.trim()];
    process::run(&mut cargo(&[&check[..], &UNPUBLISHED].concat()))
}
