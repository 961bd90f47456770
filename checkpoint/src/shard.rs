//! Shards: parts of a state that are built while they are written, and linked where they have not changed.

use std::fmt::Debug;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::digest::Digest;
use crate::error::Result;
use crate::state::State;

/// A part of a [`State`] that is built only while it is written.
///
/// A component that is too large to be in memory twice, such as a replay buffer, returns its data as shards. A
/// save builds one at a time. In the checkpoint, a shard is a component like any other, and reading returns it
/// as a shard again.
///
/// A shard that keeps a [`SaveRecord`] is written once. Later saves link its files into the new checkpoint, for
/// as long as the shard is the same and its files are on the same file system. No save ever changes a file that
/// it has written, so older checkpoints keep their contents.
pub trait Shard: Debug + Send + Sync {
    /// Returns the state of the shard: data and tensors. It is the same at every call.
    ///
    /// # Errors
    /// If the data does not fit into a [`State`].
    fn get_state(&self) -> Result<State>;

    /// Returns where the shard was last saved. Defaults to `None`: it is written at every save.
    fn save_record(&self) -> Option<&SaveRecord> {
        None
    }

    /// Returns the state, and where it was last saved. Defaults to [`get_state`](Self::get_state) and a copy of the
    /// record. A shard that was read from a checkpoint is moved instead if nothing else refers to it.
    ///
    /// # Errors
    /// As [`get_state`](Self::get_state).
    fn into_state(self: Arc<Self>) -> Result<(State, SaveRecord)> {
        let record = self.save_record().map(SaveRecord::same).unwrap_or_default();
        Ok((self.get_state()?, record))
    }
}

/// A shard that was read from a checkpoint.
#[derive(Debug)]
pub(super) struct ReadShard {
    state: State,
    record: SaveRecord,
}

impl ReadShard {
    pub(super) fn new(state: State, saved: Option<Saved>) -> Self {
        Self { state, record: SaveRecord(Mutex::new(saved)) }
    }
}

impl Shard for ReadShard {
    fn get_state(&self) -> Result<State> {
        Ok(self.state.clone())
    }

    fn save_record(&self) -> Option<&SaveRecord> {
        Some(&self.record)
    }

    fn into_state(self: Arc<Self>) -> Result<(State, SaveRecord)> {
        Ok(match Arc::try_unwrap(self) {
            Ok(Self { state, record }) => (state, record),
            Err(shared) => (shared.state.clone(), shared.record.same()),
        })
    }
}

/// Where a [`Shard`] was last saved.
///
/// A clone is empty: it belongs to a copy, which is going to change. An owner that changes its data in place
/// [clears](Self::clear) the record.
#[derive(Debug, Default)]
pub struct SaveRecord(Mutex<Option<Saved>>);

impl Clone for SaveRecord {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl SaveRecord {
    /// Forgets the last save, because the data has changed.
    pub fn clear(&mut self) {
        *self.0.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns a record of the same files, for an equal shard.
    fn same(&self) -> Self {
        Self(Mutex::new(self.get()))
    }

    pub(super) fn get(&self) -> Option<Saved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, saved: Saved) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
    }
}

/// The files of a saved shard.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    /// The directory, as an absolute path.
    dir: PathBuf,
    /// The digest of the manifest.
    sha256: Digest,
    files: Vec<(&'static str, Stamp)>,
}

impl Saved {
    /// Records the files that were written to a directory, which is going to be at `dir`.
    pub(super) fn new(
        written_to: &Path,
        dir: PathBuf,
        sha256: Digest,
        files: &[&'static str],
    ) -> io::Result<Self> {
        let files = files.iter().map(|name| Ok((*name, Stamp::at(&written_to.join(name))?)));
        Ok(Self { dir, sha256, files: files.collect::<io::Result<_>>()? })
    }

    /// Records files that were read from `dir`.
    pub(super) fn of_read(dir: PathBuf, sha256: Digest, files: Vec<(&'static str, Stamp)>) -> Self {
        Self { dir, sha256, files }
    }

    /// Links the files into an empty directory, and returns the digest of the manifest. If one is missing, was
    /// replaced or cannot be linked, the directory stays empty.
    pub(super) fn link_into(&self, dir: &Path) -> io::Result<Digest> {
        let link = |(name, stamp): &(&'static str, Stamp)| {
            let to = dir.join(name);
            fs::hard_link(self.dir.join(name), &to)?;
            match Stamp::at(&to)? == *stamp {
                true => Ok(()),
                false => Err(io::Error::other("the file was replaced or changed")),
            }
        };
        let linked = self.files.iter().try_for_each(link);
        if linked.is_err() {
            for (name, _) in &self.files {
                // Files that were not linked are not there.
                let _ = fs::remove_file(dir.join(name));
            }
        }
        linked.map(|()| self.sha256)
    }

    /// Returns the record of the same files, linked into another directory.
    pub(super) fn at(self, dir: PathBuf) -> Self {
        Self { dir, ..self }
    }
}

/// What tells a file from one that was written later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// The device and number of the file; `None` where there are none.
    inode: Option<(u64, u64)>,
}

impl Stamp {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        match metadata.is_file() {
            true => Ok(Self::of(&metadata)),
            false => Err(io::Error::other("it is not a regular file")),
        }
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok(), inode: inode(metadata) }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}
