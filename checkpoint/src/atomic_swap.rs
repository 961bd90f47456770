//! The atomic swap of a save: its target, and the exchange of the old checkpoint for the new one.
//!
//! Beside `<name>` a save uses `.<name>.tmp-<pid>-<n>` for the new checkpoint until it is
//! complete, `.<name>.previous` for the old one while the new one takes its place, and
//! `.<name>.lock`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::is_absent;
use crate::error::{CheckpointError, Result};
use crate::lock::Lock;
use crate::name::MANIFEST_FILE;
use crate::place::{is_vacant, previous};
use crate::{reader, tree};

/// The path of a save, locked against other saves.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    parent: PathBuf,
    name: String,
    previous: PathBuf,
    lock: Lock,
}

impl Target {
    /// Prepares a save to `path`: creates missing parents, waits for other saves to the same path, removes
    /// the remains of dead ones, and checks that the contents of the path may be replaced.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let invalid = |reason| CheckpointError::InvalidPath { path: path.to_path_buf(), reason };
        let name = path.file_name().ok_or_else(|| invalid("it does not end in a name"))?;
        let name = name.to_str().ok_or_else(|| invalid("its last part is not valid UTF-8"))?;
        let previous = previous(path).ok_or_else(|| invalid("it does not end in a name"))?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        check_outside(parent)?;
        create_dirs(parent)?;
        let lock = Lock::acquire(&parent.join(format!(".{name}.lock")))?;
        let target = Self {
            // Without a trailing slash, which would make a rename follow a symbolic link.
            path: parent.join(name),
            parent: parent.to_path_buf(),
            name: name.to_owned(),
            previous,
            lock,
        };
        // Before anything is removed: `previous` may be the only good copy.
        target.check_replaceable()?;
        target.recover()?;
        Ok(target)
    }

    /// Completes or undoes a save that died.
    fn recover(&self) -> Result<()> {
        let has_manifest = |dir: &Path| exists(&dir.join(MANIFEST_FILE));
        if exists(&self.previous)? {
            if has_manifest(&self.path)? {
                // The save died after the swap, but perhaps before the swap was on the disk.
                sync_dir(&self.parent)?;
                tree::remove(&self.previous)?;
            } else if has_manifest(&self.previous)? {
                if exists(&self.path)? {
                    // Another process has created an empty directory meanwhile.
                    fs::remove_dir(&self.path)
                        .map_err(CheckpointError::io("remove", &self.path))?;
                }
                rename(&self.previous, &self.path)?;
                sync_dir(&self.parent)?;
                self.check_replaceable()?;
            } else {
                // It was being removed, or was empty before the save.
                tree::remove(&self.previous)?;
            }
        }
        // Only the lock makes sure that a temporary directory belongs to a dead save.
        if self.lock.is_exclusive() {
            self.remove_stale()?;
        }
        Ok(())
    }

    /// Removes the temporary directories of dead saves, except those with foreign contents.
    fn remove_stale(&self) -> Result<()> {
        let cannot_list = || CheckpointError::io("list", &self.parent);
        for entry in fs::read_dir(&self.parent).map_err(cannot_list())? {
            let entry = entry.map_err(cannot_list())?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.file_name();
            if is_dir && name.to_str().is_some_and(|name| self.is_temporary(name)) {
                let path = entry.path();
                match tree::remove(&path) {
                    Ok(()) => tracing::info!(path = %path.display(), "removed an unfinished save"),
                    Err(error) => tracing::warn!(%error, "left an unfinished save in place"),
                }
            }
        }
        Ok(())
    }

    fn is_temporary(&self, name: &str) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        name.strip_prefix('.')
            .and_then(|name| name.strip_prefix(&self.name))
            .and_then(|name| name.strip_prefix(".tmp-"))
            .and_then(|numbers| numbers.split_once('-'))
            .is_some_and(|(pid, n)| is_number(pid) && is_number(n))
    }

    /// Checks that there is nothing at the path, or only an empty directory or an unaltered checkpoint.
    fn check_replaceable(&self) -> Result<()> {
        let occupied = |path: &Path, reason: &str| {
            Err(CheckpointError::Occupied { path: path.to_path_buf(), reason: reason.to_owned() })
        };
        if is_vacant(&self.path).map_err(CheckpointError::io("read", &self.path))? {
            return Ok(());
        }
        if !fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_dir()) {
            return occupied(&self.path, "it is a file or a symbolic link");
        }
        match reader::check_root(&self.path) {
            Ok(()) => {}
            Err(CheckpointError::NotFound { .. }) => {
                return occupied(&self.path, "it is a directory and holds no checkpoint");
            }
            Err(error) => return occupied(&self.path, &error.to_string()),
        }
        let not_ours = tree::find_foreign(&self.path)?;
        // Remove the component even if its manifest cannot be read.
        let not_ours = not_ours.or_else(|| tree::find_unlisted(&self.path).ok().flatten());
        match not_ours {
            None => Ok(()),
            Some(path) => occupied(&path, "it lies in the checkpoint but is not part of it"),
        }
    }

    /// Creates an empty directory beside the target.
    pub(super) fn stage(&self) -> Result<Staging<'_>> {
        static SAVES: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = SAVES.fetch_add(1, Ordering::Relaxed);
            let name = format!(".{}.tmp-{}-{n}", self.name, process::id());
            let dir = self.parent.join(name);
            match fs::create_dir(&dir) {
                Ok(()) => return Ok(Staging { target: self, dir, committed: false }),
                // It belongs to a dead process with the same id, or to another machine.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(CheckpointError::io("create", &dir)(error)),
            }
        }
    }
}

