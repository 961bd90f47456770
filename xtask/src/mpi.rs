//! `cargo xtask mpi`: builds the MPI engine and runs its tests with several processes.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::cargo::cargo;
use crate::error::Result;
use crate::{apt, process, python};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure the costs of messages instead of testing, on an otherwise idle machine
    #[arg(long)]
    costs: bool,
    /// Names of tests
    #[arg(last = true)]
    names: Vec<String>,
}

/// Builds with the feature `mpi`, and runs the tests, each job under a time limit.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Err(missing) = provide() {
        eprintln!("\nwarning: skipping the tests with MPI: {missing}");
        return Ok(());
    }
    // With the features of all other tests, so that nothing else is built again.
    let mut tests = cargo(&["test", "--workspace", "--exclude", "rekindle-benches"]);
    tests.args(["--features", "rekindle-mpi/mpi", "--test", "mpirun", "--"]);
    // Jobs of several tests at once would wait for each other's processes.
    tests.args(["--ignored", "--nocapture", "--test-threads=1"]);
    match args.costs {
        true => tests.arg("costs::"),
        false => tests.args(["--skip", "costs::"]).args(&args.names),
    };
    if let Some(python) = python::provide_for_tests().filter(|_| !args.costs) {
        // Processes may have another working directory.
        tests.env("REKINDLE_PYTHON", std::path::absolute(&python).unwrap_or(python));
    }
    process::run(&mut tests)
}

/// What Debian calls it.
const PACKAGES: [&str; 3] = ["openmpi-bin", "libopenmpi-dev", "libclang-dev"];

/// Returns what is missing of MPI and of what its bindings are built with. Installs it where possible.
pub(crate) fn provide() -> std::result::Result<(), String> {
    // Another MPI is the choice of the machine.
    if find().is_err() && !has("mpirun") {
        apt::install(&PACKAGES);
    }
    find()
}

fn has(program: &str) -> bool {
    process::succeeds(Command::new(program).arg("--version"))
}

fn find() -> std::result::Result<(), String> {
    for program in ["mpicc", "mpirun"] {
        if !has(program) {
            return Err(format!("no `{program}`"));
        }
    }
    let is_open_mpi = Command::new("mpirun").arg("--version").output();
    let is_open_mpi = is_open_mpi
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Open MPI"));
    match (is_open_mpi, has_libclang()) {
        (false, _) => Err("an MPI other than Open MPI, which shares cores badly".into()),
        (true, false) => Err("no libclang".into()),
        (true, true) => Ok(()),
    }
}

/// Whether `bindgen` will find libclang.
fn has_libclang() -> bool {
    let named = env::var_os("LIBCLANG_PATH").is_some();
    let holds = |folder: &Path| {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        names.into_iter().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libclang") && name.contains(".so") && !name.contains("cpp")
        })
    };
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let llvm = llvm.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"));
    let mut folders = llvm.map(|entry| entry.path().join("lib")).collect::<Vec<_>>();
    folders.extend(
        ["/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu"].map(Into::into),
    );
    named || folders.iter().any(|folder| holds(folder))
}
