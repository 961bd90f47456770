//! `cargo xtask audit`: licenses, sources and known vulnerabilities of dependencies; changes of the interface since the
//! last release; packages.

mod packages;

use std::process::Command;

use self::packages::Versions;
use crate::cargo::cargo;
use crate::error::{Error, Result};
use crate::process;

/// Checks to run.
///
/// cargo-semver-checks compares the interface with the last release in this repository, which is the newest tag v…,
/// because nothing is published on crates.io. Without such a tag, this check is left out with a warning.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Skip the check for known vulnerabilities, which needs network access
    #[arg(long)]
    no_advisories: bool,
    /// Also use the packages in an empty project: train, act with the policy, and compile for a GPU. Takes ten minutes, or half an hour on a busy machine
    #[arg(long)]
    build_packages: bool,
    /// Build this project with the newest versions of dependencies instead of those in Cargo.lock
    #[arg(long, requires = "build_packages")]
    newest: bool,
}

/// Runs the checks, and installs their tools first if they are missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    packages::pack()?;
    if args.build_packages {
        let versions = if args.newest { Versions::Newest } else { Versions::Locked };
        packages::use_in_an_empty_project(versions)?;
    }
    check_interface()?;
    provide("deny")?;
    process::run(&mut cargo(&["deny", "check", "licenses", "sources", "bans"]))?;
    if args.no_advisories {
        eprintln!("warning: skipped known vulnerabilities (--no-advisories)");
        return Ok(());
    }
    process::run(&mut cargo(&["deny", "fetch", "db"]))
        .map_err(|source| Error::NoAdvisories { source: Box::new(source) })?;
    process::run(&mut cargo(&["deny", "--offline", "check", "advisories"]))
}

/// Installs a subcommand of Cargo if it is missing.
fn provide(subcommand: &str) -> Result<()> {
    if process::succeeds(&mut cargo(&[subcommand, "--version"])) {
        return Ok(());
    }
    eprintln!("cargo-{subcommand} is missing; building and installing it takes minutes");
    process::run(&mut cargo(&["install", &format!("cargo-{subcommand}"), "--locked"]))
}

/// Checks that the interface is compatible with the last release, unless the version says otherwise. A release is a tag
/// such as `v0.1.0`.
fn check_interface() -> Result<()> {
    let tags = ["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"];
    if !process::succeeds(Command::new("git").args(tags)) {
        eprintln!(
            "warning: the interface is not checked for changes, because nothing has been released yet \
             (no tag such as v0.1.0)"
        );
        return Ok(());
    }
    let release = process::capture(Command::new("git").args(tags))?;
    provide("semver-checks")?;
    // All features would build for CUDA without the patch of this workspace, and download LLVM.
    let features = "--default-features";
    let check = ["semver-checks", "--workspace", features, "--baseline-rev", release.trim()];
    process::run(cargo(&check).args(packages::exclude_unpublished()?))
}