/// Checks that a directory is not part of a checkpoint, whose digests a save would invalidate.
fn check_outside(dir: &Path) -> Result<()> {
    let existing =
        dir.ancestors().map(|dir| if dir == Path::new("") { Path::new(".") } else { dir });
    // Without symbolic links and `..`, so that its ancestors are the directories that it is in.
    let Some(dir) = existing.into_iter().find_map(|dir| fs::canonicalize(dir).ok()) else {
        return Ok(());
    };
    for ancestor in dir.ancestors() {
        let found = reader::check_root(ancestor);
        if matches!(found, Ok(()) | Err(CheckpointError::UnsupportedVersion { .. })) {
            let path = ancestor.to_path_buf();
            let reason =
                "it is a checkpoint, and a save inside it would make it unreadable".to_owned();
            return Err(CheckpointError::Occupied { path, reason });
        }
    }
    Ok(())
}

/// A directory in which a checkpoint is built. Dropping it removes the directory unless it is committed.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    target: &'a Target,
    dir: PathBuf,
    committed: bool,
}

impl Staging<'_> {
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves the checkpoint, which must be complete and on the disk, to its path.
    pub(super) fn commit(mut self) -> Result<()> {
        let Target { path, parent, previous, .. } = self.target;
        // Directories cannot be exchanged portably, so for a moment there is nothing at `path`;
        // readers then turn to `previous`.
        let replaces = exists(path)?;
        if replaces {
            rename(path, previous)?;
        }
        if let Err(error) = rename(&self.dir, path) {
            if replaces {
                rename(previous, path)?;
            }
            return Err(error);
        }
        self.committed = true;
        sync_dir(parent)?;
        // The new checkpoint is in place. The next save removes what cannot be removed now.
        if replaces && let Err(error) = tree::remove(previous) {
            tracing::warn!(%error, "left the previous checkpoint in place");
        }
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = tree::remove(&self.dir)
        {
            tracing::warn!(%error, "left an unfinished save in place");
        }
    }
}

/// Makes the entries of a directory durable.
///
/// Windows cannot open directories to sync them. There a power cut may undo the last renames.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|file| file.sync_all());
        synced.map_err(CheckpointError::io("sync", dir))?;
    }
    Ok(())
}

/// Works like `create_dir_all`, but makes every new directory durable.
fn create_dirs(dir: &Path) -> Result<()> {
    if dir == Path::new("") || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Path::new(""));
    create_dirs(parent)?;
    match fs::create_dir(dir) {
        // Another save has created it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        result => result.map_err(CheckpointError::io("create", dir))?,
    }
    sync_dir(if parent == Path::new("") { Path::new(".") } else { parent })
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(CheckpointError::io("rename", from))
}

/// Whether there is anything at the path, including a dangling symbolic link.
fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(CheckpointError::io("read", path)(error)),
    }
}
