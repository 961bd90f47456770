//! Folders of runs and their checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle::algorithms::checkpoint_of_run;
pub(crate) use rekindle::algorithms::is_run;
use rekindle::checkpoint;
use serde_json::Value;

use crate::error::{CliError, Result};

const CHECKPOINTS: &str = "checkpoints";
const MANIFEST: &str = "manifest.json";
pub(crate) const CONFIG: &str = "config.toml";

/// Returns the checkpoint at a path: a run's, or the path itself.
pub(crate) fn checkpoint_at(path: &Path, best: bool) -> Result<PathBuf> {
    if is_run(path) {
        return Ok(checkpoint_of_run(path, if best { "best" } else { "latest" })?);
    }
    if best {
        let message =
            format!("--best needs the folder of a run, and `{}` is not one", path.display());
        return Err(CliError::Usage(message));
    }
    if looks_like_checkpoint(path) {
        return Ok(path.to_owned());
    }
    Err(CliError::Failed(match path.exists() {
        true => format!(
            "`{}` is neither the folder of a run ({CONFIG}, {CHECKPOINTS}/) nor a checkpoint (manifest.json)",
            path.display()
        ),
        false => format!("`{}` does not exist", path.display()),
    }))
}

/// Whether there is a checkpoint, also one that cannot be read: reading says why, such as the format of a newer version.
fn looks_like_checkpoint(path: &Path) -> bool {
    checkpoint::exists(path) || path.join(MANIFEST).is_file()
}

/// Returns the manifest of a checkpoint.
pub(crate) fn manifest(checkpoint: &Path) -> Result<Value> {
    let path = checkpoint.join(MANIFEST);
    let bytes = fs::read(&path).map_err(CliError::io("read", &path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
}
