//! `cargo xtask gpu-check`: builds the program that checks and measures a device, for another machine.
//!
//! `scripts/gpu-check` runs it there, without Cargo.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::build_gpu_check;
use crate::error::{Error, Result};
use crate::process;

/// A folder that Git ignores.
const FOLDER: &str = "target/gpu-check";

/// The build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backend to compile in beside the CPU's: `cuda`, `wgpu`, or `cpu` for none
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Cargo's profile; `bench` optimizes at link time, which takes many minutes, `dev` is for trying the program
    #[arg(long, default_value = "bench")]
    profile: String,
}

/// Builds the program and copies it without its symbols.
pub(crate) fn run(args: &Args) -> Result<()> {
    let feature = match args.device.as_str() {
        "cpu" => None,
        feature => Some(feature),
    };
    let built = build_gpu_check(feature, &args.profile)?;
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let program = folder.join("gpu-check");
    let mut strip = Command::new("strip");
    if process::succeeds(Command::new("strip").arg("--version")) {
        process::run(strip.arg("-o").arg(&program).arg(&built))?;
    } else {
        eprintln!("warning: `strip` is missing; the program keeps its symbols");
        fs::copy(&built, &program).map_err(Error::io(&program))?;
    }
    let commit = process::capture(Command::new("git").args(["describe", "--always", "--dirty"]));
    let commit = commit.unwrap_or_else(|_| "unknown".into());
    let rustc = process::capture(Command::new("rustc").arg("--version"))?;
    let text = format!(
        "commit {}, {}, profile {}, {}\n",
        commit.trim(),
        args.device,
        args.profile,
        rustc.trim()
    );
    let description = program.with_extension("build.txt");
    fs::write(&description, text).map_err(Error::io(&description))?;
    let size = fs::metadata(&program).map_err(Error::io(&program))?.len();
    println!("{}: {:.1} MiB", program.display(), size as f64 / f64::from(1 << 20));
    Ok(())
}
