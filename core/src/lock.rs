//! Locks of files that one program writes at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Locks an open file until it is closed. Returns whether no other program has locked it. A file system without locks is a
/// warning.
///
/// # Errors
/// That of the operating system.
///
/// ```
/// use std::fs::File;
/// use rekindle_core::lock::try_lock;
///
/// let path = std::env::temp_dir().join(format!("rekindle-lock-{}", std::process::id()));
/// let (first, second) = (File::create(&path)?, File::create(&path)?);
/// assert!(try_lock(&first, &path)?);
/// assert!(!try_lock(&second, &path)?);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn try_lock(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(path = %path.display(), "file system without locks");
            Ok(true)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
