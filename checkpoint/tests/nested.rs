//! Saves inside other checkpoints, which would no longer be readable.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use rekindle_checkpoint::{CheckpointError, State, read, write};

fn run() -> State {
    let module = State::from_data(&"weights").unwrap();
    let learner = State::new().with_component("rl_module", module);
    State::from_data(&1).unwrap().with_component("learner", learner)
}

fn refused(path: &Path, part: &str) {
    let error = write(path, &State::from_data(&2).unwrap()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, CheckpointError::Occupied { .. }), "{message}");
    assert!(message.contains(part), "no `{part}` in: {message}");
}

#[test]
fn a_save_inside_another_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    write(&path, &run()).unwrap();
    for inside in ["learner", "learner/rl_module", "policy", "learner/policy", "new/folder/policy"]
    {
        refused(&path.join(inside), "a save inside it");
    }
    refused(&path.join("learner/../policy"), "a save inside it");
    assert_eq!(read(&path).unwrap(), run());
    assert!(!path.join("new").exists());
    // Beside it is not inside it.
    write(path.join("../other"), &run()).unwrap();
    write(&path, &run()).unwrap();
}

#[test]
fn a_manifest_of_another_program_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest.json"), r#"{"name": "a web site"}"#).unwrap();
    write(folder.path().join("run"), &run()).unwrap();
    assert_eq!(read(folder.path().join("run")).unwrap(), run());
}

#[test]
fn a_save_over_a_checkpoint_that_holds_another_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["run", "other"].map(|name| folder.path().join(name));
    write(&path, &run()).unwrap();
    write(&other, &run()).unwrap();
    // As a program that moves directories would leave it.
    fs::rename(&other, path.join("learner/kept")).unwrap();
    refused(&path, "kept");
    assert_eq!(read(path.join("learner/kept")).unwrap(), run());
    fs::rename(path.join("learner/kept"), &other).unwrap();
    write(&path, &run()).unwrap();
}
