//! The program `rekindle`; see `rekindle --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_cli::run(|| Ok(()))
}
