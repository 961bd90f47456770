//! Ctrl-C.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{command, results, run};

/// Waits until the only run has some results, and returns its folder.
fn wait_for_results(runs: &Path) -> PathBuf {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let folder = fs::read_dir(runs.join("ppo")).ok().and_then(|mut runs| runs.next());
        if let Some(Ok(folder)) = folder {
            let metrics = fs::read_to_string(folder.path().join("metrics.jsonl"));
            if metrics.is_ok_and(|text| text.lines().count() >= 2) {
                return folder.path();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no results");
}

#[test]
fn an_interrupted_run_saves_exits_130_and_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["train", "ppo", "CartPole-v1", "--seed", "1", "--set", "training.num_epochs=2"];
    let child =
        command(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = wait_for_results(&dir.path().join("runs"));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("`rekindle resume runs/ppo/CartPole-v1__1__"), "{stderr}");
    let before = results(&folder);
    let limit = format!("run.max_iterations={}", before.len() + 1);
    run(dir.path(), &["resume", folder.to_str().unwrap(), "--quiet", "--set", &limit]);
    let after = results(&folder);
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[..before.len()], before);
}
