//! Saves on a difficult file system: full disks, read-only and removed directories, two writers.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle_checkpoint::{Array, CheckpointError, State, read, write};

const PATH: &str = "REKINDLE_TEST_CHECKPOINT_PATH";

fn state(version: u32, elements: usize) -> State {
    let tensor = Array::from(vec![version as f32; elements]);
    State::from_data(&version)
        .unwrap()
        .with_component("learner", State::new().with_tensor("w", tensor))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Saves a checkpoint of 4 MiB over the one at the path, which must fail. Runs in a separate
/// process, whose limits and user the tests below choose.
#[test]
#[ignore = "the child process of the tests below, which start it in every test run"]
fn child_writer() {
    let Ok(path) = std::env::var(PATH) else { return };
    let error = write(&path, &state(2, 1 << 20)).unwrap_err();
    let CheckpointError::Io { action, .. } = &error else { panic!("{error}") };
    assert!(["write", "create"].contains(action), "{error}");
    println!("refused: {error}");
}

fn child(path: &Path, shell: Option<&str>) -> Command {
    let exe = std::env::current_exe().unwrap();
    let arguments = ["child_writer", "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = match shell {
        Some(limits) => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\"")).arg(exe);
            command
        }
        None => Command::new(exe),
    };
    command.args(arguments).env(PATH, path);
    command
}

fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("refused: "), "{text}");
    text
}

fn saved(dir: &Path) -> PathBuf {
    let path = dir.join("checkpoint");
    write(&path, &state(1, 10)).unwrap();
    path
}

/// A limit on the size of files stands in for a full disk: the write of the tensors fails half-way.
#[test]
fn a_disk_that_fills_up_leaves_the_old_checkpoint_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = saved(dir.path());
    let text = refused(child(&path, Some("trap '' XFSZ; ulimit -f 64")));
    assert!(text.contains("tensors.safetensors"), "{text}");
    assert_eq!(read(&path).unwrap(), state(1, 10));
    assert_eq!(names(dir.path()), ["checkpoint"]);
    // With room again, the next save succeeds.
    write(&path, &state(3, 1 << 20)).unwrap();
    assert_eq!(read(&path).unwrap(), state(3, 1 << 20));
}

#[test]
fn a_read_only_folder_leaves_the_old_checkpoint_and_names_what_was_refused() {
    /// The user `nobody` of every Unix: permissions do not bind the superuser.
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = saved(dir.path());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = child(&path, None);
    if fs::File::create(dir.path().join("probe")).is_ok() {
        fs::remove_file(dir.path().join("probe")).unwrap();
        command.uid(NOBODY);
    }
    let text = refused(command);
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(read(&path).unwrap(), state(1, 10));
    assert_eq!(names(dir.path()), ["checkpoint"]);
}

#[test]
fn a_removed_folder_is_made_again_and_a_file_in_its_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    let path = runs.join("checkpoint");
    write(&path, &state(1, 10)).unwrap();
    fs::remove_dir_all(&runs).unwrap();
    assert!(matches!(read(&path), Err(CheckpointError::NotFound { .. })));
    write(&path, &state(2, 10)).unwrap();
    assert_eq!(read(&path).unwrap(), state(2, 10));

    fs::remove_dir_all(&runs).unwrap();
    fs::write(&runs, "notes").unwrap();
    let error = write(&path, &state(3, 10)).unwrap_err();
    assert!(error.to_string().contains("runs"), "{error}");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "notes");
}

#[test]
fn two_writers_take_turns_and_readers_see_one_of_them_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = saved(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = &path;
            scope.spawn(move || {
                for save in 0..20 {
                    write(path, &state(2 * save + writer, 1000)).unwrap();
                }
            });
        }
        for _ in 0..40 {
            let found = read(&path).unwrap();
            let version: u32 = found.data_as().unwrap();
            assert!(found == state(version, 1000) || found == state(1, 10));
        }
    });
    assert_eq!(names(dir.path()), ["checkpoint"]);
}
