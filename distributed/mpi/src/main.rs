//! The program `rekindle-mpi`; see `rekindle-mpi --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_mpi::run(|| Ok(()))
}
