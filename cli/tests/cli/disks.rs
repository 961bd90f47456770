//! Disks that are full or cannot be written.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::program::{command, results, run, start, train};

/// A file system of limited size in memory, which only the superuser can mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system of some KiB; `None`, with a line that says so, where that is not allowed.
    fn mount(path: PathBuf, kib: u32) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let size = format!("size={kib}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            println!("skipped: this user cannot mount a file system in memory");
            return None;
        }
        Some(Self(path))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const SMALL: [&str; 9] = [
    "--seed=4",
    "--set=model_config.fcnet_hiddens=[8]",
    "--set=training.train_batch_size=32",
    "--set=training.minibatch_size=none",
    "--set=training.num_epochs=1",
    "--set=evaluation.evaluation_duration=1",
    "--set=run.checkpoint_interval=20",
    "--set=run.keep_checkpoints=1",
    "--set=run.max_iterations=240",
];

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn only_run(runs: &Path) -> PathBuf {
    fs::read_dir(runs.join("ppo")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_run_on_a_full_disk_says_so_and_is_continued_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path().join("disk"), 1024) else { return };
    let runs = disk.0.join("runs");
    let args = ["train", "ppo", "CartPole-v1", "--runs", runs.to_str().unwrap()];
    let output = command(dir.path(), &[&args[..], &SMALL].concat()).env_remove("NO_COLOR").output();
    let output = output.unwrap();
    let told = message(&output);
    // Training goes on without its logs. The state at its end is lost, so the program fails.
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("error: ") && told.contains("No space left on device"), "{told}");
    assert!(told.contains("metrics were not written"), "{told}");
    // Hundreds of iterations could not be written.
    assert!(told.lines().count() < 60, "{told}");
    assert!(!told.contains('\u{1b}'), "colors in a file: {told}");

    let folder = only_run(&runs);
    let saved = fs::read_link(folder.join("checkpoints/latest")).unwrap();
    let saved: u64 = saved.to_str().unwrap().strip_prefix("iteration-").unwrap().parse().unwrap();
    assert!((20..240).contains(&saved), "{saved}");
    // Every line is whole, and all iterations up to the checkpoint are there.
    let lines = results(&folder).len() as u64;
    assert!((saved..240).contains(&lines), "{lines}");

    disk.remount("size=16m");
    run(dir.path(), &["resume", folder.to_str().unwrap(), "--quiet"]);
    let whole = train(dir.path(), &[&["ppo", "CartPole-v1"], &SMALL[..]].concat());
    assert_eq!(results(&folder), results(&whole));
}

#[test]
fn a_folder_that_cannot_be_written_is_read_and_its_run_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path().join("disk"), 4096) else { return };
    let runs = disk.0.join("runs");
    let short = ["--set=run.max_iterations=3", "--runs", runs.to_str().unwrap()];
    let folder = train(dir.path(), &[&["ppo", "CartPole-v1"], &SMALL[..], &short].concat());
    disk.remount("ro");
    let path = folder.to_str().unwrap();
    for args in [
        &["evaluate", path, "-n=2"][..],
        &["inspect", path],
        &["plot", path, "--out=curve.svg", "--metric=time_total_s"],
        &["play", path, "--out=episode.gif"],
        &["export", path, "--out=policy"],
        &["export", path, "--format=onnx", "--out=policy.onnx"],
    ] {
        run(dir.path(), args);
    }
    let inside = folder.join("policy");
    for args in [
        &["resume", path, "--set=run.max_iterations=5"][..],
        &["train", "ppo", "CartPole-v1", "--runs", runs.to_str().unwrap()],
        &["export", path, "--out", inside.to_str().unwrap()],
    ] {
        let output = start(dir.path(), args);
        let told = message(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(
            told.contains("Read-only file system") && told.contains("disk/"),
            "{args:?}: {told}"
        );
    }
}

#[test]
fn a_recording_on_a_full_disk_names_the_file_and_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["parquet", "minari"] {
        let Some(disk) = SmallDisk::mount(dir.path().join(format), 64) else { return };
        let folder = disk.0.join("data");
        let recording = [
            format!("--set=env_runners.output={}", folder.display()),
            format!("--set=env_runners.output_format={format}"),
            "--set=env_runners.output_max_file_size=1000".to_owned(),
        ];
        let mut command = command(dir.path(), &["train", "ppo", "CartPole-v1"]);
        let output = command.args(SMALL).args(recording).output().unwrap();
        let told = message(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let expected = format!("cannot write `{}", folder.display());
        assert!(told.contains(&expected) && told.contains("No space left on device"), "{told}");
        assert!(!told.contains("valid Parquet"), "{told}");
    }
}
