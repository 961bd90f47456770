//! A run from the start to the plot.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::program::{run, start, train};

/// The tree below a directory, with the sizes and times left out.
fn tree(path: &Path, depth: usize) -> String {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let entry = path.join(&name);
        let name = name.to_string_lossy();
        let shown = match name.split_once(".tfevents.") {
            Some((start, _)) => format!("{start}.tfevents.…"),
            None => name.into_owned(),
        };
        let link = fs::read_link(&entry).map(|to| format!(" -> {}", to.display()));
        text += &format!("{}{shown}{}\n", "  ".repeat(depth), link.as_deref().unwrap_or_default());
        if entry.is_dir() && link.is_err() {
            text += &tree(&entry, depth + 1);
        }
    }
    text
}

const SMALL: [&str; 12] = [
    "--seed",
    "3",
    "--set",
    "model_config.fcnet_hiddens=[8]",
    "--set",
    "training.train_batch_size=64",
    "--set",
    "training.minibatch_size=none",
    "--set",
    "training.num_epochs=1",
    "--set",
    "evaluation.evaluation_duration=3",
];

#[test]
fn a_run_is_trained_evaluated_inspected_and_plotted() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "256"], &SMALL[..]].concat();
    let folder = train(dir.path(), &args);
    let name = folder.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("CartPole-v1__3__"), "{name}");
    insta::assert_snapshot!(tree(&folder, 0));
    let path = folder.to_str().unwrap();

    let evaluation = run(dir.path(), &["evaluate", path, "--episodes", "5", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&evaluation).unwrap();
    assert_eq!(value["returns"].as_array().unwrap().len(), 5);
    assert_eq!(run(dir.path(), &["evaluate", path, "-n", "5", "--json"]), evaluation);
    let sampled = run(dir.path(), &["evaluate", path, "-n", "5", "--json", "--stochastic"]);
    assert_ne!(sampled, evaluation);

    let inspected = run(dir.path(), &["inspect", path, "--tensors"]);
    for part in ["algorithm    PPO", "env steps    256", "default_policy", "F32 [8, 4]"] {
        assert!(inspected.contains(part), "no `{part}` in:\n{inspected}");
    }
    run(dir.path(), &["export", path, "--out", "policy"]);
    run(dir.path(), &["export", path, "--format", "onnx", "--out", "policy.onnx"]);
    run(dir.path(), &["export", "policy", "--format", "onnx", "--out", "again.onnx"]);
    let [file, again] =
        ["policy.onnx", "again.onnx"].map(|name| fs::read(dir.path().join(name)).unwrap());
    assert!(file == again && String::from_utf8_lossy(&file).contains("rekindle"));
    let played = run(dir.path(), &["evaluate", "policy", "--env", "CartPole-v1", "-n", "5"]);
    assert!(played.starts_with("episodes     5\n"), "{played}");
    assert_eq!(start(dir.path(), &["export", path, "--out", "policy"]).status.code(), Some(2));
    assert_eq!(start(dir.path(), &["evaluate", "policy"]).status.code(), Some(2));

    let shown = run(dir.path(), &["play", path, "-n", "2", "--out", "two.gif"]);
    assert!(shown.starts_with("episode 1: return ") && shown.ends_with("two.gif\n"), "{shown}");
    let video = fs::read(dir.path().join("two.gif")).unwrap();
    assert!(video.starts_with(b"GIF89a") && video.len() > 1000, "{}", video.len());
    run(dir.path(), &["play", "policy", "--env", "CartPole-v1", "--out", "one.gif"]);
    assert_eq!(start(dir.path(), &["play", path]).status.code(), Some(2), "no terminal");

    let svg = dir.path().join("curve.svg");
    run(dir.path(), &["plot", path, "--out", svg.to_str().unwrap()]);
    assert!(fs::read_to_string(svg).unwrap().contains("<svg"));

    let again = run(dir.path(), &["resume", path]);
    assert!(
        again.starts_with(
            "nothing to do: the run has ended by run.max_env_steps after 4 iterations"
        )
    );
}

