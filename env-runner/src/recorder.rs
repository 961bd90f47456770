//! Recording what runners collect.

use std::fmt;
use std::sync::Arc;

use crate::callbacks::CallbackResult;
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// A recorder of everything that runners collect in training: a writer of files, for example.
///
/// All runners share it, and may run on several threads.
pub trait ExperienceRecorder: Send + Sync {
    /// Records the experience of one call of a runner. Episodes that go on are continued by later calls.
    ///
    /// # Errors
    /// Any. The call that collects returns it.
    fn record(&self, runner: usize, experience: &Experience) -> CallbackResult;
}

/// A recorder in a configuration. It is code, so serialized configurations omit it and comparisons of configurations
/// ignore it.
#[derive(Clone, Default)]
pub struct SharedRecorder(Option<Arc<dyn ExperienceRecorder>>);

impl SharedRecorder {
    /// Wraps a recorder.
    #[must_use]
    pub fn new(recorder: Arc<dyn ExperienceRecorder>) -> Self {
        Self(Some(recorder))
    }

    pub(crate) fn record(&self, runner: usize, experience: &Experience) -> Result<()> {
        match &self.0 {
            Some(recorder) => recorder
                .record(runner, experience)
                .map_err(|source| RunnerError::Recording { runner, source }),
            None => Ok(()),
        }
    }
}

impl PartialEq for SharedRecorder {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for SharedRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "recorder" } else { "no recorder" })
    }
}
