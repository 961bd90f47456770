//! Access to recorded data while a plan learns.

use std::sync::Arc;

use rekindle_offline::{OfflineSource, Prefetch};

use super::super::TrainingContext;
use crate::Result;

/// The data that a plan reads, opened when it needs them. A clone opens them anew.
#[derive(Debug, Default)]
pub(in super::super) struct Reading(Option<Prefetch>);

impl Clone for Reading {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Reading {
    /// Returns the parts of a source. They stay in memory if they have at most `limit` steps together, until the plan
    /// reads another source.
    pub(in super::super) fn of(
        &mut self,
        source: &Arc<dyn OfflineSource>,
        limit: usize,
    ) -> &mut Prefetch {
        let is_other = |open: &Prefetch| !Arc::ptr_eq(open.source(), source);
        if self.0.as_ref().is_some_and(is_other) {
            self.0 = None;
        }
        self.0.get_or_insert_with(|| Prefetch::new(source.clone(), limit))
    }

    /// Logs the times of the training step.
    pub(in super::super) fn log_times(&mut self, cx: &mut TrainingContext<'_>) -> Result<()> {
        let Some(parts) = &mut self.0 else { return Ok(()) };
        let times = parts.take_times();
        cx.metrics.log_time("timers/offline_data_wait_timer", times.waiting)?;
        Ok(cx.metrics.log_time("timers/offline_data_read_timer", times.reading)?)
    }
}
