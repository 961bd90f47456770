//! Starting the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The program, to be started in a directory.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    // Two threads per program, because tests run in parallel.
    command.args(args).current_dir(dir).env("REKINDLE_NUM_THREADS", "1").env("NO_COLOR", "1");
    command
}

pub(crate) fn start(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// Runs the program to its successful end, and returns what it printed.
pub(crate) fn run(dir: &Path, args: &[&str]) -> String {
    let output = start(dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {:?}\n{stderr}", output.status.code());
    String::from_utf8(output.stdout).unwrap()
}

/// Trains, and returns the folder of the run.
pub(crate) fn train(dir: &Path, args: &[&str]) -> PathBuf {
    let printed = run(dir, &[&["train"], args, &["--quiet"]].concat());
    dir.join(printed.trim())
}

/// The results of a run without durations and speeds, which differ between equal runs.
pub(crate) fn results(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let is_repeatable = |key: &str| {
        !["time", "throughput", "duration", "/sample"].iter().any(|part| key.contains(part))
    };
    let result = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().retain(|key, _| is_repeatable(key));
        value
    };
    text.lines().map(result).collect()
}
