//! Recognizing and removing the directories of checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::is_absent;
use crate::error::{CheckpointError, Result};
use crate::manifest::MAX_DEPTH;
use crate::name::{MANIFEST_FILE, STATE_FILE, TENSORS_FILE, check_component};
use crate::reader::component_names;

/// An entry of a directory, classified by whether a save could have created it.
enum Entry {
    File(PathBuf),
    Component(PathBuf),
    Foreign(PathBuf),
}

/// Classifies the entries of a directory. A save creates regular files of three names, and directories with
/// the names of components. It creates no symbolic links, and none is followed.
fn entries(dir: &Path) -> Result<Vec<Entry>> {
    let classify = |entry: fs::DirEntry| {
        let (path, name, kind) = (entry.path(), entry.file_name(), entry.file_type()?);
        let name = name.to_str().unwrap_or_default();
        Ok(if kind.is_file() && [MANIFEST_FILE, STATE_FILE, TENSORS_FILE].contains(&name) {
            Entry::File(path)
        } else if kind.is_dir() && check_component(name).is_ok() {
            Entry::Component(path)
        } else {
            Entry::Foreign(path)
        })
    };
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.and_then(classify)).collect())
        .map_err(CheckpointError::io("list", dir))
}

/// Returns the first entry of a directory tree that no save would have created.
pub(super) fn find_foreign(dir: &Path) -> Result<Option<PathBuf>> {
    find_foreign_below(dir, MAX_DEPTH)
}

fn find_foreign_below(dir: &Path, levels: usize) -> Result<Option<PathBuf>> {
    for entry in entries(dir)? {
        let foreign = match (entry, levels.checked_sub(1)) {
            (Entry::File(_), _) => None,
            (Entry::Component(path), Some(levels)) => find_foreign_below(&path, levels)?,
            (Entry::Component(path) | Entry::Foreign(path), _) => Some(path),
        };
        if foreign.is_some() {
            return Ok(foreign);
        }
    }
    Ok(None)
}

/// Returns the first directory in the tree of a checkpoint that its manifests do not list: another
/// checkpoint that lies in it.
pub(super) fn find_unlisted(dir: &Path) -> Result<Option<PathBuf>> {
    find_unlisted_below(dir, MAX_DEPTH)
}

fn find_unlisted_below(dir: &Path, levels: usize) -> Result<Option<PathBuf>> {
    let listed = component_names(dir)?;
    for entry in entries(dir)? {
        let Entry::Component(path) = entry else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(levels) = levels.checked_sub(1).filter(|_| listed.iter().any(|l| l == name))
        else {
            return Ok(Some(path));
        };
        if let Some(path) = find_unlisted_below(&path, levels)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Removes a directory that a save has created.
///
/// # Errors
/// [`CheckpointError::Occupied`] if it contains anything else; then nothing is removed.
pub(super) fn remove(dir: &Path) -> Result<()> {
    if let Some(path) = find_foreign(dir)? {
        let reason = "it is not part of the checkpoint that is to be removed".to_owned();
        return Err(CheckpointError::Occupied { path, reason });
    }
    // The manifest first, so that a half-removed directory is not taken for a checkpoint.
    let manifest = dir.join(MANIFEST_FILE);
    match fs::remove_file(&manifest) {
        Err(error) if !is_absent(&error) => Err(CheckpointError::io("remove", &manifest)(error)),
        _ => remove_ours(dir),
    }
}

/// Removes files and directories of a checkpoint. Unlike `remove_dir_all` this keeps a foreign file that has
/// appeared since the check, and its parent directories.
fn remove_ours(dir: &Path) -> Result<()> {
    for entry in entries(dir)? {
        match entry {
            Entry::Component(path) => remove_ours(&path)?,
            Entry::File(path) => {
                fs::remove_file(&path).map_err(CheckpointError::io("remove", &path))?;
            }
            Entry::Foreign(_) => {}
        }
    }
    fs::remove_dir(dir).map_err(CheckpointError::io("remove", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_files_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("checkpoint");
        fs::create_dir_all(dir.join("learner/rl_module")).unwrap();
        fs::write(dir.join("manifest.json"), "").unwrap();
        fs::write(dir.join("learner/rl_module/state.json"), "").unwrap();

        let notes = dir.join("learner/notes.txt");
        fs::write(&notes, "precious").unwrap();
        assert_eq!(find_foreign(&dir).unwrap(), Some(notes.clone()));
        assert!(
            matches!(remove(&dir), Err(CheckpointError::Occupied { path, .. }) if path == notes)
        );
        assert!(dir.join("manifest.json").exists());

        fs::remove_file(&notes).unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_ours() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("checkpoint");
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(root.path(), dir.join("learner")).unwrap();
        assert!(matches!(remove(&dir), Err(CheckpointError::Occupied { .. })));
    }
}
