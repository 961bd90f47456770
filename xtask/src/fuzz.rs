//! `cargo xtask fuzz`: broken checkpoints by the million.

use crate::cargo::cargo;
use crate::error::Result;
use crate::process;

/// How much to try.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Inputs for each kind of file; a million takes about two minutes.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Another seed tries other inputs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the fuzzer of `checkpoint/tests/fuzz`, of which `cargo test` runs a short version.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut test = cargo(&["test", "--workspace", "--test", "fuzz", "--", "--nocapture"]);
    test.env("REKINDLE_FUZZ_INPUTS", args.inputs.to_string());
    test.env("REKINDLE_FUZZ_SEED", args.seed.to_string());
    process::run(&mut test)
}
