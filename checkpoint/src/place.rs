//! The directory that holds a checkpoint, also while a save replaces it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{is_absent, regular_file_len};
use crate::lock::is_same;
use crate::name::MANIFEST_FILE;

/// A directory that may hold a checkpoint, and its manifest, which tells it from its successor.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    /// Kept open only for comparison.
    manifest: Option<File>,
}

impl Place {
    pub(super) fn find(path: &Path) -> Self {
        let dir = resolve(path);
        let manifest = dir.join(MANIFEST_FILE);
        let manifest = regular_file_len(&manifest).ok().and_then(|_| File::open(manifest).ok());
        Self { dir, manifest }
    }

    /// Returns the directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the checkpoint at `path` is still the one that was found.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        let manifest = self.dir.join(MANIFEST_FILE);
        resolve(path) == self.dir
            && match &self.manifest {
                Some(file) => is_same(file, &manifest),
                None => regular_file_len(&manifest).is_err(),
            }
    }
}

/// Returns the path, or the same path within the previous checkpoint if a save was interrupted in
/// the middle of its swap.
pub(super) fn resolve(path: &Path) -> PathBuf {
    // Also from an empty directory: scripts create the directory before they look into it.
    let is_vacant = |path: &&Path| is_vacant(path).unwrap_or(false);
    for ancestor in path.ancestors().take_while(is_vacant) {
        let previous = previous(ancestor).filter(|previous| previous.join(MANIFEST_FILE).is_file());
        if let (Some(previous), Ok(rest)) = (previous, path.strip_prefix(ancestor)) {
            return previous.join(rest);
        }
    }
    path.to_path_buf()
}

/// Returns the path of the old checkpoint during a swap, or `None` for paths without a name.
pub(super) fn previous(path: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(".previous");
    Some(path.with_file_name(name))
}

/// Whether there is nothing at the path or an empty directory.
pub(super) fn is_vacant(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(fs::read_dir(path)?.next().is_none()),
        Ok(_) => Ok(false),
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(error),
    }
}
