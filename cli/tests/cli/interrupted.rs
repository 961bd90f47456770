//! Ctrl-C.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{command, results, run};

/// Waits until the only run has some results, and returns its folder.
fn wait_for_results(runs: &Path, count: usize) -> PathBuf {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let folder = fs::read_dir(runs.join("ppo")).ok().and_then(|mut runs| runs.next());
        if let Some(Ok(folder)) = folder {
            let metrics = fs::read_to_string(folder.path().join("metrics.jsonl"));
            if metrics.is_ok_and(|text| text.lines().count() >= count) {
                return folder.path();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no results");
}

/// Interrupts a program, and returns what it printed to standard error.
fn interrupt(child: Child) -> String {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    stderr
}

#[test]
fn a_long_iteration_is_ended_first_and_the_user_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // An iteration takes seconds.
    let args = ["train", "ppo", "CartPole-v1", "--seed=1", "--set=training.num_epochs=15"];
    let child =
        command(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = wait_for_results(&dir.path().join("runs"), 0);
    let told = interrupt(child);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("stopping after this iteration; Ctrl-C again "), "{told}");
    assert!(lines[1].starts_with("interrupted: saved after 1 iterations"), "{told}");
    assert_eq!(results(&folder).len(), 1);
}

#[test]
fn an_interrupted_run_saves_exits_130_and_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["train", "ppo", "CartPole-v1", "--seed", "1", "--set", "training.num_epochs=2"];
    let child =
        command(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = wait_for_results(&dir.path().join("runs"), 2);
    let stderr = interrupt(child);
    assert!(stderr.contains("`rekindle resume runs/ppo/CartPole-v1__1__"), "{stderr}");
    let before = results(&folder);
    let limit = format!("run.max_iterations={}", before.len() + 1);
    run(dir.path(), &["resume", folder.to_str().unwrap(), "--quiet", "--set", &limit]);
    let after = results(&folder);
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[..before.len()], before);
}
