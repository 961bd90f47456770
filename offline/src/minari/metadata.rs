//! The file `metadata.json` of a dataset.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::columns::damaged;
use super::json::parse;
use super::space::Described;
use crate::error::{OfflineError, Result};

/// The name of the file.
pub(super) const FILE: &str = "metadata.json";

/// Bytes of a file at most.
const LARGEST: u64 = 64 << 20;

/// How the episodes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Hdf5,
    Arrow,
    Parquet,
}

/// What the file says.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) episodes: usize,
    pub(super) format: Format,
    pub(super) observations: Described,
    pub(super) actions: Described,
    /// The id of the dataset, if it has one.
    pub(super) id: String,
}

/// Returns the directory with the file: `<path>/data`, or the path itself; `None` if there is no dataset.
pub(crate) fn find(path: &Path) -> Option<PathBuf> {
    [path.join("data"), path.to_owned()].into_iter().find(|folder| folder.join(FILE).is_file())
}

impl Metadata {
    /// Reads the file in a directory.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        Self::read_file(&path).map_err(|error| error.in_file(&path))
    }

    fn read_file(path: &Path) -> Result<Self> {
        let value = read_json(path)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let space = |key: &str| match text(key) {
            Some(text) => Described::parse(text).map_err(|error| error.in_column(key)),
            None => Err(damaged(format!(
                "it has no `{key}`; record the dataset again with a version of Minari that writes it"
            ))),
        };
        let episodes = value.get("total_episodes").and_then(Value::as_u64);
        let episodes = episodes.and_then(|episodes| usize::try_from(episodes).ok());
        let format = match text("data_format") {
            // Versions of Minari before 0.5 had no other form.
            Some("hdf5") | None => Format::Hdf5,
            Some("arrow") => Format::Arrow,
            Some("parquet") => Format::Parquet,
            Some(other) => {
                return Err(damaged(format!(
                    "the form `{other}` of data is unknown; it may be hdf5, arrow or parquet"
                )));
            }
        };
        Ok(Self {
            episodes: episodes.ok_or_else(|| damaged("it has no number `total_episodes`"))?,
            format,
            observations: space("observation_space")?,
            actions: space("action_space")?,
            id: text("dataset_id").unwrap_or_default().to_owned(),
        })
    }
}

/// Reads JSON as Python writes it.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(damaged(format!("it has more than {LARGEST} bytes")));
    }
    let text = String::from_utf8(fs::read(path)?);
    let text = text.map_err(|_| OfflineError::Damaged { reason: "it is no text".into() })?;
    parse(&text)
}
