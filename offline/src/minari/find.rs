//! Finding datasets by the paths that people give.

use std::fs;
use std::path::{Path, PathBuf};

use super::hdf5;
use super::metadata::{FILE, read_json};
use crate::error::OfflineError;

/// Directories between a directory of all datasets and a dataset, at most: `mujoco/halfcheetah/medium-v0`.
const DEEPEST: usize = 4;

/// Directories that are searched for datasets, at most.
const MOST: usize = 1000;

/// Datasets that a message names, at most.
const NAMED: usize = 5;

/// Returns the directory with the metadata of the dataset at a path: the directory of the dataset, the directory `data`
/// in it, or the file with its metadata or with all of its episodes. `None` if there is no dataset.
pub(super) fn find(path: &Path) -> Option<PathBuf> {
    let is_whole = path.file_name().is_some_and(|name| name == FILE || name == hdf5::FILE);
    let folders = match path.parent() {
        Some(parent) if is_whole && path.is_file() => vec![folder(parent)],
        _ => vec![path.join("data"), path.to_owned()],
    };
    // An episode has metadata, too.
    folders.into_iter().find(|folder| has_metadata(folder) && !is_episode(folder))
}

/// Returns what to name instead of a path without a dataset: the dataset around it, or those below it. Also refuses files
/// of HDF5 without the metadata of a dataset.
pub(crate) fn hint(path: &Path) -> Option<OfflineError> {
    let absolute = fs::canonicalize(path).ok()?;
    if absolute.is_file()
        && path.extension().is_some_and(|ending| ending == "hdf5" || ending == "h5")
    {
        return Some(OfflineError::NoDataset { path: path.to_owned() });
    }
    // The file of an episode, or its directory.
    let around = absolute.ancestors().skip(1).take(2).find(|folder| {
        let is_inside = absolute.strip_prefix(folder).is_ok_and(|rest| {
            let first = rest.iter().next().and_then(|name| name.to_str());
            first.is_some_and(|name| name.parse::<usize>().is_ok())
        });
        is_inside && has_metadata(folder)
    });
    if let Some(folder) = around {
        let (path, dataset) = (path.to_owned(), dataset_of(folder));
        return Some(OfflineError::InDataset { path, dataset });
    }
    let (mut datasets, mut left) = (Vec::new(), MOST);
    search(path, DEEPEST, &mut left, &mut datasets);
    datasets.truncate(NAMED);
    match datasets.is_empty() {
        true => None,
        false => Some(OfflineError::HoldsDatasets { path: path.to_owned(), datasets }),
    }
}

/// Finds the datasets below a directory, in order of their paths.
fn search(path: &Path, depth: usize, left: &mut usize, datasets: &mut Vec<PathBuf>) {
    if depth == 0 || *left == 0 || !path.is_dir() {
        return;
    }
    *left -= 1;
    let Ok(entries) = fs::read_dir(path) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.is_dir()) {
        match is_described(&path.join("data")) {
            true => datasets.push(path.clone()),
            false => search(path, depth - 1, left, datasets),
        }
    }
}

/// Whether a directory has the metadata of a dataset, and not another file of the same name.
fn is_described(folder: &Path) -> bool {
    let path = folder.join(FILE);
    path.is_file() && read_json(&path).is_ok_and(|about| about.get("total_episodes").is_some())
}

fn has_metadata(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

/// Whether a directory is that of an episode of a dataset.
fn is_episode(path: &Path) -> bool {
    let is_number = path.file_name().and_then(|name| name.to_str()?.parse::<usize>().ok());
    is_number.is_some() && path.parent().is_some_and(|parent| has_metadata(&folder(parent)))
}

/// Returns the directory of a dataset from that of its data.
fn dataset_of(data: &Path) -> PathBuf {
    match data.parent() {
        Some(parent) if data.ends_with("data") => parent.to_owned(),
        _ => data.to_owned(),
    }
}

/// Returns a directory that may be the working directory.
fn folder(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}
