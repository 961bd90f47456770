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
fn several_agents_are_played_with_the_module_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let agents = [
        "--set=multi_agent.policies=[\"x\", \"o\"]",
        "--set=multi_agent.policy_mapping={table = {player1 = \"x\", player2 = \"o\"}}",
        "--set=environment.env_config.action_mask=true",
    ];
    let args = [&["ppo", "TicTacToe-v0", "--steps", "128"], &SMALL[..], &agents].concat();
    let folder = train(dir.path(), &args);
    let path = folder.to_str().unwrap();
    let args = ["play", path, "-n=3", "--stochastic", "--out=games.gif"];
    let shown = run(dir.path(), &args);
    let games: Vec<_> = shown.lines().collect();
    assert_eq!((games.len(), games[3]), (4, "games.gif"));
    for game in &games[..3] {
        // The rewards of the players are opposite, and no player marks a taken cell, which ends a game early.
        assert!(game.contains(": return 0.00 in ") && game.contains(" (player1 "), "{game}");
        let steps: u64 = game.split(' ').nth(5).unwrap().parse().unwrap();
        assert!((5..=9).contains(&steps), "{game}");
    }
    assert_eq!(run(dir.path(), &args), shown);
    assert!(fs::read(dir.path().join("games.gif")).unwrap().starts_with(b"GIF89a"));

    // One module for all agents, and a bundle of it.
    let of_x = run(dir.path(), &["play", path, "--module=x", "--out=x.gif"]);
    run(dir.path(), &["export", path, "--module=x", "--out=x"]);
    let settings = ["play", "x", "--env=TicTacToe-v0", "--out=bundle.gif"];
    let refused = start(dir.path(), &settings);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("observation"), "another observation space: {message}");
    let unknown = start(dir.path(), &["play", path, "--module=y", "--out=y.gif"]);
    let message = String::from_utf8_lossy(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(message.contains("`y`") && message.contains("[o, x]"), "{message}");
    assert!(of_x.starts_with("episode 1: return "), "{of_x}");
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

#[test]
fn an_edited_file_of_settings_is_reported_and_set_applies_to_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "128"], &SMALL[..]].concat();
    let folder = train(dir.path(), &args);
    let config = folder.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let edited = text.replace("\ngamma = 0.99\n", "\ngamma = 0.5\n");
    assert_ne!(edited, text);
    let resume = |more: &[&str]| {
        fs::write(&config, &edited).unwrap();
        let args = [&["resume", folder.to_str().unwrap()], more].concat();
        let output = start(dir.path(), &args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        assert!(
            told.contains("config.toml has other values of `training.gamma` than the"),
            "{told}"
        );
        let saved = folder.join("checkpoints/latest/state.json");
        let saved: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
        saved["config"]["training"]["gamma"].as_f64().unwrap()
    };
    assert_eq!(resume(&["--steps=192"]), 0.99);
    // The same value as in the file is a change of the checkpoint.
    assert_eq!(resume(&["--steps=256", "--set=training.gamma=0.5"]), 0.5);
}

#[test]
fn a_checkpoint_of_a_newer_version_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let args = [&["ppo", "CartPole-v1", "--steps", "64"], &SMALL[..]].concat();
    let folder = train(dir.path(), &args);
    let manifest = folder.join("checkpoints/latest/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let mut data: serde_json::Value = serde_json::from_str(&text).unwrap();
    data["format_version"] = 99.into();
    fs::write(&manifest, data.to_string()).unwrap();
    for command in ["resume", "evaluate", "inspect"] {
        let output = start(dir.path(), &[command, folder.to_str().unwrap()]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("99"), "{command}: {told}");
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
