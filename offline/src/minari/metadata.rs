//! The file `metadata.json` of a dataset.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::columns::damaged;
use super::json::parse;
use super::space::Described;
use crate::decode::length;
use crate::error::{OfflineError, Result};

/// The name of the file.
pub(super) const FILE: &str = "metadata.json";

/// Bytes of a file at most.
const LARGEST: u64 = 64 << 20;

/// Steps of a dataset at most. Sums of fewer do not overflow.
const MOST_STEPS: u64 = 1 << 48;

/// The key of the columns that a recording of this library has among its infos. Minari does not read it.
pub(super) const OWN_COLUMNS: &str = "rekindle_columns";

/// Names and shapes of rows of columns of a recording, which are infos of the dataset.
pub(super) type OwnColumns = BTreeMap<String, Vec<usize>>;

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
    /// Columns of a recording of this library.
    pub(super) own: OwnColumns,
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
            own: own_columns(&value),
        })
    }
}

/// Returns the columns of a recording of this library; none for data of others.
pub(super) fn own_columns(about: &Value) -> OwnColumns {
    let own = about.get(OWN_COLUMNS).cloned();
    own.and_then(|own| serde_json::from_value(own).ok()).unwrap_or_default()
}

/// Reads the number of steps of an episode.
pub(super) fn total_steps(about: &Value) -> Result<u64> {
    let value = about.get("total_steps");
    let value = value.ok_or_else(|| damaged("it has no number `total_steps`"))?;
    let steps = value.as_u64().ok_or_else(|| {
        damaged(format!("`total_steps` is {value}, and not a number of steps; record it again"))
    })?;
    sum(0, steps)
}

/// Adds the steps of an episode to those of the episodes before.
///
/// # Errors
/// [`OfflineError::Damaged`] for more steps than any file holds.
pub(super) fn sum(before: u64, steps: u64) -> Result<u64> {
    let sum = before.checked_add(steps).filter(|sum| *sum <= MOST_STEPS);
    sum.ok_or_else(|| {
        damaged(format!("it claims {steps} steps, more than any file holds; record it again"))
    })
}

/// Reads JSON as Python writes it.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    if length(path)? > LARGEST {
        return Err(damaged(format!("it has more than {LARGEST} bytes")));
    }
    let text = String::from_utf8(fs::read(path)?);
    let text = text.map_err(|_| OfflineError::Damaged { reason: "it is no text".into() })?;
    parse(&text)
}
