//! `cargo xtask audit`: licenses, sources and known vulnerabilities of dependencies; changes of the interface since the
//! last release; packages.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::cargo::{cargo, target_directory};
use crate::error::{Error, Result};
use crate::process;

/// Checks to run.
///
/// The interface is compared with the last release in this repository, which is the newest tag v…, because nothing is
/// published on crates.io. Without such a tag, this check is left out with a warning.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Skip the check for known vulnerabilities, which needs network access
    #[arg(long)]
    no_advisories: bool,
    /// Also check that an empty project can use the packages with each backend, which takes minutes
    #[arg(long)]
    build_packages: bool,
}

/// Packages that are not published.
const UNPUBLISHED: [&str; 4] = ["--exclude", "xtask", "--exclude", "rekindle-benches"];

/// Runs the checks, and installs their tools first if they are missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    provide("deny")?;
    check_packages()?;
    if args.build_packages {
        check_use_of_packages()?;
    }
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

/// Uses the packages as a project elsewhere does: without this workspace, its lock file and its patches.
fn check_use_of_packages() -> Result<()> {
    let target = target_directory()?;
    let project = target.join("package-user");
    let packages = project.join("packages");
    if project.exists() {
        fs::remove_dir_all(&project).map_err(Error::io(&project))?;
    }
    for folder in [&packages, &project.join("src")] {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let archives = target.join("package");
    for entry in fs::read_dir(&archives).map_err(Error::io(&archives))? {
        let archive = entry.map_err(Error::io(&archives))?.path();
        if archive.extension().is_some_and(|kind| kind == "crate") {
            process::run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&packages))?;
        }
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&packages).map_err(Error::io(&packages))? {
        let name = entry.map_err(Error::io(&packages))?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    for (path, text) in [("Cargo.toml", manifest_of_user(&names)), ("src/main.rs", USER.to_owned())]
    {
        let path = project.join(path);
        fs::write(&path, text).map_err(Error::io(&path))?;
    }
    for features in ["flex", "flex,train", "wgpu,train"] {
        let mut check = cargo(&["check", "--no-default-features", "--features", features]);
        check.current_dir(&project).env("CARGO_TARGET_DIR", project.join("target"));
        process::run(&mut check)?;
    }
    Ok(())
}

/// The program that uses the packages.
const USER: &str = "\
use rekindle::prelude::*;

fn main() -> Result<(), MainError> {
    let device = DeviceSpec::Auto.open()?;
    let policy = PolicyBundle::from_checkpoint(\"policy\", &device)?;
    println!(\"{}\", policy.config().observation_space);
    #[cfg(feature = \"train\")]
    PpoConfig::new().environment(\"CartPole-v1\").build(&device)?.train()?;
    Ok(())
}
";

/// The manifest of a project that uses the packages. The directories of packages are named `<name>-<version>`.
fn manifest_of_user(packages: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut manifest = format!(
        "[package]\nname = \"package-user\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nrekindle = {{ version = \"{version}\", default-features = false }}\n\n\
         [features]\n"
    );
    for feature in ["flex", "train", "wgpu"] {
        // Writing to a string does not fail.
        let _ = writeln!(manifest, "{feature} = [\"rekindle/{feature}\"]");
    }
    manifest += "\n[patch.crates-io]\n";
    let suffix = format!("-{version}");
    for package in packages {
        if let Some(name) = package.strip_suffix(&suffix) {
            let _ = writeln!(manifest, "{name} = {{ path = \"packages/{package}\" }}");
        }
    }
    manifest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_stand_in_for_those_of_the_registry() {
        let version = env!("CARGO_PKG_VERSION");
        let packages = ["rekindle", "rekindle-env"].map(|name| format!("{name}-{version}"));
        let manifest = manifest_of_user(&packages);
        for line in [
            format!("rekindle = {{ path = \"packages/rekindle-{version}\" }}"),
            format!("rekindle-env = {{ path = \"packages/rekindle-env-{version}\" }}"),
            "wgpu = [\"rekindle/wgpu\"]".to_owned(),
        ] {
            assert!(manifest.lines().any(|found| found == line), "no `{line}` in:\n{manifest}");
        }
    }
}
