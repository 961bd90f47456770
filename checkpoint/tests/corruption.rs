//! Damages checkpoints in every way we could think of: always a typed error, never a panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rekindle_checkpoint::{Array, CheckpointError, State, exists, read, read_component, write};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn example() -> State {
    let policy = State::from_data(&json!({"hidden": [64, 64]}))
        .unwrap()
        .with_tensor("weight", Array::new([2, 3], vec![0.5f32; 6]).unwrap())
        .with_tensor("done", vec![true, false]);
    let rl_module = State::new().with_component("default_policy", policy);
    State::from_data(&json!({"iteration": 7, "lr": 3e-4}))
        .unwrap()
        .with_component("learner", State::new().with_component("rl_module", rl_module))
        .with_component("metrics", State::from_data("none").unwrap())
}

fn saved(state: &State) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    write(&path, state).unwrap();
    (dir, path)
}

/// Every file below a directory, in a fixed order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// Changes a manifest and makes its own digest valid again, as an attacker would.
fn forge(manifest: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("sha256");
    change(&mut value);
    let text = serde_json::to_string_pretty(&value).unwrap();
    let covered = format!("{},\n", text.strip_suffix("\n}").unwrap());
    let seal: String = Sha256::digest(&covered).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(manifest, format!("{covered}  \"sha256\": \"{seal}\"\n}}\n")).unwrap();
}

fn assert_names(error: &CheckpointError, path: &Path) {
    let (message, path) = (error.to_string(), path.display().to_string());
    assert!(message.contains(&path), "`{message}` does not name `{path}`");
}

const POLICY: &str = "learner/rl_module/default_policy";

#[test]
fn every_flipped_bit_is_found() {
    let (_dir, path) = saved(&example());
    let mut flips = 0;
    for file in files(&path) {
        let bytes = fs::read(&file).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << (i % 8);
            fs::write(&file, changed).unwrap();
            assert_names(&read(&path).unwrap_err(), &file);
            flips += 1;
        }
        fs::write(&file, bytes).unwrap();
    }
    assert_eq!(read(&path).unwrap(), example());
    assert!(flips > 2000, "{flips}");
}

#[test]
fn every_truncation_is_found() {
    let (_dir, path) = saved(&example());
    for file in files(&path) {
        let bytes = fs::read(&file).unwrap();
        for len in (0..bytes.len()).step_by(7) {
            fs::write(&file, &bytes[..len]).unwrap();
            assert_names(&read(&path).unwrap_err(), &file);
        }
        fs::write(&file, [&bytes[..], b"\n"].concat()).unwrap();
        assert_names(&read(&path).unwrap_err(), &file);
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn missing_files_are_found() {
    let (_dir, path) = saved(&example());
    for file in files(&path) {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        match read(&path).unwrap_err() {
            CheckpointError::MissingFile { path } => assert_eq!(path, file),
            CheckpointError::NotFound { path: dir } => {
                assert_eq!((dir, &file), (path.clone(), &path.join("manifest.json")));
            }
            error => panic!("{error}"),
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_missing_component_is_found() {
    for component in ["learner", "learner/rl_module", POLICY, "metrics"] {
        let (_dir, path) = saved(&example());
        fs::remove_dir_all(path.join(component)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::MissingFile { .. }), "{error}");
        assert_names(&error, &path.join(component).join("manifest.json"));
    }
}

/// Another checkpoint's files are valid on their own. Only the tree of digests reveals them.
#[test]
fn files_of_another_checkpoint_are_found() {
    let mut other = example();
    other.data = json!({"iteration": 8, "lr": 3e-4});
    let (_other_dir, other) = saved(&other);
    let mut weights = example();
    let policy = State::new().with_tensor("weight", vec![0f32; 6]);
    weights.insert_component("learner", State::new().with_component("rl_module", policy));
    let (_weights_dir, weights) = saved(&weights);

    let (_dir, path) = saved(&example());
    for name in ["state.json", "manifest.json"] {
        fs::copy(other.join(name), path.join(name)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::ChecksumMismatch { .. }), "{error}");
        copy(&saved(&example()).1, &path);
    }

    let (_dir, path) = saved(&example());
    fs::remove_dir_all(path.join("learner")).unwrap();
    copy(&weights.join("learner"), &path.join("learner"));
    let manifest = path.join("learner/manifest.json");
    for error in [read(&path).unwrap_err(), read_component(&path, "learner").unwrap_err()] {
        assert!(
            matches!(
                error,
                CheckpointError::ChecksumMismatch { .. } | CheckpointError::SizeMismatch { .. }
            ),
            "{error}"
        );
        assert_names(&error, &manifest);
    }
    assert!(read(path.join("learner")).is_ok(), "whole in itself");
}

#[test]
fn foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })));
    fs::create_dir(&path).unwrap();
    assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })));
    let manifest = path.join("manifest.json");
    for text in
        ["", "{}", "[]", "null", "\u{feff}{}", "\0\0\0\0", r#"{"name": "app", "icons": []}"#]
    {
        fs::write(&manifest, text).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Malformed { .. }), "{error}");
        assert_names(&error, &manifest);
    }
    fs::write(&manifest, r#"{"format": "torchrl", "format_version": 1}"#).unwrap();
    let error = read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::UnknownFormat { .. }), "{error}");
    fs::write(&manifest, vec![b' '; 17 * 1024 * 1024]).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("more than a manifest may have"), "{error}");
    assert!(!exists(&path));

    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })));
}

