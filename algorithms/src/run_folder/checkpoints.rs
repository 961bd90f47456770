//! The checkpoints of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rekindle_checkpoint::Checkpointable;

use super::failed;
use crate::{Algorithm, Result};

const LATEST: &str = "latest";
const BEST: &str = "best";
const PREFIX: &str = "iteration-";

/// The directory with a run's checkpoints: `iteration-00000050`, …, and the links `latest` and `best`.
#[derive(Debug)]
pub(super) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

impl Checkpoints {
    pub(super) fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep }
    }

    /// Returns the checkpoint `latest`, `best`, or that of an iteration, or otherwise the names of all.
    pub(super) fn find(folder: &Path, which: &str) -> Result<PathBuf, Vec<String>> {
        let name = match which.parse::<u64>() {
            Ok(iteration) => name_of(iteration),
            Err(_) => which.to_owned(),
        };
        let path = folder.join(&name);
        let is_name = !name.contains(['/', '\\']) && name != "..";
        // Reading a checkpoint that is damaged or newer says why it cannot be read.
        if is_name && (rekindle_checkpoint::exists(&path) || path.join("manifest.json").is_file()) {
            return Ok(path);
        }
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        Err(names)
    }

    pub(super) fn latest(&self) -> PathBuf {
        self.folder.join(LATEST)
    }

    pub(super) fn best(&self) -> PathBuf {
        self.folder.join(BEST)
    }

    /// Saves the state, moves the links, and removes checkpoints that are no longer kept.
    pub(super) fn save(&self, algorithm: &Algorithm, is_best: bool) -> Result<PathBuf> {
        let name = name(algorithm);
        let path = self.folder.join(&name);
        algorithm.save_to_path(&path)?;
        link(&self.latest(), &name)?;
        if is_best {
            link(&self.best(), &name)?;
        }
        self.remove_old(algorithm.iteration());
        Ok(path)
    }

    /// Points the link `best` to the checkpoint of the current iteration, if there is one.
    pub(super) fn mark_best(&self, algorithm: &Algorithm) -> Result<()> {
        let name = name(algorithm);
        match self.folder.join(&name).exists() {
            true => link(&self.best(), &name),
            false => Ok(()),
        }
    }

    /// Removes all checkpoints but the latest ones and the best one. A checkpoint that cannot be removed stays.
    fn remove_old(&self, iteration: u64) {
        let best = fs::read_link(self.best()).ok();
        let mut saved: Vec<(u64, PathBuf)> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let number = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
                let is_best = best.as_deref() == Some(Path::new(&name));
                // Checkpoints of later iterations are left over from before a resume at an earlier iteration.
                (number <= iteration && !is_best).then(|| (number, entry.path()))
            })
            .collect();
        saved.sort();
        let number = saved.len().saturating_sub(self.keep);
        for (_, path) in saved.into_iter().take(number) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "an old checkpoint was not removed");
            }
        }
    }
}

/// Returns the name of the checkpoint of an iteration.
fn name(algorithm: &Algorithm) -> String {
    name_of(algorithm.iteration())
}

fn name_of(iteration: u64) -> String {
    format!("{PREFIX}{iteration:08}")
}

/// Points a link to a directory beside it. Readers find either the old or the new directory.
fn link(path: &Path, target: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let linked = match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, &temporary).and_then(|()| fs::rename(&temporary, path)),
    };
    linked.map_err(failed("write the link", path))
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(target, path)
}
