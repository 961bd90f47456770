//! Reading.

use std::fs;
use std::io::Read;
use std::path::{Path, absolute};
use std::sync::Arc;

use serde_json::Value;

use crate::digest::{Digest, HashingReader, is_absent, regular_file_len};
use crate::error::{CheckpointError, Result};
use crate::json;
use crate::manifest::{FileEntry, FileName, MAX_DEPTH, MAX_HEADER_BYTES, Manifest};
use crate::name::MANIFEST_FILE;
use crate::place::{Place, resolve};
use crate::shard::{ReadShard, Saved, Stamp};
use crate::state::State;
use crate::tensor_file;

/// Maximum number of times that a read restarts because a save has replaced the checkpoint.
const MAX_RESTARTS: usize = 100;

/// Reads the checkpoint at `path`, which may also be the directory of a component.
///
/// Every byte is checked against the digests of the manifests. Other files in the directories are ignored.
///
/// # Errors
/// [`CheckpointError::NotFound`] if there is no checkpoint. If a file is missing, damaged or unreadable, the
/// variant that describes it, with its path.
pub fn read(path: impl AsRef<Path>) -> Result<State> {
    settle(path.as_ref(), |dir| {
        let (manifest, _) = read_manifest(dir, None)?;
        Ok(read_state(dir, &manifest, MAX_DEPTH)?.0)
    })
}

/// Reads one component of the checkpoint at `path`, for example `learner/rl_module/default_policy`.
///
/// Of the other components only the manifests of the parents are read. Unlike [`read()`] of the component's
/// directory, this function checks that the component belongs to the checkpoint.
///
/// # Errors
/// As [`read()`], and [`CheckpointError::NoSuchComponent`] if the checkpoint has no component of that name.
pub fn read_component(path: impl AsRef<Path>, component: &str) -> Result<State> {
    settle(path.as_ref(), |dir| {
        let mut dir = dir.to_path_buf();
        let (mut manifest, _) = read_manifest(&dir, None)?;
        for name in component.split('/') {
            let entry = manifest.component(name).ok_or_else(|| {
                let names = manifest.components.iter().map(|entry| entry.name.clone());
                CheckpointError::NoSuchComponent {
                    name: name.to_owned(),
                    within: format!("`{}`", dir.display()),
                    available: names.collect(),
                }
            })?;
            dir.push(&entry.name);
            (manifest, _) = read_manifest(&dir, Some(entry.sha256))?;
        }
        Ok(read_state(&dir, &manifest, MAX_DEPTH)?.0)
    })
}

/// Reads the plain data of the checkpoint at `path`, without its tensors and components. Returns null if there is no
/// data.
///
/// # Errors
/// As [`read()`].
pub fn read_data(path: impl AsRef<Path>) -> Result<Value> {
    settle(path.as_ref(), |dir| {
        let (manifest, _) = read_manifest(dir, None)?;
        let entry = manifest.files.iter().find(|entry| matches!(entry.name, FileName::State));
        let Some(entry) = entry else { return Ok(Value::Null) };
        let path = dir.join(entry.name.as_str());
        read_data_file(&path, HashingReader::open(&path, entry.bytes)?, entry)
    })
}

/// Whether there is a checkpoint at `path` with a valid manifest. The other files are not checked.
#[must_use]
pub fn exists(path: impl AsRef<Path>) -> bool {
    settle(path.as_ref(), check_root).is_ok()
}

/// Checks that the directory has a valid manifest.
pub(super) fn check_root(dir: &Path) -> Result<()> {
    read_manifest(dir, None).map(|_| ())
}

/// Returns the names of the components in the manifest of a directory.
pub(super) fn component_names(dir: &Path) -> Result<Vec<String>> {
    let components = read_manifest(dir, None)?.0.components;
    Ok(components.into_iter().map(|entry| entry.name).collect())
}