#[test]
fn a_newer_version_is_refused() {
    let (_dir, path) = saved(&example());
    let manifest = path.join("manifest.json");
    forge(&manifest, |value| value["format_version"] = json!(2));
    let error = read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::UnsupportedVersion { found: 2, supported: 1, .. }));
    assert_names(&error, &manifest);
    assert!(matches!(write(&path, &example()), Err(CheckpointError::Occupied { .. })));
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    for name in ["..", "../outside", "/etc", ".", "", "a/b", "a\\b", "C:", "nul", "a\0b", ".hidden"]
    {
        let (_dir, path) = saved(&example());
        let manifest = path.join("manifest.json");
        forge(&manifest, |value| value["components"][0]["name"] = json!(name));
        let error = read(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Malformed { .. }), "{name:?}: {error}");
        assert_names(&error, &manifest);

        forge(&manifest, |value| {
            value["components"] = json!([]);
            value["files"][0]["name"] = json!(name);
        });
        assert!(matches!(read(&path), Err(CheckpointError::Malformed { .. })), "{name:?}");

        let state = State::new().with_component(name, State::new());
        let target = path.with_file_name("other");
        let error = write(&target, &state).unwrap_err();
        assert!(matches!(error, CheckpointError::InvalidName { .. }), "{name:?}: {error}");
        assert!(!target.exists());
        assert!(read_component(&path, name).is_err());
    }
}

