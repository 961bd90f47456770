//! The lock that lets one save at a time write to a path.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{CheckpointError, Result};

/// An exclusive advisory lock on a file, held by at most one save on this machine.
///
/// The operating system releases it when the process dies, so a crash never leaves it locked.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// `None` where the file system has no locks.
    file: Option<File>,
}

impl Lock {
    /// Waits until no other save holds the lock.
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        loop {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(CheckpointError::io("create", path))?;
            match file.lock() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    tracing::warn!(path = %path.display(), "file system without locks");
                    return Ok(Self { path: path.to_path_buf(), file: None });
                }
                Err(error) => return Err(CheckpointError::io("lock", path)(error)),
            }
            // The previous holder has removed its lock file. If that file was locked here, a third save may
            // lock a new file of the same name.
            if is_same(&file, path) {
                return Ok(Self { path: path.to_path_buf(), file: Some(file) });
            }
        }
    }

    /// Whether no other save can be running.
    pub(super) fn is_exclusive(&self) -> bool {
        self.file.is_some()
    }
}

impl Drop for Lock {
    /// Removes the file while it is still locked, unless it has contents, which no save writes.
    ///
    /// On Windows the file always remains, because one cannot find out there which file was locked.
    fn drop(&mut self) {
        let is_empty = |file: &File| file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if cfg!(unix) && self.file.as_ref().is_some_and(is_empty) {
            // A remaining file is harmless: the next save locks it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the file at the path is the open one.
#[cfg(unix)]
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), fs::metadata(path)) {
        // Exact: the inode number of an open file is not used again.
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Whether the file at the path is the open one, judged by the time of its last change.
#[cfg(not(unix))]
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    let modified = |metadata: io::Result<fs::Metadata>| metadata.and_then(|m| m.modified()).ok();
    modified(file.metadata()) == modified(fs::metadata(path))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn only_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holders = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _lock = Lock::acquire(&path).unwrap();
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(path.exists(), cfg!(not(unix)));
    }
}
