//! Kills processes in the middle of saves, and reads the files that remain.
#![allow(clippy::unwrap_used)]

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rekindle_checkpoint::{Array, CheckpointError, State, exists, read, read_component, write};

const PATH_VARIABLE: &str = "REKINDLE_TEST_CHECKPOINT_PATH";
const VERSION_VARIABLE: &str = "REKINDLE_TEST_CHECKPOINT_VERSION";

/// A tree in which every part records the version.
fn versioned(version: u32) -> State {
    let part = |len: usize| {
        let tensor = Array::from(vec![version as f32; len]);
        State::from_data(&version).unwrap().with_tensor("w", tensor)
    };
    let modules = part(1).with_component("p0", part(1000)).with_component("p1", part(3));
    part(10).with_component("learner", part(100).with_component("rl_module", modules))
}

fn version(state: &State) -> u32 {
    let version = state.data_as().unwrap();
    assert_eq!(state, &versioned(version), "parts of several versions");
    version
}

/// What is in a directory; temporary names are cut to `.tmp`.
fn entries(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        name.split_once(".tmp-").map_or(name.clone(), |(name, _)| format!("{name}.tmp"))
    };
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// The checkpoint and nothing else; on Windows the lock file stays.
fn assert_only(dir: &Path, name: &str) {
    let mut names = entries(dir);
    names.retain(|name| cfg!(unix) || !name.ends_with(".lock"));
    assert_eq!(names, [name]);
}

/// Not a test: the process that `kill_during_save` starts and kills.
#[test]
#[ignore = "the child process of `kill_during_save`, which starts it in every test run"]
fn child_writer() {
    let (Ok(path), Ok(version)) = (std::env::var(PATH_VARIABLE), std::env::var(VERSION_VARIABLE))
    else {
        return;
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    for version in version.parse::<u32>().unwrap().. {
        write(&path, &versioned(version)).unwrap();
        writeln!(std::io::stdout(), "saved {version}").unwrap();
        if Instant::now() > deadline {
            return;
        }
    }
}

/// Kills the process if the test fails before it does.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Writer {
    fn start(path: &Path, first_version: u32) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["child_writer", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PATH_VARIABLE, path)
            .env(VERSION_VARIABLE, first_version.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits for the first save, kills the process `delay` later, and returns the last version
    /// that it reported.
    fn kill_after(mut self, delay: Duration) -> u32 {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut versions = lines.filter_map(|line| {
            // The test harness prints its own text on the first of these lines.
            line.unwrap().split_once("saved ").map(|(_, version)| version.parse().unwrap())
        });
        let first = versions.next().unwrap();
        std::thread::sleep(delay);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        versions.last().unwrap_or(first)
    }
}

#[test]
fn kill_during_save() {
    const KILLS: u32 = 100;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let (mut next, mut unfinished, mut swapping) = (0, 0, 0);
    for kill in 0..KILLS {
        let random = RandomState::new().build_hasher().finish();
        let reported =
            Writer::start(&path, next).kill_after(Duration::from_micros(random % 20_000));

        let left = entries(dir.path());
        unfinished += u32::from(left.iter().any(|name| name == ".checkpoint.tmp"));
        swapping += u32::from(left.iter().any(|name| name == ".checkpoint.previous"));

        let found = version(&read(&path).unwrap_or_else(|e| panic!("kill {kill}: {e}, {left:?}")));
        assert!(found == reported || found == reported + 1, "{found} after {reported}, {left:?}");
        let module = read_component(&path, "learner/rl_module").unwrap();
        assert_eq!(module.data_as::<u32>().unwrap(), found);
        next = found + 1;
    }
    println!("{KILLS} kills: {unfinished} left an unfinished save, {swapping} an unfinished swap");
    assert!(unfinished + swapping >= KILLS / 10, "too few kills hit a save");

    write(&path, &versioned(next)).unwrap();
    assert_eq!(version(&read(&path).unwrap()), next);
    assert_only(dir.path(), "checkpoint");
}

/// Every state of the parent directory that the steps of a save go through, made by hand.
struct Crash {
    what: &'static str,
    old: Option<&'static str>,
    new: Option<&'static str>,
    found: Option<u32>,
}

#[test]
fn every_step_of_a_save_can_be_the_last() {
    const PATH: &str = "checkpoint";
    const TEMPORARY: &str = ".checkpoint.tmp-1-0";
    const PREVIOUS: &str = ".checkpoint.previous";
    let crashes = [
        Crash { what: "first save, not yet swapped", old: None, new: Some(TEMPORARY), found: None },
        Crash { what: "not yet swapped", old: Some(PATH), new: Some(TEMPORARY), found: Some(1) },
        Crash { what: "half-way", old: Some(PREVIOUS), new: Some(TEMPORARY), found: Some(1) },
        Crash { what: "half-way, rolled back", old: Some(PREVIOUS), new: None, found: Some(1) },
        Crash { what: "swapped", old: Some(PREVIOUS), new: Some(PATH), found: Some(2) },
        Crash { what: "done", old: None, new: Some(PATH), found: Some(2) },
    ];
    for Crash { what, old, new, found } in crashes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PATH);
        for (version, name) in [(1, old), (2, new)] {
            if let Some(name) = name {
                write(dir.path().join("saved"), &versioned(version)).unwrap();
                fs::rename(dir.path().join("saved"), dir.path().join(name)).unwrap();
            }
        }

        assert_eq!(exists(&path), found.is_some(), "{what}");
        match found {
            None => assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })), "{what}"),
            Some(found) => {
                assert_eq!(version(&read(&path).unwrap()), found, "{what}");
                let module = path.join("learner/rl_module");
                assert_eq!(read(module).unwrap().data_as::<u32>().unwrap(), found, "{what}");
            }
        }

        write(&path, &versioned(3)).unwrap();
        assert_eq!(version(&read(&path).unwrap()), 3, "{what}");
        assert_only(dir.path(), PATH);
    }
}

