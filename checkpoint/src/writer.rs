//! Saving.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use crate::atomic_swap::{Target, sync_dir};
use crate::digest::{Digest, HashingWriter};
use crate::error::{CheckpointError, Result};
use crate::manifest::{ComponentEntry, FileEntry, FileName, MAX_HEADER_BYTES, Manifest};
use crate::name::MANIFEST_FILE;
use crate::shard::{Saved, Shard};
use crate::state::State;
use crate::{json, tensor_file};

/// Saves a state to a directory and replaces the checkpoint there.
///
/// At every moment, and after a crash at any moment, [`read()`](super::read()) finds the complete old or new
/// checkpoint; the [crate documentation](super) lists the conditions. After `Ok` the new one is on the disk.
/// Equal states with the same shards give equal bytes. Missing parent directories are created.
///
/// # Errors
/// * [`CheckpointError::InvalidName`], [`LimitExceeded`](CheckpointError::LimitExceeded) or
///   [`Unrepresentable`](CheckpointError::Unrepresentable): the state does not fit the format.
/// * [`CheckpointError::Occupied`]: there is something at `path` that no save has created.
/// * [`CheckpointError::InvalidPath`]: `path` does not end in the name of a directory.
/// * [`CheckpointError::Io`]: the file system refused an operation. The old checkpoint is still in place,
///   unless the last step failed, the `sync` of the parent directory: then the new one is in place but may
///   not survive a power cut.
pub fn write(path: impl AsRef<Path>, state: &State) -> Result<()> {
    state.check()?;
    let target = Target::open(path.as_ref())?;
    let staging = target.stage()?;
    // Shards are recorded where they are going to be. Without an absolute path they are not recorded.
    let path = absolute(path.as_ref()).ok();
    let mut recorder = Recorder { staged: staging.dir().to_path_buf(), path, saved: Vec::new() };
    write_component(staging.dir(), state, &mut recorder)?;
    let saved = recorder.saved;
    staging.commit()?;
    for (shard, saved) in saved {
        if let Some(record) = shard.save_record() {
            record.set(saved);
        }
    }
    Ok(())
}

/// The shards that a save has written or linked, to be recorded once it has succeeded.
struct Recorder {
    staged: PathBuf,
    path: Option<PathBuf>,
    saved: Vec<(Arc<dyn Shard>, Saved)>,
}

impl Recorder {
    /// Returns the final place of a directory that is being written.
    fn final_place(&self, dir: &Path) -> Option<PathBuf> {
        Some(self.path.as_ref()?.join(dir.strip_prefix(&self.staged).ok()?))
    }
}

/// Writes a component into an empty directory and returns the digest of its manifest.
///
/// The manifest is written last, so a directory with a manifest is complete.
fn write_component(dir: &Path, state: &State, recorder: &mut Recorder) -> Result<Digest> {
    let mut components = Vec::with_capacity(state.components.len() + state.shards.len());
    let create = |name: &str| {
        let child = dir.join(name);
        fs::create_dir(&child).map_err(CheckpointError::io("create", &child))?;
        Ok(child)
    };
    for (name, component) in &state.components {
        let sha256 = write_component(&create(name)?, component, recorder)?;
        components.push(ComponentEntry { name: name.clone(), sha256, shard: false });
    }
    for (name, shard) in &state.shards {
        let sha256 = write_shard(&create(name)?, shard, recorder)?;
        components.push(ComponentEntry { name: name.clone(), sha256, shard: true });
    }
    components.sort_by(|a, b| a.name.cmp(&b.name));

    let mut files = Vec::new();
    if !state.data.is_null() {
        files.push(write_file(dir, FileName::State, |path, output| {
            json::encode(&state.data, output).map_err(|error| match error.io_error_kind() {
                Some(_) => CheckpointError::io("write", path)(error.into()),
                None => CheckpointError::Unrepresentable {
                    type_name: "serde_json::Value",
                    reason: error.to_string(),
                },
            })
        })?);
    }
    if !state.tensors.is_empty() {
        files.push(write_file(dir, FileName::Tensors, |path, output| {
            tensor_file::encode(path, &state.tensors, output)
        })?);
    }

    let digest = write_manifest(&dir.join(MANIFEST_FILE), &Manifest::new(files, components))?;
    sync_dir(dir)?;
    Ok(digest)
}

/// Links the files of a shard that has not changed since it was saved, or writes them.
fn write_shard(dir: &Path, shard: &Arc<dyn Shard>, recorder: &mut Recorder) -> Result<Digest> {
    let place = recorder.final_place(dir);
    if let Some(saved) = shard.save_record().and_then(|record| record.get()) {
        match saved.link_into(dir) {
            Ok(sha256) => {
                sync_dir(dir)?;
                recorder.saved.extend(place.map(|place| (shard.clone(), saved.at(place))));
                return Ok(sha256);
            }
            Err(error) => tracing::debug!(%error, "wrote a shard that could not be linked"),
        }
    }
    let state = shard.get_state()?;
    state.check()?;
    let sha256 = write_component(dir, &state, recorder)?;
    if let Some(place) = place
        && shard.save_record().is_some()
        && state.components.is_empty()
        && state.shards.is_empty()
    {
        let has_data = (!state.data.is_null()).then_some(FileName::State);
        let has_tensors = (!state.tensors.is_empty()).then_some(FileName::Tensors);
        let files = has_data.into_iter().chain(has_tensors).map(FileName::as_str);
        let files: Vec<_> = files.chain([MANIFEST_FILE]).collect();
        // A shard that is not recorded is written again.
        if let Ok(saved) = Saved::new(dir, place, sha256, &files) {
            recorder.saved.push((shard.clone(), saved));
        }
    }
    Ok(sha256)
}

fn write_file(
    dir: &Path,
    name: FileName,
    encode: impl FnOnce(&Path, &mut HashingWriter) -> Result<()>,
) -> Result<FileEntry> {
    let path = dir.join(name.as_str());
    let mut file = HashingWriter::create(&path).map_err(CheckpointError::io("create", &path))?;
    encode(&path, &mut file)?;
    let (bytes, sha256) = file.finish().map_err(CheckpointError::io("write", &path))?;
    Ok(FileEntry { name, bytes, sha256 })
}

fn write_manifest(path: &Path, manifest: &Manifest) -> Result<Digest> {
    let bytes = manifest.encode().map_err(|e| CheckpointError::io("write", path)(e.into()))?;
    if bytes.len() > MAX_HEADER_BYTES {
        let what = "the list of a component's parts, in bytes";
        return Err(CheckpointError::LimitExceeded { what, limit: MAX_HEADER_BYTES });
    }
    let mut file = HashingWriter::create(path).map_err(CheckpointError::io("create", path))?;
    let written = file.write_all(&bytes).and_then(|()| file.finish());
    let (_, digest) = written.map_err(CheckpointError::io("write", path))?;
    Ok(digest)
}
