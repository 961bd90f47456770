//! Saving.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::atomic_swap::{Target, sync_dir};
use crate::digest::{Digest, HashingWriter};
use crate::error::{CheckpointError, Result};
use crate::manifest::{ComponentEntry, FileEntry, FileName, MAX_HEADER_BYTES, Manifest};
use crate::name::MANIFEST_FILE;
use crate::state::State;
use crate::{json, tensor_file};

/// Saves a state to a directory and replaces the checkpoint there.
///
/// At every moment, and after a crash at any moment, [`read()`](super::read()) finds the complete old or new
/// checkpoint; the [crate documentation](super) lists the conditions. After `Ok` the new one is on the disk.
/// Equal states give equal bytes. Missing parent directories are created.
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
    write_component(staging.dir(), state)?;
    staging.commit()
}

/// Writes a component into an empty directory and returns the digest of its manifest.
///
/// The manifest is written last, so a directory with a manifest is complete.
fn write_component(dir: &Path, state: &State) -> Result<Digest> {
    let mut components = Vec::with_capacity(state.components.len());
    for (name, component) in &state.components {
        let child = dir.join(name);
        fs::create_dir(&child).map_err(CheckpointError::io("create", &child))?;
        let sha256 = write_component(&child, component)?;
        components.push(ComponentEntry { name: name.clone(), sha256 });
    }

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
