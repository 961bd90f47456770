//! Calls of Cargo.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::process;

/// The Cargo that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Builds examples in the release profile and returns their executables.
pub(crate) fn build_examples<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let mut build = cargo(&["build", "--release"]);
    for name in names {
        build.args(["--example", name]);
    }
    process::run(&mut build)?;
    let folder = target_directory()?.join("release").join("examples");
    Ok(names.map(|name| folder.join(format!("{name}{}", env::consts::EXE_SUFFIX))))
}

/// Builds the program `rekindle` in the release profile and returns its executable.
pub(crate) fn build_rekindle() -> Result<PathBuf> {
    let args = ["build", "--release", "--package", "rekindle-cli", "--bin", "rekindle"];
    process::run(&mut cargo(&args))?;
    Ok(target_directory()?.join("release").join(format!("rekindle{}", env::consts::EXE_SUFFIX)))
}

/// Builds rekindle's program for measurements and returns its executable.
///
/// The profile `bench` optimizes at link time, and shares the directory of the profile `release`.
pub(crate) fn build_measure() -> Result<PathBuf> {
    let args = ["build", "--profile", "bench", "--package", "rekindle-benches", "--bin", "measure"];
    process::run(&mut cargo(&args))?;
    Ok(target_directory()?.join("release").join(format!("measure{}", env::consts::EXE_SUFFIX)))
}

/// Builds the program that checks and measures a device, and returns its executable.
pub(crate) fn build_gpu_check(feature: Option<&str>, profile: &str) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--workspace", "--bin", "gpu-check", "--profile", profile]);
    if let Some(feature) = feature {
        build.args(["--features", feature]);
    }
    process::run(&mut build)?;
    let folder = match profile {
        "dev" => "debug",
        // `bench` shares the directory of `release`.
        "bench" => "release",
        other => other,
    };
    let program = format!("gpu-check{}", env::consts::EXE_SUFFIX);
    Ok(target_directory()?.join(folder).join(program))
}

/// The packages of this workspace, and where they are built.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The directory of Cargo's output, which environment variables and configuration may move.
    pub(crate) target_directory: PathBuf,
    /// The members of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// A package of this workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The registries that it may be published in; `None` means any.
    pub(crate) publish: Option<Vec<String>>,
}

impl Package {
    /// Whether the package can be published, which `publish = false` in its manifest forbids.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }
}

/// Returns what Cargo knows about this workspace.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let text = process::capture(&mut metadata)?;
    serde_json::from_str(&text).map_err(|error| Error::malformed("cargo metadata", error))
}

/// The directory of Cargo's output.
pub(crate) fn target_directory() -> Result<PathBuf> {
    metadata().map(|metadata| metadata.target_directory)
}
