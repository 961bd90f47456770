//! `cargo xtask fuzz`: reads millions of corrupted checkpoints.

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

/// Runs the fuzzer of `checkpoint/tests/fuzz`. `cargo test` runs it with fewer inputs.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut test =
        cargo(&["test", "--package", "rekindle-checkpoint", "--test", "fuzz", "--", "--nocapture"]);
    test.env("REKINDLE_FUZZ_INPUTS", args.inputs.to_string());
    test.env("REKINDLE_FUZZ_SEED", args.seed.to_string());
    process::run(&mut test)
}
