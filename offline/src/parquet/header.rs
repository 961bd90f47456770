//! What a file says about its columns.

use rekindle_env::Space;
use serde::{Deserialize, Serialize};

use super::layout::{Layout, Leaf};
use crate::error::{OfflineError, Result};

/// The key of the header in the metadata of a file.
pub(super) const KEY: &str = "rekindle";

/// Columns that every file has, beside those of [`Columns`](rekindle_core::Columns).
pub(super) mod columns {
    pub(in super::super) const EPISODE: &str = "eps_id";
    pub(in super::super) const RUNNER: &str = "runner";
    pub(in super::super) const ENV: &str = "env";
    pub(in super::super) const T: &str = "t";
    pub(in super::super) const WEIGHTS: &str = "weights_seq_no";
    pub(in super::super) const AGENT: &str = "agent_id";
    pub(in super::super) const IS_LAST: &str = "is_last_observation";
    /// The number of these and of `terminateds`, `truncateds` and `rewards`, which are before all other columns.
    pub(in super::super) const COUNT: usize = 10;
}

/// The header of a file, as JSON in its metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) module_id: String,
    pub(super) observation_space: Space,
    pub(super) action_space: Space,
    /// The names and layouts of the columns of any space, in order.
    pub(super) columns: Vec<(String, Layout)>,
    /// Steps of each row group.
    pub(super) steps: Vec<u64>,
}

impl Header {
    pub(super) const VERSION: u32 = 1;

    /// Returns the leaves of each column.
    pub(super) fn leaves(&self) -> Result<Vec<Vec<Leaf>>> {
        let leaves = self.columns.iter().map(|(name, layout)| {
            let damaged = || OfflineError::Damaged {
                reason: format!("the layout of column `{name}` is too large"),
            };
            layout.leaves(name).ok_or_else(damaged)
        });
        leaves.collect()
    }
}