#[test]
fn a_file_of_settings_repeats_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "128"], &SMALL[..]].concat();
    let first = train(dir.path(), &args);
    let config = first.join("config.toml");
    let second = train(dir.path(), &[config.to_str().unwrap()]);
    assert_ne!(first, second);
    assert_eq!(crate::program::results(&first), crate::program::results(&second));
}

#[test]
fn resuming_a_run_that_has_ended_leaves_its_results_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "ppo",
        "CartPole-v1",
        "--steps",
        "256",
        "--set=run.checkpoint_interval=1",
        "--set=run.keep_checkpoints=9",
    ];
    let folder = train(dir.path(), &[&args, &SMALL[..]].concat());
    let path = folder.to_str().unwrap();
    let read = || {
        ["metrics.jsonl", "progress.csv", "evaluations.jsonl", "config.toml"]
            .map(|name| fs::read_to_string(folder.join(name)).unwrap())
    };
    let before = read();
    // The checkpoint has reached this limit, too, and results of later iterations follow it.
    for limit in ["256", "128"] {
        let checkpoint = if limit == "256" { "4" } else { "2" };
        let args = ["resume", path, "--checkpoint", checkpoint, "--steps", limit];
        let printed = run(dir.path(), &args);
        assert!(printed.starts_with("nothing to do: the run has ended"), "{printed}");
        assert_eq!(read(), before);
    }
}

/// Sets the time of all files below a directory.
fn set_times(path: &Path, time: SystemTime) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            set_times(&entry.path(), time);
        } else if entry.file_type().unwrap().is_file() {
            fs::File::options()
                .append(true)
                .open(entry.path())
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }
}

#[test]
fn a_run_is_resumed_after_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "128"], &SMALL[..]].concat();
    let folder = train(dir.path(), &args);
    // As if the run was written tomorrow.
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    set_times(&folder, tomorrow);
    let later = folder.with_file_name(format!("CartPole-v1__3__{}", u32::MAX));
    fs::rename(&folder, &later).unwrap();
    run(dir.path(), &["resume", later.to_str().unwrap(), "--steps", "256", "--quiet"]);
    let whole = [&["ppo", "CartPole-v1", "--steps", "256"], &SMALL[..]].concat();
    let whole = train(dir.path(), &whole);
    assert_eq!(crate::program::results(&later), crate::program::results(&whole));
    let latest = fs::read_link(later.join("checkpoints/latest")).unwrap();
    assert_eq!(latest, fs::read_link(whole.join("checkpoints/latest")).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // Not even the superuser can write there.
    for (args, path) in [
        (&["train", "ppo", "CartPole-v1", "--runs", "/proc/runs"][..], "/proc/runs"),
        (&["tune", "ppo", "CartPole-v1", "--steps", "9", "--out", "/proc/study"], "/proc/study"),
    ] {
        let output = start(dir.path(), args);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("cannot create ") && message.contains(path), "{message}");
    }
    let folder =
        train(dir.path(), &[&["ppo", "CartPole-v1", "--steps", "64"], &SMALL[..]].concat());
    let path = folder.to_str().unwrap();
    for out in ["/proc/policy", "/proc/policy.onnx"] {
        let format = if out.ends_with("onnx") { "onnx" } else { "bundle" };
        let output = start(dir.path(), &["export", path, "--format", format, "--out", out]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        // A bundle is locked while it is written.
        assert!(message.contains("/proc/policy") || message.contains("/proc/.policy"), "{message}");
    }
}

#[test]
fn two_programs_do_not_write_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "64"], &SMALL[..]].concat();
    let folder = train(dir.path(), &args);
    let lock = fs::File::options().append(true).open(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let output = start(dir.path(), &["resume", folder.to_str().unwrap(), "--steps", "128"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("belongs to a run that has not ended"), "{message}");
}
