//! `cargo xtask fuzz`: reads millions of corrupted checkpoints and files of recorded data.

use crate::cargo::cargo;
use crate::error::Result;
use crate::process;

/// Number and seed of the inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of inputs per kind of file; a million takes about two minutes
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Seed of the inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The fuzzers. Recorded data are read by a crate that depends on Burn, which is built for the whole workspace.
const TESTS: [&[&str]; 2] = [
    &["test", "--package", "rekindle-checkpoint", "--test", "fuzz", "--", "--nocapture"],
    &[
        "test",
        "--workspace",
        "--exclude",
        "rekindle-benches",
        "--test",
        "files",
        "--",
        "mutated",
        "--nocapture",
    ],
];

/// Runs the fuzzers of `checkpoint/tests/fuzz` and `offline/tests/files`. `cargo test` runs them with fewer inputs.
pub(crate) fn run(args: &Args) -> Result<()> {
    for test in TESTS {
        let mut test = cargo(test);
        test.env("REKINDLE_FUZZ_INPUTS", args.inputs.to_string());
        test.env("REKINDLE_FUZZ_SEED", args.seed.to_string());
        process::run(&mut test)?;
    }
    Ok(())
}
