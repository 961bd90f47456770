//! `cargo xtask python`: builds the Python package and tests it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::cargo::{cargo, target_directory};
use crate::error::{Error, Result};
use crate::process;
use crate::python::VirtualEnvironment;

/// The oldest Python for which the package is built.
pub(crate) const OLDEST_PYTHON: &str = "3.11";

const FOLDER: &str = "python";
/// The packages of all tests, and those of the tests with Ray.
const REQUIREMENTS: &str = "requirements.txt";
const RAY_REQUIREMENTS: &str = "requirements_ray.txt";
/// The program of the package's tests that is written in Rust.
const EXAMPLE: &str = "act_in_rust";

/// What to build and test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build the wheel for distribution with maturin, in the release profile, and test that
    #[arg(long)]
    wheel: bool,
    /// Arguments of pytest
    #[arg(last = true)]
    pytest: Vec<String>,
}

/// Builds the package and runs its tests.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(python) = provide() else { return Ok(()) };
    add_ray();
    let mut pytest = Command::new(&python);
    pytest.args(["-m", "pytest", "-q"]).arg(Path::new(FOLDER).join("tests")).args(&args.pytest);
    // Environments run in the interpreter of the tests.
    pytest.env_remove("REKINDLE_PYTHON");
    let profile = match args.wheel {
        true => {
            install_wheel(&python)?;
            "release"
        }
        false => {
            pytest.env("PYTHONPATH", build_folder()?);
            "debug"
        }
    };
    let program = format!("{EXAMPLE}{}", env::consts::EXE_SUFFIX);
    let program = target_directory()?.join(profile).join("examples").join(program);
    process::run(pytest.env("REKINDLE_ACT_IN_RUST", program))
}

/// Returns an interpreter with the packages of the tests. Without Python, prints a warning.
pub(crate) fn provide() -> Option<PathBuf> {
    let is_new =
        format!("import sys; sys.exit(sys.version_info < ({}))", OLDEST_PYTHON.replace('.', ","));
    if cfg!(windows) || !process::succeeds(Command::new("python3").args(["-c", &is_new])) {
        eprintln!(
            "\nwarning: skipping the tests of the Python package: they need `python3`, at least {OLDEST_PYTHON}"
        );
        return None;
    }
    let prepared = environment().and_then(|environment| {
        environment.prepare(&[Path::new(FOLDER).join(REQUIREMENTS)])?;
        Ok(environment.python())
    });
    prepared
        .inspect_err(|error| {
            eprintln!("\nwarning: skipping the tests of the Python package: {error}");
        })
        .ok()
}

fn environment() -> Result<VirtualEnvironment> {
    VirtualEnvironment::named("python-package")
}

/// Installs the packages of the tests with Ray, which are large. Without these packages, pytest skips the tests.
fn add_ray() {
    let files = [REQUIREMENTS, RAY_REQUIREMENTS].map(|file| Path::new(FOLDER).join(file));
    if let Err(error) = environment().and_then(|environment| environment.prepare(&files)) {
        eprintln!("\nwarning: skipping the tests with Ray or several learners in Ray: {error}");
    }
}

/// Builds the package as a folder. The features of all crates are those of the tests, so that nothing is built twice.
fn build_folder() -> Result<PathBuf> {
    let mut build = cargo(&["build", "--workspace", "--exclude", "rekindle-benches", "--lib"]);
    process::run(build.args(["--example", EXAMPLE]))?;
    let target = target_directory()?;
    let folder = target.join("python");
    let package = folder.join("rekindle");
    fs::create_dir_all(&package).map_err(Error::io(&package))?;
    let sources = Path::new(FOLDER).join("rekindle");
    for entry in fs::read_dir(&sources).map_err(Error::io(&sources))? {
        let path = entry.map_err(Error::io(&sources))?.path();
        if path.is_file() {
            replace(&path, &package.join(path.file_name().unwrap_or_default()))?;
        }
    }
    let library = format!("{}_rekindle{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    replace(&target.join("debug").join(library), &package.join("_rekindle.abi3.so"))?;
    Ok(folder)
}

/// Copies a file to a new file, because an interpreter may still use the old one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    // Fails if there is no old one.
    let _ = fs::remove_file(to);
    fs::copy(from, to).map(drop).map_err(Error::io(from))
}

/// Builds the wheel into `target/wheels`, and installs it.
fn install_wheel(python: &Path) -> Result<()> {
    let wheels = target_directory()?.join("wheels");
    // Only the new wheel is installed.
    let _ = fs::remove_dir_all(&wheels);
    let manifest = Path::new(FOLDER).join("Cargo.toml");
    let mut maturin = Command::new(python);
    maturin.args(["-m", "maturin", "build", "--release", "--manifest-path"]).arg(&manifest);
    process::run(maturin.arg("--out").arg(&wheels))?;
    let mut build = cargo(&["build", "--release", "--example", EXAMPLE, "--manifest-path"]);
    process::run(build.arg(&manifest))?;
    let mut install = Command::new(python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--force-reinstall",
        "--no-deps",
        "--no-index",
    ]);
    process::run(install.arg("--find-links").arg(&wheels).arg("rekindle"))
}
