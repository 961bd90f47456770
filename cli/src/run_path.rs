//! Folders of runs and their checkpoints.

use std::path::{Path, PathBuf};

use rekindle::algorithms::checkpoint_of_run;
pub(crate) use rekindle::algorithms::is_run;
use rekindle::checkpoint;

use crate::error::{CliError, Result};

const CHECKPOINTS: &str = "checkpoints";
pub(crate) const CONFIG: &str = "config.toml";

/// Returns the checkpoint of a run: `latest`, `best`, or that of an iteration.
pub(crate) fn checkpoint_of(run: &Path, which: &str) -> Result<PathBuf> {
    Ok(checkpoint_of_run(run, which)?)
}

/// Returns the checkpoint at a path: a run's, or the path itself.
pub(crate) fn checkpoint_at(path: &Path, best: bool) -> Result<PathBuf> {
    if is_run(path) {
        return checkpoint_of(path, if best { "best" } else { "latest" });
    }
    if best {
        let message = format!("--best needs the folder of a run, and {} is none", path.display());
        return Err(CliError::Usage(message));
    }
    if checkpoint::exists(path) {
        return Ok(path.to_owned());
    }
    Err(CliError::Failed(match path.exists() {
        true => format!(
            "{} is neither the folder of a run ({CONFIG}, {CHECKPOINTS}/) nor a checkpoint (manifest.json)",
            path.display()
        ),
        false => format!("{} does not exist", path.display()),
    }))
}