#[test]
fn claimed_sizes_allocate_nothing() {
    let (_dir, path) = saved(&example());
    forge(&path.join("manifest.json"), |value| value["files"][0]["bytes"] = json!(u64::MAX));
    let error = read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::SizeMismatch { expected: u64::MAX, .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn symbolic_links_inside_are_refused_and_outside_followed() {
    use std::os::unix::fs::symlink;

    let (dir, path) = saved(&example());
    let link = dir.path().join("latest");
    symlink(&path, &link).unwrap();
    assert_eq!(read(&link).unwrap(), example());
    assert!(matches!(write(&link, &example()), Err(CheckpointError::Occupied { .. })));

    for (name, expected) in
        [("state.json", "file"), ("manifest.json", "file"), ("learner", "directory")]
    {
        let (dir, path) = saved(&example());
        let moved = dir.path().join("moved");
        fs::rename(path.join(name), &moved).unwrap();
        symlink(&moved, path.join(name)).unwrap();
        match read(&path).unwrap_err() {
            CheckpointError::Irregular { path: found, expected: what } => {
                assert_eq!((found, what), (path.join(name), expected));
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_but_a_checkpoint_is_saved_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = write(&file, &example()).unwrap_err();
    assert!(matches!(error, CheckpointError::Occupied { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let error = write(dir.path(), &example()).unwrap_err();
    assert!(error.to_string().contains("holds no checkpoint"), "{error}");
    assert!(file.exists());

    let path = dir.path().join("checkpoint");
    write(&path, &example()).unwrap();
    let notes = path.join("learner/notes.txt");
    fs::write(&notes, "precious").unwrap();
    assert_eq!(read(&path).unwrap(), example(), "extra files are ignored by readers");
    let error = write(&path, &State::new()).unwrap_err();
    assert!(matches!(error, CheckpointError::Occupied { .. }), "{error}");
    assert_names(&error, &notes);
    assert_eq!(read(&path).unwrap(), example());

    fs::create_dir(dir.path().join("empty")).unwrap();
    write(dir.path().join("empty"), &example()).unwrap();
    for path in ["", "/", ".."] {
        assert!(
            matches!(write(path, &example()), Err(CheckpointError::InvalidPath { .. })),
            "{path}"
        );
    }
}

#[test]
fn a_component_can_be_read_alone() {
    let (_dir, path) = saved(&example());
    let policy = example().component(POLICY).unwrap().clone();
    assert_eq!(read_component(&path, POLICY).unwrap(), policy);
    assert_eq!(read(path.join(POLICY)).unwrap(), policy);

    let elsewhere = tempfile::tempdir().unwrap();
    copy(&path.join(POLICY), &elsewhere.path().join("policy"));
    assert_eq!(read(elsewhere.path().join("policy")).unwrap(), policy);

    // Damage elsewhere in the checkpoint does not affect the component.
    fs::write(path.join("state.json"), "damaged").unwrap();
    fs::remove_dir_all(path.join("metrics")).unwrap();
    assert_eq!(read_component(&path, POLICY).unwrap(), policy);

    let error = read_component(&path, "learner/rl_module/p1").unwrap_err();
    assert!(error.to_string().ends_with("it has default_policy"), "{error}");
}

#[test]
fn equal_states_give_equal_bytes() {
    let (_dirs, paths): (Vec<_>, Vec<_>) = (0..3).map(|_| saved(&example())).unzip();
    write(&paths[2], &example()).unwrap();
    let bytes = |path: &Path| -> Vec<_> {
        let name = |file: &Path| file.strip_prefix(path).unwrap().to_path_buf();
        files(path).iter().map(|file| (name(file), fs::read(file).unwrap())).collect()
    };
    assert_eq!(bytes(&paths[0]), bytes(&paths[1]));
    assert_eq!(bytes(&paths[0]), bytes(&paths[2]));
    assert_eq!(bytes(&paths[0]).len(), 9);
}

/// A way to damage a file.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite(prop::sample::Index, Vec<u8>),
    Truncate(prop::sample::Index),
    Replace(Vec<u8>),
    Swap(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..64);
    prop_oneof![
        (any::<prop::sample::Index>(), bytes())
            .prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        any::<prop::sample::Index>().prop_map(Damage::Truncate),
        bytes().prop_map(Damage::Replace),
        any::<prop::sample::Index>().prop_map(Damage::Swap),
    ]
}

/// One checkpoint is damaged thousands of times and repaired in between. Saving it each time would
/// spend the test's time in `fsync`.
///
/// Swaps can replace all files of the root with a component's. The root is then a complete
/// checkpoint of that component.
#[test]
fn random_damage_is_an_error_and_never_a_panic() {
    let (_dir, path) = saved(&example());
    let originals: Vec<_> = files(&path).into_iter().map(|f| (fs::read(&f).unwrap(), f)).collect();
    let parts = ["learner", "learner/rl_module", POLICY, "metrics"];
    let parts = parts.map(|name| example().component(name).unwrap().clone());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) };
    let cases = prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4);
    proptest!(config, |(cases in cases)| {
        for (file, damage) in cases {
            let (bytes, file) = &originals[file.index(originals.len())];
            let mut changed = bytes.clone();
            match damage {
                Damage::Overwrite(at, new) => {
                    let at = at.index(bytes.len());
                    let end = bytes.len().min(at + new.len());
                    changed[at..end].copy_from_slice(&new[..end - at]);
                }
                Damage::Truncate(at) => changed.truncate(at.index(bytes.len())),
                Damage::Replace(new) => changed = new,
                Damage::Swap(other) => changed = originals[other.index(originals.len())].0.clone(),
            }
            fs::write(file, changed).unwrap();
        }
        let whole = originals.iter().all(|(bytes, file)| fs::read(file).unwrap() == *bytes);
        let result = read(&path);
        for (bytes, file) in &originals {
            fs::write(file, bytes).unwrap();
        }
        let as_expected = match result {
            Err(_) => !whole,
            Ok(state) if whole => state == example(),
            Ok(state) => parts.contains(&state),
        };
        prop_assert!(as_expected);
    });
}