/// A save that dies while it clears `previous` away leaves it without a manifest.
#[test]
fn a_half_removed_previous_checkpoint_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let (path, previous) = (dir.path().join("c"), dir.path().join(".c.previous"));
    write(&previous, &versioned(1)).unwrap();
    fs::remove_file(previous.join("manifest.json")).unwrap();
    assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })));
    write(&path, &versioned(2)).unwrap();
    assert_eq!(version(&read(&path).unwrap()), 2);
    assert!(!previous.exists());
}

/// Scripts create the directory before they look for a checkpoint in it.
#[test]
fn an_empty_directory_does_not_hide_the_previous_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (path, previous) = (dir.path().join("c"), dir.path().join(".c.previous"));
    write(&previous, &versioned(1)).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(version(&read(&path).unwrap()), 1);

    fs::write(path.join("notes.txt"), "precious").unwrap();
    assert!(matches!(write(&path, &versioned(2)), Err(CheckpointError::Occupied { .. })));
    assert_eq!(version(&read(&previous).unwrap()), 1, "the only copy is kept");

    fs::remove_file(path.join("notes.txt")).unwrap();
    write(&path, &versioned(2)).unwrap();
    assert_eq!(version(&read(&path).unwrap()), 2);
    assert_only(dir.path(), "c");
}

#[test]
fn foreign_directories_with_our_names_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    let kept = [".c.tmp-1-2/notes.txt", ".c.tmp-mine/state.json", ".cc.tmp-1-2/state.json"];
    for name in kept {
        let file: PathBuf = dir.path().join(name);
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(file, "precious").unwrap();
    }
    write(&path, &versioned(1)).unwrap();
    for name in kept {
        assert!(dir.path().join(name).exists(), "{name}");
    }

    let previous = dir.path().join(".c.previous");
    fs::create_dir(&previous).unwrap();
    fs::write(previous.join("notes.txt"), "precious").unwrap();
    let error = write(&path, &versioned(2)).unwrap_err();
    assert!(matches!(error, CheckpointError::Occupied { .. }), "{error}");
    assert!(previous.join("notes.txt").exists());
    assert_eq!(version(&read(&path).unwrap()), 1);
}

#[test]
fn a_reader_sees_only_whole_checkpoints_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    write(&path, &versioned(0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..=200).for_each(|v| write(&path, &versioned(v)).unwrap()));
        let mut last = 0;
        while !writer.is_finished() {
            let found = version(&read(&path).unwrap());
            assert!(found >= last);
            last = found;
        }
    });
    assert_eq!(version(&read(&path).unwrap()), 200);
}

#[test]
fn writers_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/parents/checkpoint");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                (0..25).for_each(|v| write(path, &versioned(100 * writer + v)).unwrap());
            });
        }
    });
    assert_eq!(version(&read(&path).unwrap()) % 100, 24);
    assert_only(path.parent().unwrap(), "checkpoint");
}
