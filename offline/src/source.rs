//! Where recorded experience comes from.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rekindle_core::ModuleId;
use rekindle_env::Space;
use rekindle_env_runner::Rollout;

use crate::error::Result;

/// The recorded steps of each module.
pub type Recorded = BTreeMap<ModuleId, Vec<Rollout>>;

/// Recorded experience in parts that are read one by one, in any order.
///
/// A part consists of whole episodes, or of parts of episodes that bootstrap from their final observations. Execution
/// plans visit the parts of each pass over the data in a new random order, and hold a bounded number of steps in
/// memory.
pub trait OfflineSource: Debug + Send + Sync {
    /// Returns the spaces of the observations and actions of each module. Bounded continuous actions are in the units
    /// of the module: in [−1, 1] with `normalize_actions`.
    fn module_spaces(&self) -> &BTreeMap<ModuleId, (Space, Space)>;

    /// Returns the number of parts.
    fn num_parts(&self) -> usize;

    /// Returns the number of steps of a part, summed over its agents; 0 for a part that does not exist.
    fn steps_of(&self, part: usize) -> usize;

    /// Reads a part.
    ///
    /// # Errors
    /// If the part does not exist, cannot be read, or is damaged.
    fn read(&self, part: usize) -> Result<Recorded>;

    /// Returns text that differs for different data, for checkpoints: a run continues with the data that it began
    /// with.
    fn fingerprint(&self) -> String;

    /// Whether reading a part only copies columns that are in memory. Other sources are read ahead on a thread of their
    /// own ([`Prefetch`](crate::Prefetch)). Defaults to `false`.
    fn is_in_memory(&self) -> bool {
        false
    }

    /// Returns the number of all steps.
    fn num_steps(&self) -> usize {
        (0..self.num_parts()).map(|part| self.steps_of(part)).sum()
    }
}
