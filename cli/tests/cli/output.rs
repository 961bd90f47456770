//! Readers of the output that end before the program.

use std::process::Stdio;

use crate::program::{command, train};

const SMALL: [&str; 5] = [
    "--seed=3",
    "--set=model_config.fcnet_hiddens=[8]",
    "--set=training.train_batch_size=64",
    "--set=training.minibatch_size=none",
    "--set=run.max_iterations=4",
];

/// Starts the program with an output that nobody reads, as `rekindle … | true` does.
fn unread(dir: &std::path::Path, args: &[&str]) -> std::process::Output {
    let mut child =
        command(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_ends_early_stops_no_command() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[&["ppo", "CartPole-v1"], &SMALL[..]].concat());
    let path = run.to_str().unwrap();
    let trained = [&["train", "ppo", "CartPole-v1", "--verbose"], &SMALL[..]].concat();
    for args in [
        &["list"][..],
        &["config", "ppo", "CartPole-v1"],
        &["--help"],
        &["inspect", path, "--tensors"],
        &["evaluate", path, "-n=2", "--json"],
        &["export", path, "--out=policy"],
        &trained,
        &["resume", path],
    ] {
        let output = unread(dir.path(), args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*told), (Some(0), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["list"][..], &["config", "ppo", "CartPole-v1"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output =
            command(dir.path(), args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.starts_with("error: cannot write to standard output: "), "{args:?}: {told}");
    }
}

#[cfg(unix)]
#[test]
fn control_characters_of_a_run_folder_do_not_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[&["ppo", "CartPole-v1"], &SMALL[..]].concat());
    let hostile = dir.path().join("run\u{1b}[2J\u{7}");
    std::fs::rename(&run, &hostile).unwrap();
    for args in [&["inspect"][..], &["resume"], &["resume", "--checkpoint=9\u{1b}[31m"]] {
        let mut command = command(dir.path(), args);
        let output = command.arg(&hostile).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("run\\u{1b}[2J\\u{7}"), "{told:?}");
        let is_hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!told.contains(is_hidden), "{told:?}");
    }
}
