//! A run from the start to the plot.

use std::fs;
use std::path::Path;

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
    let played = run(dir.path(), &["evaluate", "policy", "--env", "CartPole-v1", "-n", "5"]);
    assert!(played.starts_with("episodes     5\n"), "{played}");
    assert_eq!(start(dir.path(), &["export", path, "--out", "policy"]).status.code(), Some(2));
    assert_eq!(start(dir.path(), &["evaluate", "policy"]).status.code(), Some(2));

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
