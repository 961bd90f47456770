//! Settings of learning from recorded data.

use std::path::PathBuf;
use std::sync::Arc;

use rekindle_core::settings::at_least_one;
use rekindle_core::{ConfigError, settings};
use rekindle_offline::{MinariData, OfflineSource, ParquetData};

use crate::Result;

settings! {
    /// Learning from recorded data, for the execution plan [`Offline`](crate::Offline).
    pub struct OfflineDataConfig {
        /// Files or directories with recordings ([`ParquetData`](rekindle_offline::ParquetData)), as
        /// [`EnvRunnersConfig::output`](crate::EnvRunnersConfig::output) writes them, or directories of Minari datasets
        /// ([`MinariData`](rekindle_offline::MinariData)). Data in memory are set by
        /// [`AlgorithmConfig::offline_source`](crate::AlgorithmConfig::offline_source) instead.
        #[serde(deserialize_with = "rekindle_core::settings::paths")]
        field input_: Vec<PathBuf> = Vec::new();
        /// Updates of a training step. RLlib's default takes one pass over the data instead.
        set dataset_num_iters_per_learner: usize = 100, at_least_one;
        /// Steps that are learned from at once at most, and among which minibatches are shuffled. Data of more steps are
        /// visited window by window: as many steps are drawn from a window as it has. As many more steps may be in
        /// memory, which are read ahead.
        set buffer_steps: usize = 1_000_000, at_least_one;
    }
}

impl OfflineDataConfig {
    /// Appends a file or a directory with recordings.
    #[must_use]
    pub fn input_(mut self, path: impl Into<PathBuf>) -> Self {
        self.input_.push(path.into());
        self
    }
}

/// Opens the recordings or the Minari datasets that the setting `name` lists.
pub(crate) fn open(
    name: &'static str,
    paths: &[PathBuf],
    normalize_actions: bool,
) -> Result<Arc<dyn OfflineSource>> {
    let minari = paths.iter().filter(|path| MinariData::is_dataset(path)).count();
    if minari == 0 {
        return Ok(Arc::new(ParquetData::open_all(paths)?));
    }
    if minari < paths.len() {
        let constraint =
            "some are Minari datasets and others are not; read data of one format at a time";
        return Err(ConfigError::new(name, format!("{paths:?}"), constraint).into());
    }
    Ok(Arc::new(MinariData::open_all(paths)?.normalize_actions(normalize_actions)))
}