/// Runs `attempt` on the directory that holds the checkpoint.
///
/// A save may replace that directory meanwhile, so that files are missing or belong to two checkpoints. An
/// error therefore counts only if the directory is still the same.
fn settle<T>(path: &Path, attempt: impl Fn(&Path) -> Result<T>) -> Result<T> {
    for _ in 0..MAX_RESTARTS {
        let place = Place::find(path);
        match attempt(place.dir()) {
            Err(error) if !place.is_current(path) => {
                tracing::debug!(%error, "the checkpoint was replaced while it was read");
            }
            result => return result,
        }
    }
    attempt(&resolve(path))
}

/// Reads a manifest and checks it against the digest in the parent's manifest, if there is one.
fn read_manifest(dir: &Path, expected: Option<Digest>) -> Result<(Manifest, Stamp)> {
    let path = dir.join(MANIFEST_FILE);
    if expected.is_some() {
        check_is_directory(dir)?;
    }
    let len = match regular_file_len(&path) {
        Err(CheckpointError::MissingFile { .. }) if expected.is_none() => {
            return Err(CheckpointError::NotFound { path: dir.to_path_buf() });
        }
        len => len?,
    };
    if len > MAX_HEADER_BYTES as u64 {
        let reason = format!("{len} bytes are more than a manifest may have");
        return Err(CheckpointError::malformed(&path, reason));
    }
    let mut bytes = Vec::new();
    let mut file = HashingReader::open(&path, len)?;
    let stamp = file.stamp()?;
    file.read_to_end(&mut bytes).map_err(CheckpointError::io("read", &path))?;
    if let Some(expected) = expected {
        file.finish(expected)?;
    }
    Ok((Manifest::decode(&path, &bytes)?, stamp))
}

/// Refuses symbolic links between the parts of a checkpoint; one may lead to the checkpoint itself.
fn check_is_directory(dir: &Path) -> Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(CheckpointError::Irregular { path: dir.to_path_buf(), expected: "directory" }),
        // The missing manifest is reported instead.
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(CheckpointError::io("read", dir)(error)),
    }
}

/// Stamps that distinguish the files of a component from files written later.
type Stamps = Vec<(&'static str, Stamp)>;

fn read_state(dir: &Path, manifest: &Manifest, levels: usize) -> Result<(State, Stamps)> {
    let (mut state, mut stamps) = (State::new(), Stamps::new());
    for entry in &manifest.files {
        let path = dir.join(entry.name.as_str());
        let mut file = HashingReader::open(&path, entry.bytes)?;
        // Take the stamps before the contents are read, so that a later change is noticed.
        stamps.push((entry.name.as_str(), file.stamp()?));
        match entry.name {
            FileName::State => state.data = read_data_file(&path, file, entry)?,
            FileName::Tensors => {
                let tensors = tensor_file::decode(&path, &mut file, entry.bytes);
                // Checked before `tensors`: a wrong digest explains any error in them.
                file.finish(entry.sha256)?;
                state.tensors = tensors?;
            }
        }
    }
    for entry in &manifest.components {
        let child = dir.join(&entry.name);
        let Some(levels) = levels.checked_sub(1) else {
            let reason = format!("it is more than {MAX_DEPTH} components deep");
            return Err(CheckpointError::malformed(&child, reason));
        };
        let (manifest, stamp) = read_manifest(&child, Some(entry.sha256))?;
        let (part, mut stamps) = read_state(&child, &manifest, levels)?;
        let name = entry.name.clone();
        // Only shards without parts are linked into later checkpoints.
        if entry.shard && part.components.is_empty() && part.shards.is_empty() {
            stamps.push((MANIFEST_FILE, stamp));
            let saved = absolute(&child).ok().map(|dir| Saved::of_read(dir, entry.sha256, stamps));
            state.shards.insert(name, Arc::new(ReadShard::new(part, saved)));
        } else {
            state.components.insert(name, part);
        }
    }
    Ok((state, stamps))
}

fn read_data_file(path: &Path, mut file: HashingReader, entry: &FileEntry) -> Result<Value> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(CheckpointError::io("read", path))?;
    file.finish(entry.sha256)?;
    json::decode(&bytes).map_err(|e| CheckpointError::malformed(path, e))
}
