//! Recorded experience in Parquet files.
//!
//! # Layout
//!
//! A file has the episodes of one module. Rows are steps in order of time; the row after the last step of an episode
//! holds the observation after it. Row groups hold whole episodes, about 1 MB each.
//!
//! | column | type | holds |
//! |---|---|---|
//! | `eps_id`, `runner`, `env` | `INT64` | the number of the episode in its runner, the runner, and the environment in it |
//! | `t` | `INT64` | steps of the episode before the row |
//! | `weights_seq_no` | `INT64` | the version of the weights that acted |
//! | `agent_id` | string | the agent; empty for a single agent |
//! | `is_last_observation` | `BOOLEAN` | whether the row is the observation after the last step: its other columns mean nothing |
//! | `terminateds`, `truncateds` | `BOOLEAN` | how the step ended the episode; neither, where the recording was cut off |
//! | `rewards` | `FLOAT` | |
//! | `obs`, `actions`, `action_logp`, … | `FLOAT` or `INT64` for single numbers, otherwise `FIXED_LEN_BYTE_ARRAY` | all columns of the recording; rows of several numbers are their little-endian bytes, row-major |
//!
//! A column of a Dict or a Tuple has one Parquet column for each leaf: `obs.position`, `obs.0`. Numbers that the
//! environment reported are `infos.<name>`, and the states of a module with memory `state_in`. The key `rekindle` of
//! the metadata has the module, its spaces, and the shapes of all columns as JSON. In Python:
//!
//! ```python
//! table = pyarrow.parquet.read_table("data/default_policy/0000-000000.parquet")
//! obs = numpy.frombuffer(b"".join(table["obs"].to_pylist()), "<f4").reshape(len(table), -1)
//! ```

mod header;
mod layout;
mod read;
mod recorder;
mod write;

use std::path::Path;

use rekindle_core::ModuleId;
use rekindle_env_runner::Rollout;

use crate::data::OfflineData;
use crate::error::{OfflineError, Result};
use crate::source::OfflineSource;

pub use read::ParquetData;
pub use recorder::{ParquetRecorder, RecorderState};

impl OfflineData {
    /// Writes the episodes of each module as a file `<folder>/<module>/0000-000000.parquet`.
    ///
    /// # Errors
    /// [`OfflineError::Exists`] if a file exists; [`OfflineError::Write`] if a file cannot be written.
    pub fn save_parquet(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        for (id, spaces) in self.module_spaces() {
            let of_module: Vec<Rollout> = self.of_module(id).cloned().collect();
            let (of_module, path) =
                (of_module, folder.join(id).join(format!("0000-000000.{}", read::EXTENSION)));
            if of_module.is_empty() {
                continue;
            }
            if path.exists() {
                return Err(OfflineError::Exists { path });
            }
            let parent = folder.join(id);
            std::fs::create_dir_all(&parent)
                .map_err(|source| OfflineError::Write { path: parent, source })?;
            write::write_file(&path, id, spaces, &of_module)?;
        }
        Ok(())
    }

    fn of_module<'a>(&'a self, id: &'a ModuleId) -> impl Iterator<Item = &'a Rollout> {
        self.episodes().filter(move |(of, _)| *of == id).map(|(_, rollout)| rollout)
    }
}

#[cfg(test)]
mod tests;
